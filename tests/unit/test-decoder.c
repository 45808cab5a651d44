/*
 * One forward for rows of many sessions: a row's bits depend on its own timeline only, the
 * routed path equals the plain one, and every refusal leaves all sessions as they were.
 */

#include "engine/engine.h"
#include "tests/test.h"
#include "tests/unit/tiny.h"

#define N     60 /* rows of the sequence */
#define V     TINY_VOCAB
#define SHIFT 0.1f

/* A tiny model on an engine of its own. */
typedef struct Fixture {
    void *file;
    Weights *weights;
    Model *model;
    Backend *backend;
    Engine *engine;
} Fixture;

static int32_t sequence[TINY_CONTEXT];

static void fixture_init(Fixture *f, Precision precision, unsigned threads,
                         const EngineOptions *options)
{
    char sentence[WEIGHTS_ERROR_MAX];
    size_t size;

    *f = (Fixture){.file = tiny_build(&(TinyOptions){.seed = 3, .gate_bias = -0.1f}, &size)};
    ASSERT_OK(weights_open_memory(f->file, size, &f->weights, sentence));
    ASSERT_OK(model_new(f->weights, &f->model));
    ASSERT_OK(backend_cpu_open(threads, precision, 0, &f->backend));
    ASSERT_OK(engine_open(f->model, f->backend, options, &f->engine));
}

static void fixture_deinit(Fixture *f)
{
    engine_close(f->engine);
    backend_close(f->backend);
    model_free(f->model);
    weights_close(f->weights);
    free(f->file);
}

static BatchItem item_of(Session *s, const int32_t *ids, uint32_t n, float *all_logits)
{
    return (BatchItem){.session = s, .ids = ids, .n = n, .shift = SHIFT, .all_logits = all_logits};
}

/* The sequence row by row in a session of its own: what everything else is held to. */
static void run_alone(Fixture *f, Route route, float *ret_logits)
{
    _cleanup_(session_closep) Session *s = NULL;
    ASSERT_OK(session_open(f->engine, &s));
    for (uint32_t i = 0; i < N; i++) {
        BatchItem item = item_of(s, sequence + i, 1, ret_logits + i * V);
        ASSERT_OK(decoder_forward(f->engine, &item, 1, route));
    }
    ASSERT_EQ(session_position(s), N);
}

/* The same in chunks of the given lengths, while other sessions with other efforts take part. */
static void run_mixed(Fixture *f, Route route, const uint32_t *chunks, float *ret_logits)
{
    Session *s[4];
    float other[V];

    for (size_t i = 0; i < 4; i++)
        ASSERT_OK(session_open(f->engine, &s[i]));
    for (uint32_t done = 0; done < N; done += *chunks++) {
        ASSERT_CMP(done + *chunks, <=, N);
        BatchItem items[] = {
            {.session = s[1], .ids = sequence + done, .n = 3, .shift = -0.4f},
            {.session = s[2],
             .ids = sequence + N - 1 - done,
             .n = 1,
             .want_logits = true,
             .logits = other},
            item_of(s[0], sequence + done, *chunks, ret_logits + done * V),
            {.session = s[3], .ids = sequence + 2, .n = 2, .shift = 0.5f},
        };
        ASSERT_OK(decoder_forward(f->engine, items, 4, route));
    }
    for (size_t i = 0; i < 4; i++)
        session_close(s[i]);
}

static void independence(Precision precision, Route route)
{
    static const uint32_t whole[] = {N}, ragged[] = {7, 1, 20, 2, 30};
    static float expected[N * V], logits[N * V];
    Fixture f;

    fixture_init(&f, precision, 1, NULL);
    run_alone(&f, route, expected);
    fixture_deinit(&f);
    for (size_t i = 0; i < N * V; i++)
        ASSERT(isfinite(expected[i]));

    for (unsigned threads = 1; threads <= 2; threads++) {
        fixture_init(&f, precision, threads, NULL);
        run_alone(&f, route, logits);
        ASSERT_MEMEQ(logits, expected, sizeof(expected));
        run_mixed(&f, route, whole, logits);
        ASSERT_MEMEQ(logits, expected, sizeof(expected));
        run_mixed(&f, route, ragged, logits);
        ASSERT_MEMEQ(logits, expected, sizeof(expected));
        fixture_deinit(&f);
    }
}

static void test_independence(void)
{
    independence(PRECISION_F32, ROUTE_GATES);
    independence(PRECISION_INT8, ROUTE_GATES);
    independence(PRECISION_INT8, ROUTE_ALL);
}

