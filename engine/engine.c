#include <assert.h>
#include <errno.h>
#include <math.h>
#include <string.h>

#include "engine/state.h"

#define SESSIONS_MAX   1024
#define BATCH_ROWS_MAX 4096
#define TOKENS_MAX     (1u << 24)

EngineOptions engine_options_default(void)
{
    return (EngineOptions){.max_sessions = 16, .max_batch_rows = 256, .max_tokens = 0};
}

/* Pages for max_tokens rows in every lane, were all gates open, and a started page a lane and
 * session: gates that close leave room for more rows than that. */
static int options_complete(EngineOptions *o, const ModelConfig *c, size_t *ret_pages)
{
    EngineOptions defaults = engine_options_default();
    if (o->max_sessions == 0)
        o->max_sessions = defaults.max_sessions;
    if (o->max_batch_rows == 0)
        o->max_batch_rows = defaults.max_batch_rows;
    if (o->max_sessions > SESSIONS_MAX || o->max_batch_rows > BATCH_ROWS_MAX ||
        o->max_tokens > TOKENS_MAX)
        return -EINVAL;
    if (o->context == 0 || o->context > c->context_length)
        o->context = c->context_length;
    if (o->max_tokens == 0)
        o->max_tokens = o->max_sessions * 512;
    if (o->max_tokens < o->context)
        o->max_tokens = o->context;

    size_t lane_pages = (o->max_tokens + KV_PAGE - 1) / KV_PAGE + o->max_sessions;
    *ret_pages = lane_pages * c->n_layers * c->n_groups;
    return 0;
}

static int cache_type(const EngineOptions *o, const Engine *e, KvType *ret_type)
{
    static const KvType types[] = {[CACHE_F32] = KV_F32, [CACHE_F16] = KV_F16, [CACHE_Q8] = KV_Q8};
    uint32_t dh = e->model->config.head_dim;

    if (o->cache == CACHE_DEFAULT)
        *ret_type = e->backend->precision == PRECISION_INT8 ? KV_F16 : KV_F32;
    else
        *ret_type = types[o->cache];
    if (*ret_type == KV_Q8 && dh % 32 != 0)
        return weights_fail(e->model->weights, -ENOTSUP,
                            "heads have %u values, a q8 cache takes a multiple of 32", dh);
    return 0;
}

static int sessions_init(Engine *e)
{
    const ModelConfig *c = &e->model->config;
    size_t n_lanes = (size_t)c->n_layers * c->n_groups, n = e->options.max_sessions;
    size_t table = kv_table_length(e->options.context);

    e->sessions = calloc(n, sizeof(*e->sessions));
    e->lanes = calloc(n * n_lanes, sizeof(*e->lanes));
    e->tables = calloc(n * n_lanes, table * sizeof(*e->tables));
    if (!e->sessions || !e->lanes || !e->tables)
        return -ENOMEM;
    for (size_t i = 0; i < n * n_lanes; i++)
        kv_lane_bind(&e->lanes[i], e->tables + i * table, e->options.context);
    for (size_t i = 0; i < n; i++)
        e->sessions[i] = (Session){.engine = e, .lanes = e->lanes + i * n_lanes};
    return 0;
}

static void frequencies_fill(float *frequencies, const ModelConfig *c)
{
    uint32_t half = c->head_dim / 2;

    for (uint32_t j = 0; j < half; j++)
        frequencies[j] = (float)pow(c->rope_base, -(double)j / half);
}

static void *device_floats(Engine *e, size_t n, size_t width)
{
    e->buffer_bytes += n * width * sizeof(float);
    return e->backend->ops->alloc(e->backend, n * width * sizeof(float));
}

static size_t max_size(size_t a, size_t b)
{
    return a > b ? a : b;
}

/* How many slots and units the scratch of one forward has room for. */
typedef struct Room {
    size_t rows, group_slots, expert_slots, slots, units;
} Room;

static Room room_of(const Engine *e)
{
    const ModelConfig *c = &e->model->config;
    size_t n = e->options.max_batch_rows, experts = max_size(c->expert_cap, ROUTE_ALL_EXPERTS);
    if (experts > c->n_experts)
        experts = c->n_experts;

    Room room = {
        .rows = n,
        .group_slots = n * c->n_groups,
        .expert_slots = n * (experts + c->n_shared),
        .units = max_size(c->n_groups, config_units(c)),
    };
    room.slots = max_size(room.group_slots, room.expert_slots);
    return room;
}

