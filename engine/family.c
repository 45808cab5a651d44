#include "engine/family.h"

#include <errno.h>
#include <string.h>

#include "engine/routing.h"

#define C(field)  offsetof(ModelConfig, field)
#define M(field)  offsetof(Model, field)
#define L(field)  offsetof(LayerWeights, field)
#define E(field)  offsetof(ExpertWeights, field)
#define N_ROWS(a) (sizeof(a) / sizeof(*(a)))

/* clang-format off */

/* KEY: must be there. OR: may be absent, and then has this value. */
#define KEY(name, type, field, min, max, multiple) \
    { name, KEY_##type, C(field), min, max, multiple, false, 0 }
#define OR(name, type, field, min, max, multiple, absent) \
    { name, KEY_##type, C(field), min, max, multiple, true, absent }
#define TENSOR(name, kind, to, ...) \
    { name, TENSOR_##kind, { __VA_ARGS__ }, to, NULL }
#define TENSOR_OR(name, instead, kind, to, ...) \
    { name, TENSOR_##kind, { __VA_ARGS__ }, to, instead }

static const KeyRow percept_keys[] = {
    KEY("context_length",                 U32, context_length,  1,     1 << 17,         1),
    KEY("embedding_length",               U32, d_model,         32,    16384,           32),
    KEY("block_count",                    U32, n_layers,        1,     256,             1),
    KEY("attention.group_count",          U32, n_groups,        2,     64,              1),
    KEY("attention.head_count_per_group", U32, heads_per_group, 1,     16,              1),
    KEY("attention.head_dim",             U32, head_dim,        32,    128,             32),
    KEY("expert_count",                   U32, n_experts,       1,     1024,            1),
    KEY("expert_feed_forward_length",     U32, d_expert,        32,    16384,           32),
    KEY("expert_used_cap",                U32, expert_cap,      1,     ROUTING_CAP_MAX, 1),
    KEY("density_length",                 U32, d_density,       1,     4096,            1),
    KEY("rope.freq_base",                 F32, rope_base,       1,     1e9,             0),
    KEY("norm_epsilon",                   F32, norm_epsilon,    1e-12, 1,               0),
};

static const TensorRow percept_tensors[] = {
    TENSOR("token_embd.weight",   Q8_0, M(token_embd),        DIM_MODEL, DIM_VOCAB),
    TENSOR("token_embd.weight",   Q8_0, M(output),            DIM_MODEL, DIM_VOCAB), /* tied */
    TENSOR("output_norm.weight",  F32,  M(output_norm),       DIM_MODEL),
    TENSOR("density.norm.weight", F32,  M(density_norm),      DIM_MODEL),
    TENSOR("density.up.weight",   F32,  M(density_up),        DIM_MODEL, DIM_DENSITY),
    TENSOR("density.up.bias",     F32,  M(density_up_bias),   DIM_DENSITY),
    TENSOR("density.down.weight", F32,  M(density_down),      DIM_DENSITY),
    TENSOR("density.down.bias",   F32,  M(density_down_bias), DIM_ONE),
};

static const TensorRow percept_layer_tensors[] = {
    TENSOR("attn_norm.weight",      F32,     L(attn_norm),         DIM_MODEL),
    TENSOR("ffn_norm.weight",       F32,     L(ffn_norm),          DIM_MODEL),
    TENSOR("attn_q_norm.weight",    F32,     L(q_norm),            DIM_HEAD),
    TENSOR("attn_k_norm.weight",    F32,     L(k_norm),            DIM_HEAD),
    TENSOR("attn_gate.weight",      F32,     L(attn_gate),         DIM_MODEL, DIM_ROUTED),
    TENSOR("attn_gate.bias",        F32,     L(attn_gate_bias),    DIM_ROUTED),
    TENSOR("attn_gate.density",     F32,     L(attn_gate_density), DIM_ROUTED),
    TENSOR("attn_q.weight",         Q8_0,    L(attn_q),            DIM_MODEL, DIM_QUERY),
    TENSOR("attn_k.weight",         Q8_0,    L(attn_k),            DIM_MODEL, DIM_KEY),
    TENSOR("attn_v.weight",         Q8_0,    L(attn_v),            DIM_MODEL, DIM_KEY),
    TENSOR("attn_out.weight",       Q8_0,    L(attn_out),         DIM_GROUP, DIM_MODEL, DIM_GROUPS),
    TENSOR("ffn_gate_inp.weight",   F32,     L(ffn_gate),          DIM_MODEL, DIM_EXPERTS),
    TENSOR("ffn_gate_inp.bias",     F32,     L(ffn_gate_bias),     DIM_EXPERTS),
    TENSOR("ffn_gate_inp.density",  F32,     L(ffn_gate_density),  DIM_EXPERTS),
    TENSOR("ffn_gate_exps.weight",  EXPERTS, E(gate),              DIM_MODEL, DIM_FF, DIM_EXPERTS),
    TENSOR("ffn_up_exps.weight",    EXPERTS, E(up),                DIM_MODEL, DIM_FF, DIM_EXPERTS),
    TENSOR("ffn_down_exps.weight",  EXPERTS, E(down),              DIM_FF, DIM_MODEL, DIM_EXPERTS),
    TENSOR("ffn_gate_shexp.weight", SHARED,  E(gate),              DIM_MODEL, DIM_FF),
    TENSOR("ffn_up_shexp.weight",   SHARED,  E(up),                DIM_MODEL, DIM_FF),
    TENSOR("ffn_down_shexp.weight", SHARED,  E(down),              DIM_FF,    DIM_MODEL),
};

/* Published decoders with softmax routers. head_count_kv and key_length are worked out when
 * absent: config_complete(). */
#define DECODER_KEYS(ff_key)                                                                       \
    KEY("context_length",                   U32, context_length, 1,     1 << 20,         1),       \
    KEY("embedding_length",                 U32, d_model,        32,    16384,           32),      \
    KEY("block_count",                      U32, n_layers,       1,     256,             1),       \
    KEY("attention.head_count",             U32, n_heads,        1,     256,             1),       \
    OR("attention.head_count_kv",           U32, n_groups,       1,     256,             1, 0),    \
    OR("attention.key_length",              U32, head_dim,       16,    128,             16, 0),   \
    OR("attention.clamp_kqv",               F32, qkv_limit,      1e-6,  1e9,             0, 0),    \
    KEY("attention.layer_norm_rms_epsilon", F32, norm_epsilon,   1e-12, 1,               0),       \
    OR("rope.freq_base",                    F32, rope_base,      1,     1e9,             0, 10000),\
    KEY("expert_count",                     U32, n_experts,      1,     1024,            1),       \
    KEY("expert_used_count",                U32, expert_cap,     1,     ROUTING_CAP_MAX, 1),       \
    KEY(ff_key,                             U32, d_expert,       32,    16384,           32)

static const KeyRow qwen3moe_keys[] = {
    DECODER_KEYS("expert_feed_forward_length"),
    OR("expert_weights_norm", BOOL, expert_norm, 0, 1, 0, 1),
};

static const KeyRow olmoe_keys[] = {
    DECODER_KEYS("feed_forward_length"),
    OR("expert_weights_norm", BOOL, expert_norm, 0, 1, 0, 0),
};

static const TensorRow decoder_tensors[] = {
    TENSOR("token_embd.weight",  MATRIX, M(token_embd),  DIM_MODEL, DIM_VOCAB),
    TENSOR_OR("output.weight", "token_embd.weight", MATRIX, M(output), DIM_MODEL, DIM_VOCAB),
    TENSOR("output_norm.weight", VECTOR, M(output_norm), DIM_MODEL),
};

#define DECODER_LAYER_TENSORS(q_norm_dim, k_norm_dim)                                              \
    TENSOR("attn_norm.weight",     VECTOR,  L(attn_norm), DIM_MODEL),                              \
    TENSOR("ffn_norm.weight",      VECTOR,  L(ffn_norm),  DIM_MODEL),                              \
    TENSOR("attn_q_norm.weight",   VECTOR,  L(q_norm),    q_norm_dim),                             \
    TENSOR("attn_k_norm.weight",   VECTOR,  L(k_norm),    k_norm_dim),                             \
    TENSOR("attn_q.weight",        MATRIX,  L(attn_q),    DIM_MODEL, DIM_QUERY),                   \
    TENSOR("attn_k.weight",        MATRIX,  L(attn_k),    DIM_MODEL, DIM_KEY),                     \
    TENSOR("attn_v.weight",        MATRIX,  L(attn_v),    DIM_MODEL, DIM_KEY),                     \
    TENSOR("attn_output.weight",   MATRIX,  L(attn_out),  DIM_QUERY, DIM_MODEL),                   \
    TENSOR("ffn_gate_inp.weight",  VECTOR,  L(ffn_gate),  DIM_MODEL, DIM_EXPERTS),                 \
    TENSOR("ffn_gate_exps.weight", EXPERTS, E(gate),      DIM_MODEL, DIM_FF, DIM_EXPERTS),         \
    TENSOR("ffn_up_exps.weight",   EXPERTS, E(up),        DIM_MODEL, DIM_FF, DIM_EXPERTS),         \
    TENSOR("ffn_down_exps.weight", EXPERTS, E(down),      DIM_FF, DIM_MODEL, DIM_EXPERTS)

static const TensorRow qwen3moe_layer_tensors[] = { DECODER_LAYER_TENSORS(DIM_HEAD, DIM_HEAD) };
static const TensorRow olmoe_layer_tensors[] = { DECODER_LAYER_TENSORS(DIM_QUERY, DIM_KEY) };

#define KEYS(a)       a, N_ROWS(a)
#define TENSORS(a, b) a, N_ROWS(a), b, N_ROWS(b)

static const Family families[] = {
    { "percept",  { .gated = true, .head_norm = HEAD_NORM_HEAD, .n_shared = 1 },
      KEYS(percept_keys), TENSORS(percept_tensors, percept_layer_tensors) },
    { "qwen3moe", { .head_norm = HEAD_NORM_HEAD },
      KEYS(qwen3moe_keys), TENSORS(decoder_tensors, qwen3moe_layer_tensors) },
    { "olmoe",    { .head_norm = HEAD_NORM_ROW },
      KEYS(olmoe_keys), TENSORS(decoder_tensors, olmoe_layer_tensors) },
};
/* clang-format on */

int family_find(Weights *w, const Family **ret_family)
{
    WeightsString arch;
    int r = weights_get_string(w, "general.architecture", &arch);
    if (r < 0)
        return weights_fail(w, -EBADMSG, "general.architecture is missing or not a string");

    for (size_t i = 0; i < N_ROWS(families); i++) {
        size_t length = strlen(families[i].name);
        if (arch.length == length && memcmp(arch.data, families[i].name, length) == 0) {
            *ret_family = &families[i];
            return 0;
        }
    }
    return weights_fail(w, -ENOTSUP, "general.architecture '%.*s' is not a family that we run",
                        (int)(arch.length > 64 ? 64 : arch.length), arch.data);
}
