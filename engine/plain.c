#include <math.h>
#include <string.h>

#include "engine/state.h"

/*
 * Every group with gate 1 and the four largest experts with gate 1, without lists: whole
 * matrices for all rows, experts row by row. The routed path with its gates forced on must give
 * the same bits.
 */

static void product_whole(Engine *e, const Tensor *w, float *y)
{
    Product product = {
        .w = w,
        .x = e->packed,
        .n = e->n_rows,
        .y = y,
        .y_stride = (size_t)w->ne[1],
    };
    e->backend->ops->products(e->backend, &product, 1);
}

static int caches_append(Engine *e, uint32_t layer)
{
    const ModelConfig *c = &e->model->config;
    size_t dh = c->head_dim, width = config_group_width(c), n_groups = c->n_groups;

    for (size_t row = 0; row < e->n_rows; row++)
        for (size_t g = 0; g < n_groups; g++) {
            size_t slot = row * n_groups + g;
            int r = attention_append(e, layer, (uint32_t)g, row, 1, slot);
            if (r < 0)
                return r;
            e->attention[slot].q = e->q + slot * width;
            e->attention[slot].k = e->k + slot * dh;
            e->attention[slot].v = e->v + slot * dh;
            e->attention[slot].out = e->attended + slot * width;
            memcpy(e->cos_sin + slot * dh, e->rope + row * dh, dh * sizeof(float));
        }
    return 0;
}

int attention_plain(Engine *e, uint32_t layer)
{
    const ModelConfig *c = &e->model->config;
    const LayerWeights *w = &e->model->layers[layer];
    const BackendOps *ops = e->backend->ops;
    size_t n_groups = c->n_groups, n = e->n_rows * n_groups, dh = c->head_dim;
    size_t width = config_group_width(c);

    product_whole(e, &w->attn_q, e->q);
    product_whole(e, &w->attn_k, e->k);
    product_whole(e, &w->attn_v, e->v);
    int r = caches_append(e, layer);
    if (r < 0)
        return r;
    ops->rms_norm(e->backend, e->q, tensor_f32(&w->q_norm), c->norm_epsilon, n * c->heads_per_group,
                  dh, e->q);
    ops->rms_norm(e->backend, e->k, tensor_f32(&w->k_norm), c->norm_epsilon, n, dh, e->k);
    ops->rope(e->backend, e->q, n, c->heads_per_group, dh, e->cos_sin);
    ops->rope(e->backend, e->k, n, 1, dh, e->cos_sin);
    ops->kv_store(e->backend, e->attention, n, dh, e->pool.type);
    ops->attention_paged(e->backend, e->attention, n, c->heads_per_group, dh, e->pool.type);

    for (size_t g = 0; g < n_groups; g++) {
        Tensor slab = tensor_slab(&w->attn_out, (int64_t)g);
        Product product = {
            .w = &slab,
            .x = e->packed_slots,
            .n = e->n_rows,
            .y = e->y,
            .y_stride = c->d_model,
        };
        ops->pack(e->backend, e->packed_slots, e->attended + g * width, n_groups * width, e->n_rows,
                  width);
        ops->products(e->backend, &product, 1);
        ops->add(e->backend, e->x, e->y, e->n_rows * c->d_model);
    }
    for (size_t row = 0; row < e->n_rows; row++)
        e->row_groups[row] += n_groups - 1;
    e->last.weight_bytes += (n_groups - 1) * e->costs.group.bytes;
    return 0;
}

/* x_row += SwiGLU(h_row), of one expert. */
static void expert_plain(Engine *e, const ExpertWeights *w, int32_t row)
{
    const ModelConfig *c = &e->model->config;
    const BackendOps *ops = e->backend->ops;
    float *x = e->x + (size_t)row * c->d_model;
    Product first[] = {
        {.w = &w->gate, .x = e->packed, .n = 1, .src = &row, .y = e->gate, .y_stride = c->d_expert},
        {.w = &w->up, .x = e->packed, .n = 1, .src = &row, .y = e->up, .y_stride = c->d_expert},
    };
    Product second = {
        .w = &w->down, .x = e->packed_slots, .n = 1, .y = e->y, .y_stride = c->d_model};

    ops->products(e->backend, first, 2);
    ops->silu_mul(e->backend, e->gate, e->up, c->d_expert, e->gate);
    ops->pack(e->backend, e->packed_slots, e->gate, c->d_expert, 1, c->d_expert);
    ops->products(e->backend, &second, 1);
    ops->add(e->backend, x, e->y, c->d_model);
}

void moe_plain(Engine *e, uint32_t layer)
{
    const ModelConfig *c = &e->model->config;
    const LayerWeights *w = &e->model->layers[layer];

    expert_scores(e, layer, e->packed, e->n_rows, e->scores);
    for (size_t row = 0; row < e->n_rows; row++) {
        int32_t chosen[ROUTE_ALL_EXPERTS];
        size_t n = select_largest(e->scores + row * c->n_experts, c->n_experts, -INFINITY,
                                  ROUTE_ALL_EXPERTS, chosen);

        expert_plain(e, &w->units[0], (int32_t)row);
        for (size_t i = 0; i < n; i++) {
            const ExpertWeights *unit = &w->units[c->n_shared + (size_t)chosen[i]];
            expert_plain(e, unit, (int32_t)row);
            e->last.weight_bytes += unit_bytes(unit);
        }
        e->row_experts[row] += n;
    }
}
