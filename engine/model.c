#include "engine/model.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

/*
 * A family is a row of `families`: what its keys are called and how large they may be, and which
 * tensors it has, with shapes in terms of those keys. Everything a file can get wrong is refused
 * here, before anything is sized by it.
 */

#define KEY_MAX         96
#define NAME_MAX_LENGTH 96

typedef enum KeyType {
    KEY_U32,
    KEY_F32,
} KeyType;

typedef struct KeyRow {
    const char *suffix; /* after "<architecture>." */
    KeyType type;
    size_t offset; /* in ModelConfig */
    double min, max;
    uint32_t multiple; /* of whole numbers: what must divide it */
} KeyRow;

/* Sizes that a shape is written with. */
typedef enum Dim {
    DIM_NONE,
    DIM_MODEL,
    DIM_HEAD,
    DIM_ROUTED, /* groups with a gate: all but the first */
    DIM_GROUPS,
    DIM_HEADS, /* query heads of a group together */
    DIM_QUERY, /* of all groups */
    DIM_KEY,
    DIM_EXPERTS,
    DIM_FF,
    DIM_DENSITY,
    DIM_VOCAB,
    DIM_ONE,
    _DIM_COUNT,
} Dim;

typedef struct TensorRow {
    const char *name;
    DType dtype;
    Dim ne[3];     /* innermost first */
    size_t offset; /* in Model, or in LayerWeights */
} TensorRow;

typedef struct Family {
    const char *name; /* general.architecture */
    const KeyRow *keys;
    size_t n_keys;
    const TensorRow *tensors; /* of the model */
    size_t n_tensors;
    const TensorRow *layer_tensors; /* of each layer, after "blk.<i>." */
    size_t n_layer_tensors;
} Family;

#define C(field)  offsetof(ModelConfig, field)
#define M(field)  offsetof(Model, field)
#define L(field)  offsetof(LayerWeights, field)
#define N_ROWS(a) (sizeof(a) / sizeof(*(a)))

/* clang-format off */
static const KeyRow percept_keys[] = {
    { "context_length",                 KEY_U32, C(context_length),  1,     1 << 17, 1 },
    { "embedding_length",               KEY_U32, C(d_model),         32,    16384,   32 },
    { "block_count",                    KEY_U32, C(n_layers),        1,     256,     1 },
    { "attention.group_count",          KEY_U32, C(n_groups),        2,     64,      1 },
    { "attention.head_count_per_group", KEY_U32, C(heads_per_group), 1,     16,      1 },
    { "attention.head_dim",             KEY_U32, C(head_dim),        32,    128,     32 },
    { "expert_count",                   KEY_U32, C(n_experts),       1,     1024,    1 },
    { "expert_feed_forward_length",     KEY_U32, C(d_expert),        32,    16384,   32 },
    { "expert_used_cap",                KEY_U32, C(expert_cap),      1,     64,      1 },
    { "density_length",                 KEY_U32, C(d_density),       1,     4096,    1 },
    { "rope.freq_base",                 KEY_F32, C(rope_base),       1,     1e9,     0 },
    { "norm_epsilon",                   KEY_F32, C(norm_epsilon),    1e-12, 1,       0 },
};

static const TensorRow percept_tensors[] = {
    { "token_embd.weight",   DTYPE_Q8_0, { DIM_MODEL, DIM_VOCAB },   M(token_embd) },
    { "token_embd.weight",   DTYPE_Q8_0, { DIM_MODEL, DIM_VOCAB },   M(output) },         /* tied */
    { "output_norm.weight",  DTYPE_F32,  { DIM_MODEL },              M(output_norm) },
    { "density.norm.weight", DTYPE_F32,  { DIM_MODEL },              M(density_norm) },
    { "density.up.weight",   DTYPE_F32,  { DIM_MODEL, DIM_DENSITY }, M(density_up) },
    { "density.up.bias",     DTYPE_F32,  { DIM_DENSITY },            M(density_up_bias) },
    { "density.down.weight", DTYPE_F32,  { DIM_DENSITY },            M(density_down) },
    { "density.down.bias",   DTYPE_F32,  { DIM_ONE },                M(density_down_bias) },
};

