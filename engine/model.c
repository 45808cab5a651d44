#include "engine/model.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "engine/family.h"

/* Reads a file by its family's row. Everything that it can get wrong is refused here, before
 * anything is sized by it. */

#define KEY_MAX         96
#define NAME_MAX_LENGTH 96
#define N_ROWS(a)       (sizeof(a) / sizeof(*(a)))

/* The value of a key as a number; -ENOENT or -EBADMSG as the readers of weights.h. */
static int key_value(Weights *w, const char *key, KeyType type, double *ret)
{
    uint32_t u;
    float f;
    bool b;
    int r;

    switch (type) {
    case KEY_U32:
        r = weights_get_u32(w, key, &u);
        if (r >= 0)
            *ret = u;
        return r;
    case KEY_F32:
        r = weights_get_f32(w, key, &f);
        if (r >= 0)
            *ret = f;
        return r;
    default:
        r = weights_get_bool(w, key, &b);
        if (r >= 0)
            *ret = b;
        return r;
    }
}

static void key_store(const KeyRow *row, ModelConfig *c, double value)
{
    void *field = (char *)c + row->offset;

    if (row->type == KEY_F32)
        *(float *)field = (float)value;
    else
        *(uint32_t *)field = (uint32_t)value;
}

static int key_read(Weights *w, const char *family, const KeyRow *row, ModelConfig *c)
{
    static const char *const types[] = {
        [KEY_U32] = "a whole number", [KEY_F32] = "a float", [KEY_BOOL] = "true or false"};
    char key[KEY_MAX];
    double value;

    snprintf(key, sizeof(key), "%s.%s", family, row->suffix);
    int r = key_value(w, key, row->type, &value);
    if (r == -ENOENT && row->optional) {
        key_store(row, c, row->absent);
        return 0;
    }
    if (r < 0)
        return weights_fail(w, -EBADMSG, "key %s is missing or not %s", key, types[row->type]);
    if (row->type == KEY_U32 && (uint32_t)value % row->multiple != 0)
        return weights_fail(w, -EBADMSG, "key %s is %g, not a multiple of %u", key, value,
                            row->multiple);
    if (!(value >= row->min && value <= row->max)) /* refuses NaN as well */
        return weights_fail(w, -EBADMSG, "key %s is %g, allowed are %g to %g", key, value, row->min,
                            row->max);
    key_store(row, c, value);
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
        [DIM_GROUP] = config_group_width(c),
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

/* Every row of a table binds into one of these. */
typedef struct Binding {
    Weights *weights;
    const ModelConfig *config;
    const char *prefix;   /* of names */
    void *base;           /* Model or LayerWeights */
    ExpertWeights *units; /* of the layer */
} Binding;

/* Experts lie in the file kind by kind, and in memory expert by expert. */
static int experts_bind(const Binding *b, const TensorRow *row, const char *name, const int64_t *ne)
{
    _cleanup_free_ Tensor *slabs = calloc(b->config->n_experts, sizeof(*slabs));
    if (!slabs)
        return weights_fail(b->weights, -ENOMEM, "no memory for the experts of '%s'", name);

    int r = weights_need_experts(b->weights, name, ne, slabs);
    for (uint32_t i = 0; r >= 0 && i < b->config->n_experts; i++) {
        char *unit = (char *)&b->units[b->config->n_shared + i];
        *(Tensor *)(unit + row->offset) = slabs[i];
    }
    return r;
}

static int tensor_bind(const Binding *b, const TensorRow *row)
{
    Weights *w = b->weights;
    Tensor *to = (Tensor *)((char *)b->base + row->offset);
    char name[NAME_MAX_LENGTH];
    int64_t ne[N_ROWS(row->ne)];
    uint32_t n_dims = 0;

    snprintf(name, sizeof(name), "%s%s", b->prefix, row->name);
    if (row->instead && !weights_find(w, name))
        snprintf(name, sizeof(name), "%s%s", b->prefix, row->instead);
    while (n_dims < N_ROWS(row->ne) && row->ne[n_dims] != DIM_NONE) {
        ne[n_dims] = dim_size(b->config, row->ne[n_dims]);
        n_dims++;
    }
    switch (row->kind) {
    case TENSOR_F32:
        return weights_need(w, name, DTYPE_F32, n_dims, ne, to);
    case TENSOR_Q8_0:
        return weights_need(w, name, DTYPE_Q8_0, n_dims, ne, to);
    case TENSOR_VECTOR:
        return weights_need_vector(w, name, n_dims, ne, to);
    case TENSOR_MATRIX:
        return weights_need_matrix(w, name, n_dims, ne, to);
    case TENSOR_SHARED:
        to = (Tensor *)((char *)&b->units[0] + row->offset);
        return weights_need(w, name, DTYPE_Q8_0, n_dims, ne, to);
    case TENSOR_EXPERTS:
        return experts_bind(b, row, name, ne);
    }
    return -EBADMSG;
}

static int tensors_bind(const Binding *b, const TensorRow *rows, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        int r = tensor_bind(b, &rows[i]);
        if (r < 0)
            return r == -ENOMEM || r == -EFBIG ? r : -EBADMSG;
    }
    return 0;
}

