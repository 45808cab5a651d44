#include <assert.h>
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "engine/state.h"

void probe_rows(Engine *e, int layer, const char *name, const float *rows, size_t n, size_t width)
{
    char full[48];

    if (!e->probe)
        return;
    if (layer < 0)
        snprintf(full, sizeof(full), "%s", name);
    else
        snprintf(full, sizeof(full), "layer%d/%s", layer, name);
    e->probe(e->probe_userdata, full, rows, n, width);
}

static int item_check(const Engine *e, const BatchItem *item)
{
    uint32_t context = e->options.context;
    const ModelConfig *c = &e->model->config;

    assert(item->session && item->session->open && item->session->engine == e);
    assert(!item->ids != !item->rows);
    assert(!item->want_logits || item->logits);
    if (item->n == 0)
        return -EINVAL;
    if (item->n > context || item->session->position > context - item->n)
        return -E2BIG;
    if (item->ids)
        for (uint32_t i = 0; i < item->n; i++)
            if (item->ids[i] < 0 || (uint32_t)item->ids[i] >= c->vocab_size)
                return -EINVAL;
    return 0;
}

static int batch_check(const Engine *e, const BatchItem *items, size_t count)
{
    size_t n_rows = 0;

    for (size_t i = 0; i < count; i++) {
        int r = item_check(e, &items[i]);
        if (r < 0)
            return r;
        for (size_t j = 0; j < i; j++)
            if (items[j].session == items[i].session)
                return -EINVAL;
        n_rows += items[i].n;
        if (n_rows > e->options.max_batch_rows)
            return -EINVAL;
    }
    return n_rows > 0 ? 0 : -EINVAL;
}

/* Rows of all items, one after the other, into e->x. */
static void rows_load(Engine *e, const BatchItem *items, size_t count)
{
    const Model *m = e->model;
    size_t d = m->config.d_model, row = 0;

    for (size_t i = 0; i < count; i++) {
        const BatchItem *item = &items[i];
        if (item->ids) {
            memcpy(e->ids, item->ids, item->n * sizeof(*e->ids));
            if (e->store)
                lookup_rows(&e->lookup, e->ids, item->n);
            e->backend->ops->embed(e->backend, &m->token_embd, e->ids, item->n, e->x + row * d, d);
        } else
            memcpy(e->x + row * d, item->rows, item->n * d * sizeof(float));
        for (uint32_t j = 0; j < item->n; j++)
            e->rows[row++] = (ForwardRow){item->session, item->session->position + j, item->shift};
    }
    e->n_rows = row;
}

/* Angles as the reference computes them: f32 products of position and frequency. */
static void rope_fill(Engine *e)
{
    uint32_t half = e->model->config.head_dim / 2;

    for (size_t row = 0; row < e->n_rows; row++) {
        float *rope = e->rope + row * 2 * half;
        for (uint32_t j = 0; j < half; j++) {
            float angle = (float)e->rows[row].position * e->frequencies[j];
            rope[j] = cosf(angle);
            rope[half + j] = sinf(angle);
        }
    }
}

static void density_run(Engine *e)
{
    const Model *m = e->model;
    const ModelConfig *c = &m->config;
    const BackendOps *ops = e->backend->ops;
    size_t n = e->n_rows;

    if (!c->gated)
        return;
    ops->rms_norm(e->backend, e->x, tensor_f32(&m->density_norm), c->norm_epsilon, n, c->d_model,
                  e->h);
    ops->pack(e->backend, e->packed, e->h, c->d_model, n, c->d_model);
    Product up = {
        .w = &m->density_up,
        .x = e->packed,
        .n = n,
        .bias = tensor_f32(&m->density_up_bias),
        .y = e->hidden,
        .y_stride = c->d_density,
    };
    ops->products(e->backend, &up, 1);
    ops->silu(e->backend, e->hidden, n * c->d_density);
    ops->pack(e->backend, e->packed_slots, e->hidden, c->d_density, n, c->d_density);

    Tensor row = m->density_down; /* [d_density] in the file: one row of a matrix */
    Product down = {
        .w = &row,
        .x = e->packed_slots,
        .n = n,
        .bias = tensor_f32(&m->density_down_bias),
        .y = e->delta,
        .y_stride = 1,
    };
    ops->products(e->backend, &down, 1);
    probe_rows(e, -1, "density", e->delta, n, 1);
}

