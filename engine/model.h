#pragma once

/*
 * A loaded model: the family's numbers and its weights, bound to names and checked against each
 * other, so that the forward never meets a shape it did not expect. Private to the engine; the
 * public face is engine.h.
 */

#include "engine/base/tensor.h"
#include "engine/engine.h"

/* Query heads over one key head: what back ends reserve for. */
#define HEADS_PER_GROUP_MAX 16

/* Where queries and keys are normalised. */
typedef enum HeadNorm {
    HEAD_NORM_HEAD, /* each head */
    HEAD_NORM_ROW,  /* a row's heads together, before they are told apart */
} HeadNorm;

/* Read from the file's keys, each within the ceilings of model.c; the family's own traits first. */
typedef struct ModelConfig {
    bool gated; /* MODEL.md, section 8: gates choose groups and experts, density moves them.
                 * Otherwise every group runs and a softmax chooses the experts. */
    HeadNorm head_norm;
    uint32_t n_shared;    /* experts that every row goes through: 0 or 1 */
    uint32_t expert_norm; /* 0 or 1: the chosen experts' shares are divided by their sum */

    uint32_t context_length;
    uint32_t d_model;
    uint32_t n_layers;
    uint32_t n_heads;
    uint32_t n_groups; /* key heads, each with the query heads that share it */
    uint32_t heads_per_group;
    uint32_t head_dim;
    uint32_t n_experts;
    uint32_t d_expert;
    uint32_t expert_cap; /* most routed experts of one row */
    uint32_t d_density;
    float qkv_limit; /* queries, keys and values are clamped to ± this; 0: they are not */
    float rope_base;
    float norm_epsilon;
    uint32_t vocab_size; /* from the tokenizer */
} ModelConfig;

/* [d_expert, d_model], the same, and [d_model, d_expert] */
typedef struct ExpertWeights {
    Tensor gate, up, down;
} ExpertWeights;

static inline uint64_t unit_bytes(const ExpertWeights *unit)
{
    return tensor_bytes(&unit->gate) + tensor_bytes(&unit->up) + tensor_bytes(&unit->down);
}

typedef struct LayerWeights {
    Tensor attn_norm, q_norm, k_norm, ffn_norm;
    Tensor attn_gate, attn_gate_bias,
        attn_gate_density;         /* [n_groups - 1, d_model], [n_groups - 1] */
    Tensor attn_q, attn_k, attn_v; /* [n_groups * …, d_model], a group's rows together */
    Tensor attn_out; /* gated: [n_groups, d_model, heads_per_group * head_dim], else one matrix */
    Tensor ffn_gate, ffn_gate_bias, ffn_gate_density; /* [n_experts, d_model], [n_experts] */
    ExpertWeights *units; /* [n_shared + n_experts], however the file lays them out */
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

/* Units of a layer: the shared expert, if any, then the routed ones. */
static inline uint32_t config_units(const ModelConfig *c)
{
    return c->n_shared + c->n_experts;
}

/* Width of a group's queries, and of what its output slab reads. */
static inline uint32_t config_group_width(const ModelConfig *c)
{
    return c->heads_per_group * c->head_dim;
}

static inline const float *tensor_f32(const Tensor *t)
{
    return t->data;
}
