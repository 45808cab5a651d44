#include <string.h>

#include "engine/state.h"

/* MODEL.md, section 10. */

static void cost_add(Cost *c, const Tensor *t)
{
    c->parameters += (uint64_t)t->ne[0] * t->ne[1] * t->ne[2];
    c->bytes += tensor_bytes(t);
}

static void cost_add_slab(Cost *c, const Tensor *t, int64_t rows)
{
    Tensor slab = tensor_rows(t, 0, rows);
    cost_add(c, &slab);
}

static void cost_add_group(Cost *c, const LayerWeights *w, const ModelConfig *config)
{
    cost_add_slab(c, &w->attn_q, config_group_width(config));
    cost_add_slab(c, &w->attn_k, config->head_dim);
    cost_add_slab(c, &w->attn_v, config->head_dim);
    cost_add_slab(c, &w->attn_out, config->d_model);
}

static void cost_add_unit(Cost *c, const ExpertWeights *unit)
{
    cost_add(c, &unit->gate);
    cost_add(c, &unit->up);
    cost_add(c, &unit->down);
}

/* Tensors that a family has not are empty and cost nothing. */
static void costs_add_layer(Costs *c, const LayerWeights *w, const ModelConfig *config)
{
    const Tensor *fixed[] = {&w->attn_norm, &w->q_norm,        &w->k_norm,          &w->ffn_norm,
                             &w->ffn_gate,  &w->ffn_gate_bias, &w->ffn_gate_density};
    const Tensor *dense[] = {&w->attn_q, &w->attn_k, &w->attn_v, &w->attn_out};

    for (size_t i = 0; i < sizeof(fixed) / sizeof(*fixed); i++)
        cost_add(&c->fixed, fixed[i]);
    for (uint32_t u = 0; u < config->n_shared; u++)
        cost_add_unit(&c->fixed, &w->units[u]);
    if (config->gated)
        cost_add_group(&c->fixed, w, config); /* the first is always on */
    else
        for (size_t i = 0; i < sizeof(dense) / sizeof(*dense); i++)
            cost_add(&c->fixed, dense[i]);
    cost_add(&c->group_router, &w->attn_gate);
    cost_add(&c->group_router, &w->attn_gate_bias);
    cost_add(&c->group_router, &w->attn_gate_density);
}

void costs_init(Costs *c, const Model *m)
{
    const ModelConfig *config = &m->config;
    const Tensor *density[] = {&m->density_norm, &m->density_up, &m->density_up_bias,
                               &m->density_down, &m->density_down_bias};
    Cost expert = {0};

    *c = (Costs){0};
    for (size_t i = 0; i < sizeof(density) / sizeof(*density); i++)
        cost_add(&c->fixed, density[i]);
    for (uint32_t l = 0; l < config->n_layers; l++)
        costs_add_layer(c, &m->layers[l], config);

    if (config->gated)
        cost_add_group(&c->group, &m->layers[0], config);
    cost_add_unit(&expert, &m->layers[0].units[config->n_shared]);
    c->expert_parameters = expert.parameters;
    c->head_bytes = tensor_bytes(&m->output);
    c->embedding_row_bytes = dtype_row_bytes(m->token_embd.dtype, m->token_embd.ne[0]);
}

void counters_begin(Engine *e)
{
    e->last = (Counters){0};
    memset(e->row_groups, 0, e->n_rows * sizeof(*e->row_groups));
    memset(e->row_experts, 0, e->n_rows * sizeof(*e->row_experts));
    memset(e->row_kv_bytes, 0, e->n_rows * sizeof(*e->row_kv_bytes));
}

static void counters_add(Counters *a, const Counters *b)
{
    a->rows += b->rows;
    a->kv_bytes += b->kv_bytes;
    a->group_rows += b->group_rows;
    a->expert_rows += b->expert_rows;
    a->active_parameters += b->active_parameters;
}

/* The routed slabs of this forward are in e->last.weight_bytes already, added where they were
 * multiplied. */
void counters_finish(Engine *e, const BatchItem *items, size_t count, Route route)
{
    const Costs *c = &e->costs;
    uint64_t row_parameters = c->fixed.parameters;
    size_t row = 0;

    e->last.weight_bytes += c->fixed.bytes;
    if (route == ROUTE_GATES) {
        e->last.weight_bytes += c->group_router.bytes;
        row_parameters += c->group_router.parameters;
    }
    for (size_t i = 0; i < count; i++) {
        if (items[i].ids)
            e->last.weight_bytes += items[i].n * c->embedding_row_bytes;
        if (items[i].want_logits || items[i].all_logits)
            e->last.head_bytes = c->head_bytes;
    }
    e->last.weight_bytes += e->last.head_bytes;

    for (size_t i = 0; i < count; i++) {
        Counters sum = {.rows = items[i].n};
        for (size_t end = row + items[i].n; row < end; row++) {
            sum.kv_bytes += e->row_kv_bytes[row];
            sum.group_rows += e->row_groups[row];
            sum.expert_rows += e->row_experts[row];
        }
        sum.active_parameters = sum.rows * row_parameters + sum.group_rows * c->group.parameters +
                                sum.expert_rows * c->expert_parameters;

        Counters *session = &items[i].session->counters;
        counters_add(session, &sum);
        session->weight_bytes += e->last.weight_bytes;
        session->head_bytes += e->last.head_bytes;
        counters_add(&e->last, &sum);
    }
}