/* With every gate on, the routed path gives the plain path's bits. */
static void test_plain(void)
{
    static float all[N * V], plain[N * V];

    for (int p = 0; p < 2; p++) {
        Fixture f;
        fixture_init(&f, p ? PRECISION_F32 : PRECISION_INT8, 2, NULL);
        for (int route = 0; route < 2; route++) {
            _cleanup_(session_closep) Session *s = NULL;
            ASSERT_OK(session_open(f.engine, &s));
            BatchItem item = item_of(s, sequence, N, route ? plain : all);
            ASSERT_OK(decoder_forward(f.engine, &item, 1, route ? ROUTE_PLAIN : ROUTE_ALL));
        }
        ASSERT_MEMEQ(all, plain, sizeof(all));
        fixture_deinit(&f);
    }
}

static void test_truncate(void)
{
    static float first[N * V], again[N * V];
    Fixture f;
    _cleanup_(session_closep) Session *s = NULL;

    fixture_init(&f, PRECISION_INT8, 1, NULL);
    ASSERT_OK(session_open(f.engine, &s));
    BatchItem item = item_of(s, sequence, N, first);
    ASSERT_OK(decoder_forward(f.engine, &item, 1, ROUTE_GATES));
    for (size_t i = 0; i < 3; i++) {
        const uint32_t position = (uint32_t[]){59, 32, 1}[i];
        /* Something else in between leaves no trace. */
        session_truncate(s, position);
        ASSERT_EQ(session_position(s), position);
        item = item_of(s, sequence + 1, 40, NULL);
        ASSERT_OK(decoder_forward(f.engine, &item, 1, ROUTE_GATES));
        session_truncate(s, position);
        item = item_of(s, sequence + position, N - position, again);
        ASSERT_OK(decoder_forward(f.engine, &item, 1, ROUTE_GATES));
        ASSERT_MEMEQ(again, first + position * V, (N - position) * V * sizeof(float));
    }
    session_truncate(s, 1000);
    ASSERT_EQ(session_position(s), N);
    s = session_close(s);
    fixture_deinit(&f);
}

static void test_refusals(void)
{
    Fixture f;
    _cleanup_(session_closep) Session *s = NULL;
    EngineOptions options = {.max_sessions = 1, .max_batch_rows = TINY_CONTEXT};
    Session *second;
    int32_t bad[] = {1, V}, negative = -1;
    static float before[V], after[V];

    fixture_init(&f, PRECISION_INT8, 1, &options);
    ASSERT_OK(session_open(f.engine, &s));
    ASSERT_ERROR(session_open(f.engine, &second), ENOSPC);

    BatchItem item = item_of(s, bad, 2, NULL);
    ASSERT_ERROR(decoder_forward(f.engine, &item, 1, ROUTE_GATES), EINVAL);
    item = item_of(s, &negative, 1, NULL);
    ASSERT_ERROR(decoder_forward(f.engine, &item, 1, ROUTE_GATES), EINVAL);
    item = item_of(s, sequence, 0, NULL);
    ASSERT_ERROR(decoder_forward(f.engine, &item, 1, ROUTE_GATES), EINVAL);
    ASSERT_ERROR(decoder_forward(f.engine, &item, 0, ROUTE_GATES), EINVAL);
    BatchItem twice[] = {item_of(s, sequence, 1, NULL), item_of(s, sequence, 1, NULL)};
    ASSERT_ERROR(decoder_forward(f.engine, twice, 2, ROUTE_GATES), EINVAL);
    ASSERT_EQ(session_position(s), 0);

    item = item_of(s, sequence, TINY_CONTEXT - 1, NULL);
    ASSERT_OK(decoder_forward(f.engine, &item, 1, ROUTE_GATES));
    item = item_of(s, sequence, 2, NULL);
    ASSERT_ERROR(decoder_forward(f.engine, &item, 1, ROUTE_GATES), E2BIG);
    item = item_of(s, sequence, 1, before);
    ASSERT_OK(decoder_forward(f.engine, &item, 1, ROUTE_GATES));
    ASSERT_ERROR(decoder_forward(f.engine, &item, 1, ROUTE_GATES), E2BIG);
    session_truncate(s, TINY_CONTEXT - 1);
    item = item_of(s, sequence, 1, after);
    ASSERT_OK(decoder_forward(f.engine, &item, 1, ROUTE_GATES));
    ASSERT_MEMEQ(before, after, sizeof(before));
    s = session_close(s);
    fixture_deinit(&f);
}

/* The pool holds one context with every gate on, and a page a lane and session: two contexts
 * here, of four sessions. */
