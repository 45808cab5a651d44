#include <math.h>

#include "engine/state.h"

void moe_scores(Engine *e, uint32_t layer)
{
    const ModelConfig *c = &e->model->config;
    const LayerWeights *w = &e->model->layers[layer];

    router_scores(e, &w->ffn_gate, &w->ffn_gate_bias, &w->ffn_gate_density, c->n_experts, 0,
                  c->n_experts);
}

/* The routed experts of a row; e->scores keeps their gates, zero elsewhere, when a probe looks
 * on. */
static void row_route(Engine *e, float *scores, Route route)
{
    const ModelConfig *c = &e->model->config;
    bool all = route == ROUTE_ALL;
    int32_t chosen[ROUTING_CAP_MAX];
    size_t n = select_largest(scores, c->n_experts, all ? -INFINITY : 0,
                              all ? ROUTE_ALL_EXPERTS : c->expert_cap, chosen);

    routes_add(&e->experts, 0, 1);
    for (size_t i = 0; i < n; i++)
        routes_add(&e->experts, 1 + (size_t)chosen[i], all ? 1 : scores[chosen[i]]);
    if (e->probe) {
        size_t next = 0;
        for (size_t i = 0; i < c->n_experts; i++) {
            bool on = next < n && chosen[next] == (int32_t)i;
            scores[i] = !on ? 0 : all ? 1 : scores[i];
            next += on;
        }
    }
}

static void experts_route(Engine *e, uint32_t layer, Route route)
{
    const ModelConfig *c = &e->model->config;
    Routes *routes = &e->experts;

    moe_scores(e, layer);
    routes_begin(routes, c->n_experts + 1);
    for (size_t row = 0; row < e->n_rows; row++) {
        row_route(e, e->scores + row * c->n_experts, route);
        e->row_experts[row] += routes->n_slots - routes->first[row] - 1;
        routes_row_end(routes);
    }
    routes_sort(routes);
    probe_rows(e, (int)layer, "experts", e->scores, e->n_rows, c->n_experts);
}

/* One slab of each expert that has rows; unit 0 is the shared expert. */
static Tensor unit_slab(const Tensor *experts, const Tensor *shared, size_t unit)
{
    return unit == 0 ? *shared : tensor_slab(experts, (int64_t)unit - 1);
}

static void gate_up_run(Engine *e, const LayerWeights *w)
{
    const ModelConfig *c = &e->model->config;
    const Routes *routes = &e->experts;
    size_t n_products = 0;

    for (size_t u = 0; u < routes->n_units; u++) {
        size_t n = routes_unit_rows(routes, u), first = (size_t)routes->unit_first[u];
        if (n == 0)
            continue;
        if (u > 0)
            e->last.weight_bytes += e->costs.expert.bytes;
        e->slabs[u][0] = unit_slab(&w->gate_exps, &w->gate_shexp, u);
        e->slabs[u][1] = unit_slab(&w->up_exps, &w->up_shexp, u);
        for (size_t i = 0; i < 2; i++)
            e->products[n_products++] = (Product){
                .w = &e->slabs[u][i],
                .x = e->packed,
                .n = n,
                .src = routes->row + first,
                .y = (i == 0 ? e->gate : e->up) + first * c->d_expert,
                .y_stride = c->d_expert,
            };
    }
    e->backend->ops->products(e->backend, e->products, n_products);
}

static void down_run(Engine *e, const LayerWeights *w)
{
    const ModelConfig *c = &e->model->config;
    const Routes *routes = &e->experts;
    size_t n_products = 0;

    for (size_t u = 0; u < routes->n_units; u++) {
        size_t n = routes_unit_rows(routes, u), first = (size_t)routes->unit_first[u];
        if (n == 0)
            continue;
        e->slabs[u][0] = unit_slab(&w->down_exps, &w->down_shexp, u);
        e->products[n_products++] = (Product){
            .w = &e->slabs[u][0],
            .x = e->packed_slots,
            .n = n,
            .src = e->slot_ids + first,
            .scale = routes->gate + first,
            .y = e->y + first * c->d_model,
            .y_stride = c->d_model,
        };
    }
    e->backend->ops->products(e->backend, e->products, n_products);
}

void moe_routed(Engine *e, uint32_t layer, Route route)
{
    const ModelConfig *c = &e->model->config;
    const LayerWeights *w = &e->model->layers[layer];
    const BackendOps *ops = e->backend->ops;
    const Routes *routes = &e->experts;

    experts_route(e, layer, route);
    gate_up_run(e, w);
    ops->silu_mul(e->backend, e->gate, e->up, routes->n_slots * c->d_expert, e->gate);
    ops->pack(e->backend, e->packed_slots, e->gate, c->d_expert, routes->n_slots, c->d_expert);
    down_run(e, w);
    ops->sum_indexed(e->backend, e->y, routes->order, routes->first, e->n_rows, c->d_model, e->x);
}
