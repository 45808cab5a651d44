#include <math.h>

#include "engine/state.h"

/*
 * Attention whose groups all run: whole projections, row by row, and then each row's queries
 * against the caches of their groups.
 */

static void projections_run(Engine *e, const LayerWeights *w)
{
    const Tensor *weights[] = {&w->attn_q, &w->attn_k, &w->attn_v};
    float *outputs[] = {e->q, e->k, e->v};
    Product products[3];

    for (size_t i = 0; i < 3; i++)
        products[i] = (Product){
            .w = weights[i],
            .x = e->packed,
            .n = e->n_rows,
            .y = outputs[i],
            .y_stride = (size_t)weights[i]->ne[1],
        };
    e->backend->ops->products(e->backend, products, 3);
}

static void clamp(float *x, size_t n, float limit)
{
    for (size_t i = 0; i < n; i++)
        x[i] = fminf(fmaxf(x[i], -limit), limit);
}

/* Norms, limits and rotation of what was projected, in this order. */
static void heads_finish(Engine *e, const LayerWeights *w)
{
    const ModelConfig *c = &e->model->config;
    const BackendOps *ops = e->backend->ops;
    size_t n = e->n_rows, dh = c->head_dim;
    size_t q_width = c->n_heads * dh, k_width = c->n_groups * dh;
    bool whole = c->head_norm == HEAD_NORM_ROW;

    ops->rms_norm(e->backend, e->q, tensor_f32(&w->q_norm), c->norm_epsilon,
                  whole ? n : n * c->n_heads, whole ? q_width : dh, e->q);
    ops->rms_norm(e->backend, e->k, tensor_f32(&w->k_norm), c->norm_epsilon,
                  whole ? n : n * c->n_groups, whole ? k_width : dh, e->k);
    if (c->qkv_limit > 0) {
        (void)ops->sync(e->backend);
        clamp(e->q, n * q_width, c->qkv_limit);
        clamp(e->k, n * k_width, c->qkv_limit);
        clamp(e->v, n * k_width, c->qkv_limit);
    }
    ops->rope(e->backend, e->q, n, c->n_heads, dh, e->rope);
    ops->rope(e->backend, e->k, n, c->n_groups, dh, e->rope);
}

/* Group by group, so that the rows that share a cache follow each other. */
static int rows_append(Engine *e, uint32_t layer)
{
    const ModelConfig *c = &e->model->config;
    size_t n = e->n_rows, dh = c->head_dim, width = config_group_width(c);

    for (size_t g = 0; g < c->n_groups; g++)
        for (size_t row = 0; row < n; row++) {
            size_t slot = g * n + row, q = (row * c->n_groups + g) * width,
                   k = (row * c->n_groups + g) * dh;
            int r = attention_append(e, layer, (uint32_t)g, row, 1, slot);
            if (r < 0)
                return r;
            AttentionRow *a = &e->attention[slot];
            a->log_gate = NULL;
            a->q = e->q + q;
            a->k = e->k + k;
            a->v = e->v + k;
            a->out = e->attended + q;
        }
    return 0;
}

int attention_dense(Engine *e, uint32_t layer)
{
    const ModelConfig *c = &e->model->config;
    const LayerWeights *w = &e->model->layers[layer];
    const BackendOps *ops = e->backend->ops;
    size_t n = e->n_rows, slots = n * c->n_groups, width = c->n_heads * c->head_dim;

    projections_run(e, w);
    heads_finish(e, w);
    int r = rows_append(e, layer);
    if (r < 0)
        return r;
    ops->kv_store(e->backend, e->attention, slots, c->head_dim, e->pool.type);
    ops->attention_paged(e->backend, e->attention, slots, c->heads_per_group, c->head_dim,
                         e->pool.type);
    ops->pack(e->backend, e->packed, e->attended, width, n, width);
    Product out = {
        .w = &w->attn_out,
        .x = e->packed,
        .n = n,
        .y = e->x,
        .y_stride = c->d_model,
        .accumulate = true,
    };
    ops->products(e->backend, &out, 1);
    return 0;
}