static void test_exhaustion(void)
{
    Fixture f;
    EngineOptions options = {
        .max_sessions = 4, .max_batch_rows = TINY_CONTEXT, .max_tokens = TINY_CONTEXT};
    Session *s[4];
    static float expected[N * V], logits[N * V];

    fixture_init(&f, PRECISION_INT8, 1, &options);
    run_alone(&f, ROUTE_ALL, expected);
    for (size_t i = 0; i < 4; i++)
        ASSERT_OK(session_open(f.engine, &s[i]));
    for (size_t i = 0; i < 2; i++) {
        BatchItem item = item_of(s[i], sequence, i ? TINY_CONTEXT - 64 : TINY_CONTEXT, NULL);
        ASSERT_OK(decoder_forward(f.engine, &item, 1, ROUTE_ALL));
    }

    /* Two pages a lane are left: both fit alone, not together. */
    BatchItem both[] = {item_of(s[2], sequence, N, logits), item_of(s[3], sequence, 33, NULL)};
    ASSERT_ERROR(decoder_forward(f.engine, both, 2, ROUTE_ALL), ENOSPC);
    ASSERT_EQ(session_position(s[2]), 0);
    ASSERT_EQ(session_position(s[3]), 0);
    ASSERT_EQ(session_counters(s[2])->rows, 0);
    ASSERT_OK(decoder_forward(f.engine, both, 1, ROUTE_ALL));
    ASSERT_MEMEQ(logits, expected, sizeof(expected));

    ASSERT_ERROR(decoder_forward(f.engine, both + 1, 1, ROUTE_ALL), ENOSPC);
    session_close(s[0]);
    ASSERT_OK(decoder_forward(f.engine, both + 1, 1, ROUTE_ALL));
    for (size_t i = 1; i < 4; i++)
        session_close(s[i]);
    fixture_deinit(&f);
}

/* Every page comes back: after many timelines the pool still holds what it held at first. */
static void test_pages_return(void)
{
    Fixture f;
    EngineOptions options = {.max_sessions = 2, .max_tokens = TINY_CONTEXT};
    Session *s[2];

    fixture_init(&f, PRECISION_INT8, 1, &options);
    for (int round = 0; round < 50; round++) {
        for (size_t i = 0; i < 2; i++)
            ASSERT_OK(session_open(f.engine, &s[i]));
        BatchItem items[] = {item_of(s[0], sequence, N, NULL), item_of(s[1], sequence, 40, NULL)};
        ASSERT_OK(decoder_forward(f.engine, items, 2, ROUTE_GATES));
        session_truncate(s[round % 2], (uint32_t)round % 40);
        for (size_t i = 0; i < 2; i++)
            session_close(s[i]);
    }

    /* A context with every gate on in one session, and a page more a lane for the other. */
    for (size_t i = 0; i < 2; i++) {
        ASSERT_OK(session_open(f.engine, &s[i]));
        BatchItem item = item_of(s[i], sequence, i ? 64 : TINY_CONTEXT, NULL);
        ASSERT_OK(decoder_forward(f.engine, &item, 1, ROUTE_ALL));
    }
    BatchItem more = item_of(s[1], sequence, 1, NULL);
    ASSERT_ERROR(decoder_forward(f.engine, &more, 1, ROUTE_ALL), ENOSPC);
    for (size_t i = 0; i < 2; i++)
        session_close(s[i]);
    fixture_deinit(&f);
}

/* The linker leads the library's calls here (--wrap): nothing is allocated after open. */
static size_t allocations;

void *__real_malloc(size_t size);
void *__real_calloc(size_t n, size_t size);
void *__real_realloc(void *p, size_t size);
void *__real_aligned_alloc(size_t alignment, size_t size);
void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t n, size_t size);
void *__wrap_realloc(void *p, size_t size);
void *__wrap_aligned_alloc(size_t alignment, size_t size);

void *__wrap_malloc(size_t size)
{
    allocations++;
    return __real_malloc(size);
}

void *__wrap_calloc(size_t n, size_t size)
{
    allocations++;
    return __real_calloc(n, size);
}

void *__wrap_realloc(void *p, size_t size)
{
    allocations++;
    return __real_realloc(p, size);
}

void *__wrap_aligned_alloc(size_t alignment, size_t size)
{
    allocations++;
    return __real_aligned_alloc(alignment, size);
}

static void test_no_allocation(void)
{
    static float logits[N * V];
    Sampler sampler;
    Fixture f;

    allocations = 0;
    fixture_init(&f, PRECISION_INT8, 2, NULL);
    ASSERT_CMP(allocations, >, 0);
    allocations = 0;
    for (int round = 0; round < 3; round++) {
        Session *s;
        ASSERT_OK(session_open(f.engine, &s));
        BatchItem item = item_of(s, sequence, N, logits);
        ASSERT_OK(decoder_forward(f.engine, &item, 1, ROUTE_GATES));
        session_truncate(s, 10);
        item = item_of(s, sequence, 1, logits);
        ASSERT_OK(decoder_forward(f.engine, &item, 1, ROUTE_ALL));
        sampler_init(&sampler, &(SamplerOptions){.temperature = 1, .top_p = 0.5f});
        sampler_next(&sampler, logits, V);
        session_close(s);
    }
    ASSERT_EQ(allocations, 0);
    fixture_deinit(&f);
}