/* What only the host touches. */
static int lists_init(Engine *e, const Room *room)
{
    const ModelConfig *c = &e->model->config;

    int r = routes_init(&e->groups, room->rows, c->n_groups, room->group_slots);
    if (r < 0)
        return r;
    r = routes_init(&e->experts, room->rows, config_units(c), room->expert_slots);
    if (r < 0)
        return r;

    e->rows = calloc(room->rows, sizeof(*e->rows));
    e->products = calloc(3 * room->units, sizeof(*e->products));
    e->slabs = calloc(c->n_groups, sizeof(*e->slabs));
    e->slot_ids = calloc(room->slots, sizeof(*e->slot_ids));
    e->attention = calloc(room->group_slots, sizeof(*e->attention));
    e->ids = calloc(room->rows, sizeof(*e->ids));
    e->row_groups = calloc(room->rows, sizeof(*e->row_groups));
    e->row_experts = calloc(room->rows, sizeof(*e->row_experts));
    e->row_kv_bytes = calloc(room->rows, sizeof(*e->row_kv_bytes));
    if (!e->rows || !e->products || !e->slabs || !e->slot_ids || !e->attention || !e->ids ||
        !e->row_groups || !e->row_experts || !e->row_kv_bytes)
        return -ENOMEM;
    for (size_t i = 0; i < room->slots; i++)
        e->slot_ids[i] = (int32_t)i;
    return 0;
}

/* Rows for products: floats, and what they are rounded to. */
static Packed *packed_rows(Engine *e, size_t n, size_t width)
{
    e->buffer_bytes += n * width * (sizeof(float) + sizeof(uint16_t));
    return e->backend->ops->packed_new(e->backend, n, width);
}

static int buffers_init(Engine *e, const Room *room)
{
    const ModelConfig *c = &e->model->config;
    size_t n = room->rows, d = c->d_model, width = config_group_width(c);
    size_t slot_width = max_size(max_size(width, c->d_expert), c->d_density);

    e->packed = packed_rows(e, n, max_size(d, c->n_groups * width));
    e->packed_slots = packed_rows(e, room->slots, slot_width);
    e->frequencies = device_floats(e, c->head_dim / 2, 1);
    e->rope = device_floats(e, n, c->head_dim);
    e->x = device_floats(e, n, d);
    e->h = device_floats(e, n, d);
    e->delta = device_floats(e, n, 1);
    e->hidden = device_floats(e, n, c->d_density);
    e->scores = device_floats(e, n, max_size(c->n_groups, c->n_experts));
    e->q = device_floats(e, room->group_slots, width);
    e->k = device_floats(e, room->group_slots, c->head_dim);
    e->v = device_floats(e, room->group_slots, c->head_dim);
    e->attended = device_floats(e, room->group_slots, width);
    e->cos_sin = device_floats(e, room->group_slots, c->head_dim);
    e->gate = device_floats(e, room->expert_slots, c->d_expert);
    e->up = device_floats(e, room->expert_slots, c->d_expert);
    e->y = device_floats(e, room->slots, d);
    e->logits = device_floats(e, LOGIT_ROWS, c->vocab_size);
    if (!e->packed || !e->packed_slots || !e->frequencies || !e->rope || !e->x || !e->h ||
        !e->delta || !e->hidden || !e->scores || !e->q || !e->k || !e->v || !e->attended ||
        !e->cos_sin || !e->gate || !e->up || !e->y || !e->logits)
        return -ENOMEM;
    frequencies_fill(e->frequencies, c);
    return 0;
}

static int scratch_init(Engine *e)
{
    Room room = room_of(e);
    int r = lists_init(e, &room);
    return r < 0 ? r : buffers_init(e, &room);
}

/* What is in memory whatever the budget. */
static uint64_t fixed_bytes(const Engine *e)
{
    return weights_file_size(e->model->weights) - experts_bytes(e->model) -
           lookup_saves(&e->lookup) + e->buffer_bytes;
}

/* The room that the budget leaves when everything but routed experts, and but for a few rows the
 * embedding, is in memory. */
static int store_init(Engine *e)
{
    const Model *m = e->model;
    const ModelConfig *c = &m->config;
    uint64_t fixed, left, least = 0;

    lookup_init(&e->lookup, m, e->options.max_batch_rows);
    e->packed_ahead = e->backend->ops->packed_new(e->backend, AHEAD_ROWS, c->d_model);
    e->h_ahead = device_floats(e, AHEAD_ROWS, c->d_model);
    e->scores_ahead = device_floats(e, AHEAD_ROWS, c->n_experts);
    if (!e->packed_ahead || !e->h_ahead || !e->scores_ahead)
        return -ENOMEM;
    fixed = fixed_bytes(e);
    left = e->options.memory > fixed ? e->options.memory - fixed : 0;
    int r = experts_new(m, left, e->lookup.table, &e->store, &least);
    if (r == -ENOSPC)
        return weights_fail(m->weights, r,
                            "a memory budget of %llu bytes is too small for this model: it needs "
                            "%llu at least",
                            (unsigned long long)e->options.memory,
                            (unsigned long long)(fixed + least));
    if (r == -ENOTSUP)
        return weights_fail(m->weights, r,
                            "no memory budget is possible: the experts do not lie in the file as "
                            "they are used");
    return r;
}

