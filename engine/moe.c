#include "engine/state.h"

/* Units [begin, end): the slots of a run of units are a run themselves, so a layer can be done in
 * several. */
static void gate_up_run(Engine *e, const LayerWeights *w, size_t begin, size_t end)
{
    const ModelConfig *c = &e->model->config;
    const Routes *routes = &e->experts;
    size_t n_products = 0;

    for (size_t u = begin; u < end; u++) {
        size_t n = routes_unit_rows(routes, u), first = (size_t)routes->unit_first[u];
        const ExpertWeights *unit = &w->units[u];
        if (n == 0)
            continue;
        if (u >= c->n_shared)
            e->last.weight_bytes += unit_bytes(unit);
        for (size_t i = 0; i < 2; i++)
            e->products[n_products++] = (Product){
                .w = i == 0 ? &unit->gate : &unit->up,
                .x = e->packed,
                .n = n,
                .src = routes->row + first,
                .y = (i == 0 ? e->gate : e->up) + first * c->d_expert,
                .y_stride = c->d_expert,
            };
    }
    e->backend->ops->products(e->backend, e->products, n_products);
}

static void down_run(Engine *e, const LayerWeights *w, size_t begin, size_t end)
{
    const ModelConfig *c = &e->model->config;
    const Routes *routes = &e->experts;
    size_t n_products = 0;

    for (size_t u = begin; u < end; u++) {
        size_t n = routes_unit_rows(routes, u), first = (size_t)routes->unit_first[u];
        if (n == 0)
            continue;
        e->products[n_products++] = (Product){
            .w = &w->units[u].down,
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
    gate_up_run(e, w, 0, routes->n_units);
    ops->silu_mul(e->backend, e->gate, e->up, routes->n_slots * c->d_expert, e->gate);
    ops->pack(e->backend, e->packed_slots, e->gate, c->d_expert, routes->n_slots, c->d_expert);
    down_run(e, w, 0, routes->n_units);
    ops->sum_indexed(e->backend, e->y, routes->order, routes->first, e->n_rows, c->d_model, e->x);
}