static const TensorRow percept_layer_tensors[] = {
    { "attn_norm.weight",      DTYPE_F32,  { DIM_MODEL }, L(attn_norm) },
    { "ffn_norm.weight",       DTYPE_F32,  { DIM_MODEL }, L(ffn_norm) },
    { "attn_q_norm.weight",    DTYPE_F32,  { DIM_HEAD }, L(q_norm) },
    { "attn_k_norm.weight",    DTYPE_F32,  { DIM_HEAD }, L(k_norm) },
    { "attn_gate.weight",      DTYPE_F32,  { DIM_MODEL, DIM_ROUTED }, L(attn_gate) },
    { "attn_gate.bias",        DTYPE_F32,  { DIM_ROUTED }, L(attn_gate_bias) },
    { "attn_gate.density",     DTYPE_F32,  { DIM_ROUTED }, L(attn_gate_density) },
    { "attn_q.weight",         DTYPE_Q8_0, { DIM_MODEL, DIM_QUERY }, L(attn_q) },
    { "attn_k.weight",         DTYPE_Q8_0, { DIM_MODEL, DIM_KEY }, L(attn_k) },
    { "attn_v.weight",         DTYPE_Q8_0, { DIM_MODEL, DIM_KEY }, L(attn_v) },
    { "attn_out.weight",       DTYPE_Q8_0, { DIM_HEADS, DIM_MODEL, DIM_GROUPS }, L(attn_out) },
    { "ffn_gate_inp.weight",   DTYPE_F32,  { DIM_MODEL, DIM_EXPERTS }, L(ffn_gate) },
    { "ffn_gate_inp.bias",     DTYPE_F32,  { DIM_EXPERTS }, L(ffn_gate_bias) },
    { "ffn_gate_inp.density",  DTYPE_F32,  { DIM_EXPERTS }, L(ffn_gate_density) },
    { "ffn_gate_exps.weight",  DTYPE_Q8_0, { DIM_MODEL, DIM_FF, DIM_EXPERTS }, L(gate_exps) },
    { "ffn_up_exps.weight",    DTYPE_Q8_0, { DIM_MODEL, DIM_FF, DIM_EXPERTS }, L(up_exps) },
    { "ffn_down_exps.weight",  DTYPE_Q8_0, { DIM_FF, DIM_MODEL, DIM_EXPERTS }, L(down_exps) },
    { "ffn_gate_shexp.weight", DTYPE_Q8_0, { DIM_MODEL, DIM_FF }, L(gate_shexp) },
    { "ffn_up_shexp.weight",   DTYPE_Q8_0, { DIM_MODEL, DIM_FF }, L(up_shexp) },
    { "ffn_down_shexp.weight", DTYPE_Q8_0, { DIM_FF, DIM_MODEL }, L(down_shexp) },
};

static const Family families[] = {
    { "percept", percept_keys, N_ROWS(percept_keys), percept_tensors, N_ROWS(percept_tensors),
      percept_layer_tensors, N_ROWS(percept_layer_tensors) },
};
/* clang-format on */

static int family_find(Weights *w, const Family **ret_family)
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

static int key_read(Weights *w, const char *family, const KeyRow *row, ModelConfig *c)
{
    char key[KEY_MAX];
    snprintf(key, sizeof(key), "%s.%s", family, row->suffix);

    void *field = (char *)c + row->offset;
    double value;
    int r;
    if (row->type == KEY_U32) {
        uint32_t u;
        r = weights_get_u32(w, key, &u);
        if (r < 0)
            return weights_fail(w, -EBADMSG, "key %s is missing or not a whole number", key);
        if (u % row->multiple != 0)
            return weights_fail(w, -EBADMSG, "key %s is %u, not a multiple of %u", key, u,
                                row->multiple);
        value = *(uint32_t *)field = u;
    } else {
        float f;
        r = weights_get_f32(w, key, &f);
        if (r < 0)
            return weights_fail(w, -EBADMSG, "key %s is missing or not a float", key);
        value = *(float *)field = f;
    }
    if (!(value >= row->min && value <= row->max)) /* refuses NaN as well */
        return weights_fail(w, -EBADMSG, "key %s is %g, allowed are %g to %g", key, value, row->min,
                            row->max);
    return 0;
}

static int64_t dim_size(const ModelConfig *c, Dim dim)
{
    const int64_t sizes[_DIM_COUNT] = {
        [DIM_NONE] = 1,
        [DIM_MODEL] = c->d_model,
        [DIM_HEAD] = c->head_dim,
        [DIM_ROUTED] = c->n_groups - 1,
        [DIM_GROUPS] = c->n_groups,
        [DIM_HEADS] = config_group_width(c),
        [DIM_QUERY] = (int64_t)c->n_groups * config_group_width(c),
        [DIM_KEY] = (int64_t)c->n_groups * c->head_dim,
        [DIM_EXPERTS] = c->n_experts,
        [DIM_FF] = c->d_expert,
        [DIM_DENSITY] = c->d_density,
        [DIM_VOCAB] = c->vocab_size,
        [DIM_ONE] = 1,
    };
    return sizes[dim];
}