static int layer_run(Engine *e, uint32_t layer, Route route)
{
    const ModelConfig *c = &e->model->config;
    const LayerWeights *w = &e->model->layers[layer];
    const BackendOps *ops = e->backend->ops;
    size_t n = e->n_rows, d = c->d_model;

    ops->rms_norm(e->backend, e->x, tensor_f32(&w->attn_norm), c->norm_epsilon, n, d, e->h);
    ops->pack(e->backend, e->packed, e->h, d, n, d);
    int r = !c->gated              ? attention_dense(e, layer)
            : route == ROUTE_PLAIN ? attention_plain(e, layer)
                                   : attention_routed(e, layer, route);
    if (r < 0)
        return r;

    ops->rms_norm(e->backend, e->x, tensor_f32(&w->ffn_norm), c->norm_epsilon, n, d, e->h);
    ops->pack(e->backend, e->packed, e->h, d, n, d);
    if (route == ROUTE_PLAIN)
        moe_plain(e, layer);
    else if ((r = moe_routed(e, layer, route)) < 0)
        return r;
    probe_rows(e, (int)layer, "out", e->x, n, d);
    return 0;
}

/* Where the logits of row i of an item go; NULL when nobody wants them. The last row may go to
 * two places. */
static float *row_logits(const BatchItem *item, uint32_t i, size_t vocab_size)
{
    if (item->all_logits)
        return item->all_logits + i * vocab_size;
    return item->want_logits && i == item->n - 1 ? item->logits : NULL;
}

/* The output head over n gathered rows, to where they are wanted. */
static int head_run(Engine *e, float *const *destinations, size_t n)
{
    const Model *m = e->model;
    const ModelConfig *c = &m->config;
    const BackendOps *ops = e->backend->ops;

    ops->rms_norm(e->backend, e->h, tensor_f32(&m->output_norm), c->norm_epsilon, n, c->d_model,
                  e->h);
    ops->pack(e->backend, e->packed, e->h, c->d_model, n, c->d_model);
    Product head = {
        .w = &m->output,
        .x = e->packed,
        .n = n,
        .y = e->logits,
        .y_stride = c->vocab_size,
    };
    ops->products(e->backend, &head, 1);
    int r = ops->sync(e->backend);
    if (r < 0)
        return r;
    for (size_t i = 0; i < n; i++)
        memcpy(destinations[i], e->logits + i * c->vocab_size, c->vocab_size * sizeof(float));
    probe_rows(e, -1, "logits", e->logits, n, c->vocab_size);
    return 0;
}

static int logits_run(Engine *e, const BatchItem *items, size_t count)
{
    const ModelConfig *c = &e->model->config;
    float *destinations[LOGIT_ROWS];
    size_t row = 0, n = 0;

    for (size_t i = 0; i < count; i++)
        for (uint32_t j = 0; j < items[i].n; j++, row++) {
            float *to = row_logits(&items[i], j, c->vocab_size);
            if (!to)
                continue;
            memcpy(e->h + n * c->d_model, e->x + row * c->d_model, c->d_model * sizeof(float));
            destinations[n++] = to;
            if (n == LOGIT_ROWS || n == e->options.max_batch_rows) {
                int r = head_run(e, destinations, n);
                if (r < 0)
                    return r;
                n = 0;
            }
        }
    if (n > 0) {
        int r = head_run(e, destinations, n);
        if (r < 0)
            return r;
    }
    for (size_t i = 0; i < count; i++)
        if (items[i].want_logits && items[i].all_logits)
            memcpy(items[i].logits, items[i].all_logits + (items[i].n - 1) * (size_t)c->vocab_size,
                   c->vocab_size * sizeof(float));
    return 0;
}

static int forward_run(Engine *e, const BatchItem *items, size_t count, Route route)
{
    rows_load(e, items, count);
    rope_fill(e);
    counters_begin(e);
    density_run(e);
    for (uint32_t layer = 0; layer < e->model->config.n_layers; layer++) {
        int r = layer_run(e, layer, route);
        if (r < 0)
            return r;
    }
    int r = logits_run(e, items, count);
    return r < 0 ? r : e->backend->ops->sync(e->backend);
}

int decoder_forward(Engine *e, const BatchItem *items, size_t count, Route route)
{
    assert(route == ROUTE_GATES || e->model->config.gated);
    int r = batch_check(e, items, count);
    if (r < 0)
        return r;

    r = forward_run(e, items, count, route);
    for (size_t i = 0; i < count; i++) {
        if (r < 0)
            session_truncate(items[i].session, items[i].session->position);
        else
            items[i].session->position += items[i].n;
    }
    if (r < 0)
        return r;
    counters_finish(e, items, count, route);
    return 0;
}
