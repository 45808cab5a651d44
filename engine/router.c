#include <math.h>

#include "engine/state.h"

void router_scores(Engine *e, const Router *router, Packed *packed, size_t n_rows, float *y,
                   size_t stride)
{
    const float *per_density = tensor_f32(router->density);
    size_t n = (size_t)router->weight->ne[1];
    Product product = {
        .w = router->weight,
        .x = packed,
        .n = n_rows,
        .bias = tensor_f32(router->bias),
        .y = y,
        .y_stride = stride,
    };
    e->backend->ops->products(e->backend, &product, 1);
    (void)e->backend->ops->sync(e->backend);

    for (size_t row = 0; row < n_rows; row++) {
        float *score = y + row * stride;
        for (size_t i = 0; i < n; i++)
            score[i] = score[i] + per_density[i] * e->delta[row] + e->rows[row].shift;
    }
}

void expert_scores(Engine *e, uint32_t layer, Packed *packed, size_t n, float *scores)
{
    const ModelConfig *c = &e->model->config;
    const LayerWeights *w = &e->model->layers[layer];

    if (c->gated) {
        Router router = {&w->ffn_gate, &w->ffn_gate_bias, &w->ffn_gate_density};
        router_scores(e, &router, packed, n, scores, c->n_experts);
        return;
    }
    Product product = {
        .w = &w->ffn_gate,
        .x = packed,
        .n = n,
        .y = scores,
        .y_stride = c->n_experts,
    };
    e->backend->ops->products(e->backend, &product, 1);
    (void)e->backend->ops->sync(e->backend);
}

/* Gates are the pre-activations above zero; with every gate forced on they are 1. */
static size_t choose_gated(const ModelConfig *c, const float *scores, bool all, int32_t *chosen,
                           float *gates)
{
    size_t n = select_largest(scores, c->n_experts, all ? -INFINITY : 0,
                              all ? ROUTE_ALL_EXPERTS : c->expert_cap, chosen);

    for (size_t i = 0; i < n; i++)
        gates[i] = all ? 1 : scores[chosen[i]];
    return n;
}

/* Gates are the shares of a softmax over all experts, or over the chosen ones, where the sum of
 * all cancels out. */
static size_t choose_softmax(const ModelConfig *c, const float *scores, int32_t *chosen,
                             float *gates)
{
    size_t n = select_largest(scores, c->n_experts, -INFINITY, c->expert_cap, chosen);
    float largest = -INFINITY, sum = 0;

    for (size_t i = 0; i < n; i++)
        largest = fmaxf(largest, scores[chosen[i]]);
    for (size_t i = 0; i < n; i++)
        gates[i] = expf(scores[chosen[i]] - largest);
    if (c->expert_norm)
        for (size_t i = 0; i < n; i++)
            sum += gates[i];
    else
        for (size_t i = 0; i < c->n_experts; i++)
            sum += expf(scores[i] - largest);
    for (size_t i = 0; i < n; i++)
        gates[i] /= sum;
    return n;
}

/* For whoever probes: the gates of all experts, zero where they were not chosen. */
static void scores_replace(float *scores, size_t n_experts, const int32_t *chosen,
                           const float *gates, size_t n)
{
    size_t next = 0;

    for (size_t i = 0; i < n_experts; i++) {
        bool on = next < n && chosen[next] == (int32_t)i;
        scores[i] = on ? gates[next] : 0;
        next += on;
    }
}

static void row_route(Engine *e, float *scores, Route route)
{
    const ModelConfig *c = &e->model->config;
    int32_t chosen[ROUTING_CAP_MAX];
    float gates[ROUTING_CAP_MAX];
    size_t n = c->gated ? choose_gated(c, scores, route == ROUTE_ALL, chosen, gates)
                        : choose_softmax(c, scores, chosen, gates);

    if (c->n_shared)
        routes_add(&e->experts, 0, 1);
    for (size_t i = 0; i < n; i++)
        routes_add(&e->experts, c->n_shared + (size_t)chosen[i], gates[i]);
    if (e->probe)
        scores_replace(scores, c->n_experts, chosen, gates, n);
}

void experts_route(Engine *e, uint32_t layer, Route route)
{
    const ModelConfig *c = &e->model->config;
    Routes *routes = &e->experts;

    expert_scores(e, layer, e->packed, e->n_rows, e->scores);
    routes_begin(routes, config_units(c));
    for (size_t row = 0; row < e->n_rows; row++) {
        row_route(e, e->scores + row * c->n_experts, route);
        e->row_experts[row] += routes->n_slots - (size_t)routes->first[row] - c->n_shared;
        routes_row_end(routes);
    }
    routes_sort(routes);
    probe_rows(e, (int)layer, "experts", e->scores, e->n_rows, c->n_experts);
}

/* Puts the chosen in the order of their scores, largest first. */
static void chosen_order(int32_t *chosen, size_t n, const float *scores)
{
    for (size_t i = 1; i < n; i++) {
        int32_t x = chosen[i];
        size_t j = i;

        for (; j > 0 && scores[chosen[j - 1]] < scores[x]; j--)
            chosen[j] = chosen[j - 1];
        chosen[j] = x;
    }
}

void experts_foresee(Engine *e, uint32_t layer, Sight sight)
{
    const ModelConfig *c = &e->model->config;
    const BackendOps *ops = e->backend->ops;
    size_t n = e->n_rows, d = c->d_model;

    if (layer >= c->n_layers)
        return;
    if (n > AHEAD_ROWS) {
        if (sight == SIGHT_EARLY)
            experts_expect_any(e->store, layer, n);
        return;
    }
    ops->rms_norm(e->backend, e->x, tensor_f32(&e->model->layers[layer].ffn_norm), c->norm_epsilon,
                  n, d, e->h_ahead);
    ops->pack(e->backend, e->packed_ahead, e->h_ahead, d, n, d);
    expert_scores(e, layer, e->packed_ahead, n, e->scores_ahead);
    for (size_t row = 0; row < n; row++) {
        const float *scores = e->scores_ahead + row * c->n_experts;
        int32_t chosen[ROUTING_CAP_MAX];
        size_t n_chosen =
            select_largest(scores, c->n_experts, c->gated ? 0 : -INFINITY, c->expert_cap, chosen);

        chosen_order(chosen, n_chosen, scores);
        experts_expect(e->store, layer, sight, chosen, n_chosen);
    }
}
