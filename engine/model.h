#pragma once

/*
 * A loaded model: the family's numbers and its weights, bound to names and checked against each
 * other, so that the forward never meets a shape it did not expect. Private to the engine; the
 * public face is engine.h.
 */

#include "engine/base/tensor.h"
#include "engine/engine.h"

/* Read from the file's keys, each within the ceilings of model.c. */
typedef struct ModelConfig {
    uint32_t context_length;
    uint32_t d_model;
    uint32_t n_layers;
    uint32_t n_groups;        /* the first is always on */
    uint32_t heads_per_group; /* query heads that share a group's key head */
    uint32_t head_dim;
    uint32_t n_experts;
    uint32_t d_expert;
    uint32_t expert_cap; /* most routed experts of one row */
    uint32_t d_density;
    float rope_base;
    float norm_epsilon;
    uint32_t vocab_size; /* from the tokenizer */
} ModelConfig;

typedef struct LayerWeights {
    Tensor attn_norm, q_norm, k_norm, ffn_norm;
    Tensor attn_gate, attn_gate_bias,
        attn_gate_density;         /* [n_groups - 1, d_model], [n_groups - 1] */
    Tensor attn_q, attn_k, attn_v; /* [n_groups * …, d_model], a group's rows together */
    Tensor attn_out;               /* [n_groups, d_model, heads_per_group * head_dim] */
    Tensor ffn_gate, ffn_gate_bias, ffn_gate_density; /* [n_experts, d_model], [n_experts] */
    Tensor gate_exps, up_exps, down_exps;             /* [n_experts, …]: an expert is one slab */
    Tensor gate_shexp, up_shexp, down_shexp;
} LayerWeights;

struct Model {
    Weights *weights; /* borrowed */
    Tokenizer *tokenizer;
    ModelInfo info;
    ModelConfig config;
    Tensor token_embd, output_norm, output;
    Tensor density_norm, density_up, density_up_bias, density_down, density_down_bias;
    LayerWeights *layers; /* [n_layers] */
};

/* Width of a group's queries, and of what its output slab reads. */
static inline uint32_t config_group_width(const ModelConfig *c)
{
    return c->heads_per_group * c->head_dim;
}

static inline const float *tensor_f32(const Tensor *t)
{
    return t->data;
}