/* What keys say together, and what follows from them. */
static int config_complete(Weights *w, const Family *family, ModelConfig *c)
{
    if (c->expert_cap > c->n_experts)
        return weights_fail(w, -EBADMSG, "key %s.expert_used_%s is %u, more than the %u experts",
                            family->name, c->gated ? "cap" : "count", c->expert_cap, c->n_experts);
    if (c->gated) {
        c->n_heads = c->n_groups * c->heads_per_group;
        return 0;
    }
    if (c->n_groups == 0)
        c->n_groups = c->n_heads;
    if (c->head_dim == 0)
        c->head_dim = c->d_model / c->n_heads;
    c->heads_per_group = c->n_heads / c->n_groups;
    if (c->n_heads % c->n_groups != 0 || c->heads_per_group > HEADS_PER_GROUP_MAX)
        return weights_fail(w, -EBADMSG,
                            "key %s.attention.head_count is %u, not 1 to %d times the %u of "
                            "%s.attention.head_count_kv",
                            family->name, c->n_heads, HEADS_PER_GROUP_MAX, c->n_groups,
                            family->name);
    if (c->head_dim < 16 || c->head_dim > 128 || c->head_dim % 16 != 0)
        return weights_fail(w, -EBADMSG,
                            "key %s.attention.key_length is missing, and %u / %u is "
                            "no width of a head",
                            family->name, c->d_model, c->n_heads);
    return 0;
}

/* Keys that would change the forward in ways it does not know. */
static int config_refuse(Weights *w, const Family *family, const ModelConfig *c)
{
    static const char *const same_as_head[] = {"attention.value_length", "rope.dimension_count"};
    char key[KEY_MAX];
    WeightsString scaling;
    uint32_t value;

    for (size_t i = 0; i < N_ROWS(same_as_head); i++) {
        snprintf(key, sizeof(key), "%s.%s", family->name, same_as_head[i]);
        int r = weights_get_u32(w, key, &value);
        if (r != -ENOENT && (r < 0 || value != c->head_dim))
            return weights_fail(w, -ENOTSUP, "key %s is not the width of a head, %u", key,
                                c->head_dim);
    }
    snprintf(key, sizeof(key), "%s.rope.scaling.type", family->name);
    int r = weights_get_string(w, key, &scaling);
    if (r != -ENOENT && (r < 0 || scaling.length != 4 || memcmp(scaling.data, "none", 4) != 0))
        return weights_fail(w, -ENOTSUP, "key %s: only positions that are not scaled are run", key);
    return 0;
}

static int config_read(Weights *w, const Family *family, const Tokenizer *tokenizer, ModelConfig *c)
{
    *c = family->traits;
    for (size_t i = 0; i < family->n_keys; i++) {
        int r = key_read(w, family->name, &family->keys[i], c);
        if (r < 0)
            return r;
    }
    int r = config_complete(w, family, c);
    if (r < 0)
        return r;
    c->vocab_size = tokenizer_size(tokenizer);
    return c->gated ? 0 : config_refuse(w, family, c);
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
        .gated = c->gated,
        .d_model = c->d_model,
        .n_layers = c->n_layers,
        .n_heads = c->n_heads,
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

static int layers_bind(Model *m, const Family *family)
{
    m->layers = calloc(m->config.n_layers, sizeof(*m->layers));
    if (!m->layers)
        return -ENOMEM;
    for (uint32_t i = 0; i < m->config.n_layers; i++) {
        LayerWeights *layer = &m->layers[i];
        char prefix[16];

        layer->units = calloc(config_units(&m->config), sizeof(*layer->units));
        if (!layer->units)
            return -ENOMEM;
        snprintf(prefix, sizeof(prefix), "blk.%u.", i);
        Binding binding = {m->weights, &m->config, prefix, layer, layer->units};
        int r = tensors_bind(&binding, family->layer_tensors, family->n_layer_tensors);
        if (r < 0)
            return r;
    }
    return 0;
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
    Binding binding = {.weights = weights, .config = &m->config, .prefix = "", .base = m};
    r = tensors_bind(&binding, family->tensors, family->n_tensors);
    if (r < 0)
        return r;
    r = layers_bind(m, family);
    if (r < 0)
        return r;
    info_fill(m, family);
    *ret_model = steal_ptr(&m);
    return 0;
}

Model *model_free(Model *m)
{
    if (!m)
        return NULL;
    tokenizer_free(m->tokenizer);
    for (uint32_t i = 0; m->layers && i < m->config.n_layers; i++)
        free(m->layers[i].units);
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
