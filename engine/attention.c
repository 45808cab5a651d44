#include <string.h>

#include "engine/state.h"

/* Gates of the layer into e->scores [n_rows, n_groups]. */
static void gates_run(Engine *e, uint32_t layer, Route route)
{
    const ModelConfig *c = &e->model->config;
    const LayerWeights *w = &e->model->layers[layer];
    size_t n_groups = c->n_groups;
    Router router = {&w->attn_gate, &w->attn_gate_bias, &w->attn_gate_density};

    if (route == ROUTE_GATES)
        router_scores(e, &router, e->packed, e->n_rows, e->scores + 1, n_groups);
    for (size_t row = 0; row < e->n_rows; row++) {
        float *gate = e->scores + row * n_groups;
        gate[0] = 1;
        for (size_t i = 1; i < n_groups; i++)
            gate[i] = route != ROUTE_GATES ? 1 : gate[i] > 0 ? gate[i] : 0;
    }
    probe_rows(e, (int)layer, "gates", e->scores, e->n_rows, n_groups);
}

static void groups_route(Engine *e, size_t n_groups)
{
    Routes *routes = &e->groups;

    routes_begin(routes, n_groups);
    for (size_t row = 0; row < e->n_rows; row++) {
        const float *gate = e->scores + row * n_groups;
        for (size_t i = 0; i < n_groups; i++)
            if (gate[i] > 0)
                routes_add(routes, i, gate[i]);
        e->row_groups[row] += routes->n_slots - routes->first[row] - 1;
        routes_row_end(routes);
    }
    routes_sort(routes);
}

int attention_append(Engine *e, uint32_t layer, uint32_t group, size_t row, float gate, size_t slot)
{
    const ModelConfig *c = &e->model->config;
    const ForwardRow *forward = &e->rows[row];
    KvLane *lane = &forward->session->lanes[(size_t)layer * c->n_groups + group];

    int r = kv_append(&e->pool, lane, forward->position, gate);
    if (r < 0)
        return r;
    e->attention[slot] = (AttentionRow){
        .k_pages = lane->k_pages,
        .v_pages = lane->v_pages,
        .log_gate = lane->log_gates,
        .length = lane->count,
    };
    e->row_kv_bytes[row] += 2 * e->pool.row_bytes * lane->count;
    return 0;
}

/* q, k and v of each group's rows, into its run of slots. */
static void qkv_run(Engine *e, const LayerWeights *w, Tensor (*slabs)[3])
{
    const ModelConfig *c = &e->model->config;
    const Tensor *weights[] = {&w->attn_q, &w->attn_k, &w->attn_v};
    float *outputs[] = {e->q, e->k, e->v};
    size_t widths[] = {config_group_width(c), c->head_dim, c->head_dim};
    size_t n_products = 0;

    for (size_t g = 0; g < c->n_groups; g++) {
        size_t first = (size_t)e->groups.unit_first[g], n = routes_unit_rows(&e->groups, g);
        if (n == 0)
            continue;
        if (g > 0)
            e->last.weight_bytes += e->costs.group.bytes;
        for (size_t i = 0; i < 3; i++) {
            slabs[g][i] = tensor_rows(weights[i], (int64_t)(g * widths[i]), (int64_t)widths[i]);
            e->products[n_products++] = (Product){
                .w = &slabs[g][i],
                .x = e->packed,
                .n = n,
                .src = e->groups.row + first,
                .y = outputs[i] + first * widths[i],
                .y_stride = widths[i],
            };
        }
    }
    e->backend->ops->products(e->backend, e->products, n_products);
}

/* Norm and rotation of queries and keys; keys and values go to the caches. */
static int heads_finish(Engine *e, uint32_t layer)
{
    const ModelConfig *c = &e->model->config;
    const LayerWeights *w = &e->model->layers[layer];
    const BackendOps *ops = e->backend->ops;
    size_t n = e->groups.n_slots, dh = c->head_dim;

    for (size_t g = 0; g < c->n_groups; g++)
        for (int32_t slot = e->groups.unit_first[g]; slot < e->groups.unit_first[g + 1]; slot++) {
            size_t row = (size_t)e->groups.row[slot];
            int r =
                attention_append(e, layer, (uint32_t)g, row, e->groups.gate[slot], (size_t)slot);
            if (r < 0)
                return r;
            e->attention[slot].q = e->q + (size_t)slot * config_group_width(c);
            e->attention[slot].k = e->k + (size_t)slot * dh;
            e->attention[slot].v = e->v + (size_t)slot * dh;
            e->attention[slot].out = e->attended + (size_t)slot * config_group_width(c);
            memcpy(e->cos_sin + (size_t)slot * dh, e->rope + row * dh, dh * sizeof(float));
        }

    ops->rms_norm(e->backend, e->q, tensor_f32(&w->q_norm), c->norm_epsilon, n * c->heads_per_group,
                  dh, e->q);
    ops->rms_norm(e->backend, e->k, tensor_f32(&w->k_norm), c->norm_epsilon, n, dh, e->k);
    ops->rope(e->backend, e->q, n, c->heads_per_group, dh, e->cos_sin);
    ops->rope(e->backend, e->k, n, 1, dh, e->cos_sin);
    ops->kv_store(e->backend, e->attention, n, dh, e->pool.type);
    return 0;
}

/* Each group's output slab over its run, times the gates; then x takes them in ascending order
 * of groups. */
static void outputs_run(Engine *e, const LayerWeights *w, Tensor (*slabs)[3])
{
    const ModelConfig *c = &e->model->config;
    const BackendOps *ops = e->backend->ops;
    size_t n_products = 0, width = config_group_width(c);
    Routes *routes = &e->groups;

    ops->pack(e->backend, e->packed_slots, e->attended, width, routes->n_slots, width);
    for (size_t g = 0; g < c->n_groups; g++) {
        size_t n = routes_unit_rows(routes, g), first = (size_t)routes->unit_first[g];
        if (n == 0)
            continue;
        slabs[g][0] = tensor_slab(&w->attn_out, (int64_t)g);
        e->products[n_products++] = (Product){
            .w = &slabs[g][0],
            .x = e->packed_slots,
            .n = n,
            .src = e->slot_ids + first,
            .scale = routes->gate + first,
            .y = e->y + first * c->d_model,
            .y_stride = c->d_model,
        };
    }
    ops->products(e->backend, e->products, n_products);
    ops->sum_indexed(e->backend, e->y, routes->order, routes->first, e->n_rows, c->d_model, e->x);
}

int attention_routed(Engine *e, uint32_t layer, Route route)
{
    const ModelConfig *c = &e->model->config;
    const LayerWeights *w = &e->model->layers[layer];

    gates_run(e, layer, route);
    groups_route(e, c->n_groups);
    qkv_run(e, w, e->slabs);
    int r = heads_finish(e, layer);
    if (r < 0)
        return r;
    e->backend->ops->attention_paged(e->backend, e->attention, e->groups.n_slots,
                                     c->heads_per_group, c->head_dim, e->pool.type);
    outputs_run(e, w, e->slabs);
    return 0;
}