typedef struct Seen {
    size_t gates_open, experts_open, rows;
    bool cap_held;
} Seen;

static void on_probe(void *userdata, const char *name, const float *rows, size_t n, size_t width)
{
    Seen *seen = userdata;
    bool gates = strstr(name, "/gates"), experts = strstr(name, "/experts");

    for (size_t row = 0; row < n && (gates || experts); row++) {
        size_t open = 0;
        for (size_t i = 0; i < width; i++) {
            ASSERT(rows[row * width + i] >= 0);
            open += rows[row * width + i] > 0;
        }
        if (gates)
            ASSERT(rows[row * width] == 1);
        seen->cap_held &= gates || open <= TINY_CAP;
        seen->gates_open += gates ? open - 1 : 0;
        seen->experts_open += experts ? open : 0;
        seen->rows += gates;
    }
}

/* Counters, trace and probe tell the same story, and effort moves it. */
static void test_counters(void)
{
    Fixture f;
    uint64_t groups_before = 0, experts_before = 0, bytes_before = 0;

    fixture_init(&f, PRECISION_INT8, 1, NULL);
    for (int step = 0; step < 3; step++) {
        _cleanup_(session_closep) Session *s = NULL;
        Seen seen = {.cap_held = true};

        ASSERT_OK(session_open(f.engine, &s));
        BatchItem item = item_of(s, sequence, N, NULL);
        item.shift = -0.5f + 0.5f * (float)step;
        engine_set_probe(f.engine, on_probe, &seen);
        ASSERT_OK(decoder_forward(f.engine, &item, 1, ROUTE_GATES));
        engine_set_probe(f.engine, NULL, NULL);

        const Counters *c = session_counters(s);
        RouteTrace trace = engine_trace(f.engine);
        uint64_t groups = 0, experts = 0;
        ASSERT_EQ(trace.n, N);
        for (size_t i = 0; i < N; i++) {
            groups += trace.groups[i];
            experts += trace.experts[i];
        }
        ASSERT(seen.cap_held);
        ASSERT_EQ(seen.rows, N * TINY_LAYERS);
        ASSERT_EQ(seen.gates_open, c->group_rows);
        ASSERT_EQ(seen.experts_open, c->expert_rows);
        ASSERT_EQ(groups, c->group_rows);
        ASSERT_EQ(experts, c->expert_rows);
        ASSERT_EQ(c->rows, N);
        ASSERT_MEMEQ(c, engine_counters(f.engine), sizeof(*c));

        ASSERT_CMP(c->group_rows, >, groups_before);
        ASSERT_CMP(c->expert_rows, >, experts_before);
        ASSERT_CMP(c->kv_bytes, >, bytes_before);
        groups_before = c->group_rows;
        experts_before = c->expert_rows;
        bytes_before = c->kv_bytes;
    }
    fixture_deinit(&f);
}

/* With every gate on the figures can be written down. */
static void test_counters_all(void)
{
    Fixture f;
    _cleanup_(session_closep) Session *s = NULL;
    const uint64_t d = TINY_MODEL, g = TINY_GROUPS, dh = 32, de = 32;
    static float logits[V];

    fixture_init(&f, PRECISION_INT8, 1, NULL);
    ASSERT_OK(session_open(f.engine, &s));
    for (uint32_t i = 0; i < N; i++) {
        BatchItem item = {
            .session = s, .ids = sequence + i, .n = 1, .want_logits = true, .logits = logits};
        ASSERT_OK(decoder_forward(f.engine, &item, 1, ROUTE_ALL));
    }
    const Counters *c = session_counters(s);
    ASSERT_EQ(c->group_rows, N * TINY_LAYERS * (g - 1));
    ASSERT_EQ(c->expert_rows, N * TINY_LAYERS * 4);
    ASSERT_EQ(c->kv_bytes, TINY_LAYERS * g * 2 * dh * 2 * N * (N + 1) / 2);
    ASSERT_EQ(c->head_bytes, N * V * d / 32 * 34);

    uint64_t density = d + 16 * d + 16 + 16 + 1;
    uint64_t layer = 2 * d + 2 * dh + TINY_EXPERTS * (d + 2) + g * 4 * dh * d + 5 * 3 * d * de;
    ASSERT_EQ(c->active_parameters, N * (density + TINY_LAYERS * layer));
    s = session_close(s);
    fixture_deinit(&f);
}

int main(void)
{
    for (size_t i = 0; i < TINY_CONTEXT; i++)
        sequence[i] = (int32_t)(8 + i * i * 7 % 251);
    RUN(test_independence);
    RUN(test_plain);
    RUN(test_truncate);
    RUN(test_refusals);
    RUN(test_exhaustion);
    RUN(test_pages_return);
    RUN(test_no_allocation);
    RUN(test_counters);
    RUN(test_counters_all);
    return 0;
}
