#include <errno.h>
#include <string.h>

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
 * several. Returns how many products that were. */
static size_t gate_up_run(Engine *e, uint32_t layer, size_t begin, size_t end, Which which)
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
    return n_products;
}

/* Slots of units that are not there yet become zeros: they are packed with the others. */
static void silu_run(Engine *e, uint32_t layer, size_t begin, size_t end, Which which)
{
    const BackendOps *ops = e->backend->ops;
    const Routes *routes = &e->experts;
    size_t width = e->model->config.d_expert;

    for (size_t u = begin; u < end; u++) {
        size_t n = routes_unit_rows(routes, u) * width;
        float *gate = e->gate + (size_t)routes->unit_first[u] * width;
        float *up = e->up + (size_t)routes->unit_first[u] * width;

        if (unit_is(e, layer, u, which))
            ops->silu_mul(e->backend, gate, up, n, gate);
        else if (n > 0 && which == UNITS_READY)
            memset(gate, 0, n * sizeof(*gate));
    }
}

/* Rows of packed_slots count from the first slot of `begin`. */
static void down_run(Engine *e, uint32_t layer, size_t begin, size_t end, Which which)
{
    const ModelConfig *c = &e->model->config;
    const Routes *routes = &e->experts;
    size_t n_products = 0, base = (size_t)routes->unit_first[begin];

    for (size_t u = begin; u < end; u++) {
        size_t n = routes_unit_rows(routes, u), first = (size_t)routes->unit_first[u];
        if (!unit_is(e, layer, u, which))
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

static void units_run(Engine *e, uint32_t layer, size_t begin, size_t end, Which which)
{
    const BackendOps *ops = e->backend->ops;
    size_t width = e->model->config.d_expert, first = (size_t)e->experts.unit_first[begin];
    size_t n = (size_t)e->experts.unit_first[end] - first;
    float *gate = e->gate + first * width;

    if (gate_up_run(e, layer, begin, end, which) == 0)
        return;
    if (which == UNITS_ALL)
        ops->silu_mul(e->backend, gate, e->up + first * width, n * width, gate);
    else
        silu_run(e, layer, begin, end, which);
    ops->pack(e->backend, e->packed_slots, gate, width, n, width);
    down_run(e, layer, begin, end, which);
}

/* Units that are in memory run at once, the others as they come. */
static int units_run_as_read(Engine *e, uint32_t layer, size_t begin, size_t end)
{
    int r = 0;

    units_run(e, layer, begin, end, UNITS_READY);
    for (size_t next; r >= 0 && begin < end; begin = next) {
        r = experts_wait(e->store, layer, e->experts.unit_first, begin, end, &next);
        if (r >= 0)
            units_run(e, layer, begin, next, UNITS_LATE);
    }
    return r;
}

/* As many units at a time as the store has room for. */
static int bounded_run(Engine *e, uint32_t layer)
{
    const Routes *routes = &e->experts;
    int r = 0;

    experts_used(e->store, layer, routes->unit_first, e->n_rows);
    for (size_t begin = 0; begin < routes->n_units && r >= 0;) {
        size_t end = experts_begin(e->store, layer, routes->unit_first, begin, routes->n_units);

        if (end == begin)
            return -EIO;
        if (end == routes->n_units)
            experts_foresee(e, layer + 1, SIGHT_EARLY);
        r = units_run_as_read(e, layer, begin, end);
        experts_end(e->store);
        begin = end;
    }
    return r;
}

int moe_routed(Engine *e, uint32_t layer, Route route)
{
    const Routes *routes = &e->experts;
    const BackendOps *ops = e->backend->ops;
    int r = 0;

    experts_route(e, layer, route);
    if (e->store)
        r = bounded_run(e, layer);
    else
        units_run(e, layer, 0, routes->n_units, UNITS_ALL);
    if (r < 0)
        return r;
    r = ops->sync(e->backend);
    if (r < 0)
        return r;
    ops->sum_indexed(e->backend, e->y, routes->order, routes->first, e->n_rows,
                     e->model->config.d_model, e->x);
    if (e->store)
        experts_foresee(e, layer + 1, SIGHT_LATE);
    return 0;
}