int engine_open(const Model *model, Backend *backend, const EngineOptions *options,
                Engine **ret_engine)
{
    _cleanup_(engine_closep) Engine *e = calloc(1, sizeof(*e));
    if (!e)
        return -ENOMEM;
    e->model = model;
    e->backend = backend;
    e->options = options ? *options : engine_options_default();

    KvType cache;
    size_t n_pages;
    int r = options_complete(&e->options, &model->config, &n_pages);
    if (r < 0)
        return r;
    r = cache_type(&e->options, e, &cache);
    if (r < 0)
        return r;
    r = kv_pool_init(&e->pool, backend, cache, n_pages, model->config.head_dim);
    if (r < 0)
        return r;
    r = sessions_init(e);
    if (r < 0)
        return r;
    r = scratch_init(e);
    if (r < 0)
        return r;
    if (e->options.memory > 0 && (r = store_init(e)) < 0)
        return r;
    costs_init(&e->costs, model);
    *ret_engine = steal_ptr(&e);
    return 0;
}

Engine *engine_close(Engine *e)
{
    if (!e)
        return NULL;

    float *buffers[] = {e->frequencies, e->rope, e->x, e->h,      e->delta,    e->hidden,
                        e->scores,      e->q,    e->k, e->v,      e->attended, e->cos_sin,
                        e->gate,        e->up,   e->y, e->logits, e->h_ahead,  e->scores_ahead};
    for (size_t i = 0; i < sizeof(buffers) / sizeof(*buffers); i++)
        e->backend->ops->free(e->backend, buffers[i]);
    e->backend->ops->packed_free(e->backend, e->packed);
    e->backend->ops->packed_free(e->backend, e->packed_slots);
    e->backend->ops->packed_free(e->backend, e->packed_ahead);
    experts_free(e->store);

    void *blocks[] = {e->sessions, e->lanes,      e->tables,      e->rows,
                      e->products, e->slabs,      e->slot_ids,    e->attention,
                      e->ids,      e->row_groups, e->row_experts, e->row_kv_bytes};
    for (size_t i = 0; i < sizeof(blocks) / sizeof(*blocks); i++)
        free(blocks[i]);
    routes_deinit(&e->groups);
    routes_deinit(&e->experts);
    kv_pool_deinit(&e->pool);
    free(e);
    return NULL;
}

int session_open(Engine *e, Session **ret_session)
{
    for (uint32_t i = 0; i < e->options.max_sessions; i++) {
        Session *s = &e->sessions[i];
        if (s->open)
            continue;
        s->open = true;
        s->counters = (Counters){0};
        *ret_session = s;
        return 0;
    }
    return -ENOSPC;
}

Session *session_close(Session *s)
{
    if (!s)
        return NULL;
    assert(s->open);
    session_truncate(s, 0);
    s->open = false;
    return NULL;
}

uint32_t engine_context(const Engine *e)
{
    return e->options.context;
}

uint64_t engine_memory(const Engine *e)
{
    ExpertStats stats = engine_expert_stats(e);

    return e->store ? fixed_bytes(e) + stats.slots * stats.slot_bytes
                    : weights_file_size(e->model->weights) + e->buffer_bytes;
}

uint32_t session_position(const Session *s)
{
    return s->position;
}

void session_truncate(Session *s, uint32_t position)
{
    const ModelConfig *c = &s->engine->model->config;
    for (size_t i = 0; i < (size_t)c->n_layers * c->n_groups; i++)
        kv_truncate(&s->engine->pool, &s->lanes[i], position);
    if (position < s->position)
        s->position = position;
}

const Counters *session_counters(const Session *s)
{
    return &s->counters;
}

const Counters *engine_counters(const Engine *e)
{
    return &e->last;
}

ExpertStats engine_expert_stats(const Engine *e)
{
    ExpertStats stats = {0};

    if (e->store)
        experts_stats(e->store, &stats);
    return stats;
}

RouteTrace engine_trace(const Engine *e)
{
    return (RouteTrace){e->row_groups, e->row_experts, e->delta, e->n_rows};
}

void engine_set_probe(Engine *e, ProbeFunc probe, void *userdata)
{
    e->probe = probe;
    e->probe_userdata = userdata;
}
