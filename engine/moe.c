#include <errno.h>

#include "engine/state.h"

/* The units that one call of the two steps below is about. */
typedef enum Which {
    UNITS_READY, /* in memory when they were taken */
    UNITS_LATE,  /* read since */
    UNITS_ALL,
} Which;

static bool unit_is(const Engine *e, uint32_t layer, size_t unit, Which which)
{
    if (routes_unit_rows(&e->experts, unit) == 0)
        return false;
    return which == UNITS_ALL || !e->store ||
           experts_late(e->store, layer, unit) == (which == UNITS_LATE);
}

static const ExpertWeights *unit_weights(const Engine *e, uint32_t layer, size_t unit)
{
    return e->store ? experts_unit(e->store, layer, unit) : &e->model->layers[layer].units[unit];
}

/* Units [begin, end): the slots of a run of units are a run themselves, so a layer can be done in
 * several. */
static void gate_up_run(Engine *e, uint32_t layer, size_t begin, size_t end, Which which)
{
    const ModelConfig *c = &e->model->config;
    const Routes *routes = &e->experts;
    size_t n_products = 0;

    for (size_t u = begin; u < end; u++) {
        size_t n = routes_unit_rows(routes, u), first = (size_t)routes->unit_first[u];
        if (!unit_is(e, layer, u, which))
            continue;
        const ExpertWeights *unit = unit_weights(e, layer, u);
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

/* Rows of packed_slots count from the first slot of `begin`. */
static void down_run(Engine *e, uint32_t layer, size_t begin, size_t end)
{
    const ModelConfig *c = &e->model->config;
    const Routes *routes = &e->experts;
    size_t n_products = 0, base = (size_t)routes->unit_first[begin];

    for (size_t u = begin; u < end; u++) {
        size_t n = routes_unit_rows(routes, u), first = (size_t)routes->unit_first[u];
        if (!unit_is(e, layer, u, UNITS_ALL))
            continue;
        e->products[n_products++] = (Product){
            .w = &unit_weights(e, layer, u)->down,
            .x = e->packed_slots,
            .n = n,
            .src = e->slot_ids + first - base,
            .scale = routes->gate + first,
            .y = e->y + first * c->d_model,
            .y_stride = c->d_model,
        };
    }
    e->backend->ops->products(e->backend, e->products, n_products);
}

/* A run of units whose weights are in memory, or on their way there: what is there runs first. */
static int units_run(Engine *e, uint32_t layer, size_t begin, size_t end)
{
    const ModelConfig *c = &e->model->config;
    const BackendOps *ops = e->backend->ops;
    size_t first = (size_t)e->experts.unit_first[begin];
    size_t n = (size_t)e->experts.unit_first[end] - first;
    float *gate = e->gate + first * c->d_expert;

    gate_up_run(e, layer, begin, end, UNITS_READY);
    if (e->store) {
        int r = experts_wait(e->store);
        if (r < 0)
            return r;
        gate_up_run(e, layer, begin, end, UNITS_LATE);
    }
    ops->silu_mul(e->backend, gate, e->up + first * c->d_expert, n * c->d_expert, gate);
    ops->pack(e->backend, e->packed_slots, gate, c->d_expert, n, c->d_expert);
    down_run(e, layer, begin, end);
    return ops->sync(e->backend);
}

/* As many units at a time as the store has room for. */
static int bounded_run(Engine *e, uint32_t layer)
{
    const Routes *routes = &e->experts;
    int r = 0;

    experts_used(e->store, layer, routes->unit_first, routes->n_units);
    for (size_t begin = 0; begin < routes->n_units && r >= 0;) {
        size_t end = experts_begin(e->store, layer, routes->unit_first, begin, routes->n_units);

        if (end == begin)
            return -EIO;
        if (end == routes->n_units)
            experts_foresee(e, layer + 1);
        r = units_run(e, layer, begin, end);
        experts_end(e->store);
        begin = end;
    }
    return r;
}

int moe_routed(Engine *e, uint32_t layer, Route route)
{
    const Routes *routes = &e->experts;

    experts_route(e, layer, route);
    int r = e->store ? bounded_run(e, layer) : units_run(e, layer, 0, routes->n_units);
    if (r < 0)
        return r;
    e->backend->ops->sum_indexed(e->backend, e->y, routes->order, routes->first, e->n_rows,
                                 e->model->config.d_model, e->x);
    return 0;
}