/* Binds rows of a table into base; names get `prefix`. */
static int tensors_bind(Weights *w, const ModelConfig *c, const TensorRow *rows, size_t n,
                        const char *prefix, void *base)
{
    for (size_t i = 0; i < n; i++) {
        char name[NAME_MAX_LENGTH];
        int64_t ne[N_ROWS(rows->ne)];
        uint32_t n_dims = 0;

        snprintf(name, sizeof(name), "%s%s", prefix, rows[i].name);
        while (n_dims < N_ROWS(rows->ne) && rows[i].ne[n_dims] != DIM_NONE) {
            ne[n_dims] = dim_size(c, rows[i].ne[n_dims]);
            n_dims++;
        }
        int r = weights_need(w, name, rows[i].dtype, n_dims, ne,
                             (Tensor *)((char *)base + rows[i].offset));
        if (r < 0)
            return -EBADMSG;
    }
    return 0;
}

static int config_read(Weights *w, const Family *family, const Tokenizer *tokenizer, ModelConfig *c)
{
    for (size_t i = 0; i < family->n_keys; i++) {
        int r = key_read(w, family->name, &family->keys[i], c);
        if (r < 0)
            return r;
    }
    if (c->expert_cap > c->n_experts)
        return weights_fail(w, -EBADMSG, "key %s.expert_used_cap is %u, more than the %u experts",
                            family->name, c->expert_cap, c->n_experts);
    c->vocab_size = tokenizer_size(tokenizer);
    return 0;
}

static uint64_t tensor_values(const Tensor *t)
{
    return (uint64_t)t->ne[0] * t->ne[1] * t->ne[2] * t->ne[3];
}

static void info_fill(Model *m, const Family *family)
{
    ModelInfo *info = &m->info;
    const ModelConfig *c = &m->config;

    *info = (ModelInfo){
        .family = family->name,
        .d_model = c->d_model,
        .n_layers = c->n_layers,
        .n_groups = c->n_groups,
        .n_experts = c->n_experts,
        .expert_cap = c->expert_cap,
        .context_length = c->context_length,
        .vocab_size = c->vocab_size,
        .file_bytes = weights_file_size(m->weights),
    };
    for (size_t i = 0; i < weights_tensor_count(m->weights); i++) {
        Tensor t;
        const char *name = weights_tensor_at(m->weights, i, &t);
        uint64_t n = tensor_values(&t);
        info->parameters += n;
        if (strncmp(name, "blk.", 4) == 0 || strncmp(name, "density.", 8) == 0)
            info->decoder_parameters += n;
    }
}

int model_new(Weights *weights, Model **ret_model)
{
    const Family *family;
    int r = family_find(weights, &family);
    if (r < 0)
        return r;

    _cleanup_(model_freep) Model *m = calloc(1, sizeof(*m));
    if (!m)
        return -ENOMEM;
    m->weights = weights;
    r = tokenizer_new(weights, &m->tokenizer);
    if (r < 0)
        return r;
    r = config_read(weights, family, m->tokenizer, &m->config);
    if (r < 0)
        return r;
    r = tensors_bind(weights, &m->config, family->tensors, family->n_tensors, "", m);
    if (r < 0)
        return r;

    m->layers = calloc(m->config.n_layers, sizeof(*m->layers));
    if (!m->layers)
        return -ENOMEM;
    for (uint32_t i = 0; i < m->config.n_layers; i++) {
        char prefix[16];
        snprintf(prefix, sizeof(prefix), "blk.%u.", i);
        r = tensors_bind(weights, &m->config, family->layer_tensors, family->n_layer_tensors,
                         prefix, &m->layers[i]);
        if (r < 0)
            return r;
    }
    info_fill(m, family);
    *ret_model = steal_ptr(&m);
    return 0;
}

Model *model_free(Model *m)
{
    if (!m)
        return NULL;
    tokenizer_free(m->tokenizer);
    free(m->layers);
    free(m);
    return NULL;
}

const ModelInfo *model_info(const Model *m)
{
    return &m->info;
}

const Tokenizer *model_tokenizer(const Model *m)
{
    return m->tokenizer;
}

int model_digest(const Model *m, char ret_hex[65])
{
    return weights_digest(m->weights, ret_hex);
}
