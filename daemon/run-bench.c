#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>

#include "daemon/run-json.h"
#include "daemon/run.h"

/* What fills the context: the same words for every route, so that routes do the same work. */
static const char filler[] = "There is a large red circle to the left of two small blue squares. "
                             "The window says Save changes? with the "
                             "buttons Cancel and Discard. A bell rings three times, then a voice "
                             "says open the next page. How many circles "
                             "are there? Two. What is written below the icon of the folder? ";

typedef struct Phase {
    size_t rows;       /* of all sessions together */
    double msec;       /* the fastest run */
    Counters counters; /* of that run and the first session */
    double runs_msec[RUN_REPEATS_MAX];
    size_t n_runs;
} Phase;

typedef struct Bench {
    Run run;
    Session
        *sessions[RUN_SESSIONS_MAX]; /* all decode, the first one is what prompts are timed in */
    float *rows;   /* [context, d_model]: what fills the context; NULL: the ids do */
    int32_t *ids;  /* [context]: what is decoded */
    float *logits; /* [sessions, vocab_size] */
    size_t image_rows;
    double encode_msec; /* image to rows, without decoding the file */
    Phase image, prefill, decode;
} Bench;

static void phase_keep(Phase *p, size_t rows, double msec, const Counters *before,
                       const Counters *after)
{
    p->rows = rows;
    p->runs_msec[p->n_runs++] = msec;
    if (p->n_runs > 1 && msec >= p->msec)
        return;
    p->msec = msec;
    p->counters = (Counters){
        .rows = after->rows - before->rows,
        .weight_bytes = after->weight_bytes - before->weight_bytes,
        .head_bytes = after->head_bytes - before->head_bytes,
        .kv_bytes = after->kv_bytes - before->kv_bytes,
        .group_rows = after->group_rows - before->group_rows,
        .expert_rows = after->expert_rows - before->expert_rows,
        .active_parameters = after->active_parameters - before->active_parameters,
    };
}

static int context_prefill(Bench *b, Session *session, size_t n, float *logits)
{
    return run_prefill(&b->run, session, b->rows ? NULL : b->ids, b->rows, n, logits);
}

static int prefill_time(Bench *b, Phase *phase, size_t n)
{
    Session *session = b->sessions[0];

    for (uint32_t i = 0; i < b->run.options->repeat; i++) {
        session_truncate(session, 0);
        Counters before = *session_counters(session);
        double start = run_now_msec();
        int r = context_prefill(b, session, n, b->logits);
        if (r < 0)
            return r;
        phase_keep(phase, n, run_now_msec() - start, &before, session_counters(session));
    }
    return 0;
}

/* n tokens in every session, all sessions in each forward. */
static int decode_run(Bench *b, size_t n)
{
    const RunOptions *o = b->run.options;
    uint32_t vocab = model_info(b->run.model)->vocab_size;
    BatchItem items[RUN_SESSIONS_MAX];
    Sampler sampler;

    sampler_init(&sampler, &o->sampler);
    sampler.options.every_id = !run_has_senses(&b->run);
    for (size_t i = 0; i < n; i++) {
        for (uint32_t s = 0; s < o->sessions; s++)
            items[s] = (BatchItem){
                .session = b->sessions[s],
                .ids = &b->ids[s * n + i],
                .n = 1,
                .shift = o->effort / 2,
                .want_logits = true,
                .logits = b->logits + (size_t)s * vocab,
            };
        int r = decoder_forward(b->run.engine, items, o->sessions, o->route);
        if (r < 0)
            return r;
        for (uint32_t s = 0; s < o->sessions; s++)
            sampler_next(&sampler, items[s].logits, vocab);
    }
    return 0;
}

static int sessions_fill(Bench *b, size_t n)
{
    int r = 0;

    for (uint32_t s = 0; s < b->run.options->sessions && r >= 0; s++) {
        session_truncate(b->sessions[s], 0);
        r = context_prefill(b, b->sessions[s], n, NULL);
    }
    return r;
}

static int decode_time(Bench *b, size_t depth, size_t n)
{
    const RunOptions *o = b->run.options;

    int r = sessions_fill(b, depth - n);
    for (uint32_t i = 0; r >= 0 && i < o->repeat; i++) {
        for (uint32_t s = 0; s < o->sessions; s++)
            session_truncate(b->sessions[s], (uint32_t)(depth - n));
        Counters before = *session_counters(b->sessions[0]);
        double start = run_now_msec();
        r = decode_run(b, n);
        if (r >= 0)
            phase_keep(&b->decode, n * o->sessions, run_now_msec() - start, &before,
                       session_counters(b->sessions[0]));
    }
    return r;
}

/* Encodes the image; the time is that of the encoder and the projection alone. */
static int image_encode(Bench *b, Encoded *ret_encoded, float *ret_vector)
{
    Run *run = &b->run;
    _cleanup_(media_deinit) Media media = {0};

    int r = run_media_read(run, &run->options->media[0], run->options->high_detail, &media);
    for (uint32_t i = 0; r >= 0 && i < run->options->repeat; i++) {
        double start = run_now_msec();
        r = run_encode(run, &media, run->options->high_detail, ret_encoded, ret_vector);
        double msec = run_now_msec() - start;
        if (i == 0 || msec < b->encode_msec)
            b->encode_msec = msec;
    }
    return r;
}

/* The image and the filler, turn after turn, as long as they fit. */
static int turns_fill(Bench *b, Prompt *prompt)
{
    Run *run = &b->run;
    Encoded encoded;
    float vector[SPACE_LENGTH];

    if (run->options->n_media) {
        int r = image_encode(b, &encoded, vector);
        if (r < 0)
            return r;
    }
    int r = splice_begin(run->splice, prompt, NULL, 0);
    while (r >= 0) {
        if (run->options->n_media)
            r = splice_media(run->splice, prompt, &encoded, vector);
        if (r >= 0 && b->image_rows == 0 && run->options->n_media)
            b->image_rows = prompt->n;
        if (r >= 0)
            r = splice_question(run->splice, prompt, filler, strlen(filler));
    }
    return r == -E2BIG && prompt->n > 1 ? 0 : r;
}

static int turns_repeat(Bench *b, size_t context)
{
    Run *run = &b->run;
    size_t d = model_info(run->model)->d_model;
    Prompt prompt;

    b->rows = calloc(context * d, sizeof(float));
    if (!b->rows)
        return -ENOMEM;
    int r = run_open_encoders(run);
    if (r >= 0)
        r = prompt_init(&prompt, run->splice, context);
    if (r < 0)
        return r;
    r = turns_fill(b, &prompt);
    for (size_t n = 0; r >= 0 && n < context;) {
        size_t now = prompt.n < context - n ? prompt.n : context - n;
        memcpy(b->rows + n * d, prompt.rows, now * d * sizeof(float));
        n += now;
    }
    prompt_deinit(&prompt, run->splice);
    return r;
}

/* Any ids, the same ones in every run: words that repeat would choose the same experts. */
static void ids_scatter(int32_t *ids, size_t n, uint32_t vocab_size)
{
    uint32_t state = 1;

    for (size_t i = 0; i < n; i++) {
        state = state * 1664525 + 1013904223;
        ids[i] = (int32_t)((uint64_t)state * vocab_size >> 32);
    }
}

static int context_fill(Bench *b)
{
    Run *run = &b->run;
    size_t n_text, context = engine_context(run->engine);
    int32_t text[512];

    if (!run_has_senses(run)) {
        ids_scatter(b->ids, context, model_info(run->model)->vocab_size);
        return 0;
    }
    int r =
        tokenizer_encode(model_tokenizer(run->model), filler, strlen(filler), text, 512, &n_text);
    if (r < 0)
        return r;
    for (size_t i = 0; i < context; i++)
        b->ids[i] = text[i % n_text];
    return turns_repeat(b, context);
}

/* Per row of a phase. */
typedef struct Rates {
    double tokens_per_second, weights, head, kv, groups, experts, share;
} Rates;

static Rates rates_of(const Phase *p, const ModelInfo *m)
{
    const Counters *c = &p->counters;
    double rows = (double)c->rows, cells = rows * m->n_layers;

    return (Rates){
        .tokens_per_second = (double)p->rows / p->msec * 1e3,
        .weights = (double)c->weight_bytes / rows,
        .head = (double)c->head_bytes / rows,
        .kv = (double)c->kv_bytes / rows,
        .groups = (double)c->group_rows / cells,
        .experts = (double)c->expert_rows / cells,
        .share = (double)c->active_parameters / rows / (double)m->decoder_parameters,
    };
}

static void phase_print_json(JsonOut *parent, const char *name, const Phase *p, const ModelInfo *m)
{
    Rates rates = rates_of(p, m);
    if (p->rows == 0)
        return;

    JsonOut j = json_begin(parent, name);
    json_count(&j, "rows", p->rows);
    json_number(&j, "msec", p->msec);
    json_numbers(&j, "runs_msec", p->runs_msec, p->n_runs);
    json_number(&j, "tokens_per_second", rates.tokens_per_second);
    json_number(&j, "weight_bytes_per_token", rates.weights);
    json_number(&j, "head_bytes_per_token", rates.head);
    json_number(&j, "kv_bytes_per_token", rates.kv);
    if (m->gated)
        json_number(&j, "groups_active", rates.groups);
    json_number(&j, "experts_active", rates.experts);
    json_number(&j, "active_share", rates.share);
    json_end(parent);
}

static void phase_print(const char *name, const Phase *p, const ModelInfo *m)
{
    Rates rates = rates_of(p, m);
    if (p->rows == 0)
        return;

    printf("%-8s %5zu rows %9.3f ms %9.1f tokens/s\n", name, p->rows, p->msec,
           rates.tokens_per_second);
    printf("         bytes a token: weights %.0f (head %.0f), keys and values %.0f\n",
           rates.weights, rates.head, rates.kv);
    if (m->gated)
        printf("         active: %.2f routed groups, %.2f experts, %.1f%% of the decoder\n",
               rates.groups, rates.experts, 100 * rates.share);
    else
        printf("         active: %.2f experts, %.1f%% of the decoder\n", rates.experts,
               100 * rates.share);
}

static long peak_memory_bytes(void)
{
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    return usage.ru_maxrss * 1024;
}

static const char *precision_name(const Bench *b)
{
    return b->run.backend->precision == PRECISION_INT8 ? "int8" : "f32";
}

static const char *route_name(const Bench *b)
{
    return b->run.options->route == ROUTE_ALL ? "all" : "gates";
}

/* Where the needed experts were, under a memory budget. */
static void experts_print_json(JsonOut *parent, ExpertStats s)
{
    if (s.slots == 0)
        return;
    JsonOut j = json_begin(parent, "experts");
    json_count(&j, "slots", s.slots);
    json_count(&j, "slot_bytes", s.slot_bytes);
    json_count(&j, "resident", s.resident);
    json_count(&j, "ahead", s.ahead);
    json_count(&j, "late", s.late);
    json_count(&j, "read_bytes", s.read_bytes);
    json_end(parent);
}

static void experts_print(ExpertStats s)
{
    double needed = (double)(s.resident + s.ahead + s.late) / 100;

    if (s.slots == 0 || needed == 0)
        return;
    printf("experts  %" PRIu64
           " slots of %.1f KiB; resident %.2f%%, read ahead %.2f%%, late %.2f%%, "
           "%.1f MiB read\n",
           s.slots, (double)s.slot_bytes / 1024, (double)s.resident / needed,
           (double)s.ahead / needed, (double)s.late / needed, (double)s.read_bytes / (1 << 20));
}

static void bench_print_json(const Bench *b, size_t depth)
{
    const ModelInfo *m = model_info(b->run.model);
    JsonOut j = json_begin(NULL, NULL);
    json_text(&j, "engine", b->run.backend->detail);
    json_text(&j, "precision", precision_name(b));
    json_text(&j, "route", route_name(b));
    json_count(&j, "depth", depth);
    json_count(&j, "sessions", b->run.options->sessions);
    json_number(&j, "load_msec", b->run.load_msec);
    json_count(&j, "peak_memory_bytes", (uint64_t)peak_memory_bytes());
    if (b->image.rows)
        json_number(&j, "encoder_msec", b->encode_msec);
    experts_print_json(&j, engine_expert_stats(b->run.engine));
    phase_print_json(&j, "image", &b->image, m);
    phase_print_json(&j, "prefill", &b->prefill, m);
    phase_print_json(&j, "decode", &b->decode, m);
    json_end(NULL);
}

static void bench_print(const Bench *b, size_t depth)
{
    const ModelInfo *m = model_info(b->run.model);

    printf("engine   %s, %s, route %s, context %zu\n", b->run.backend->detail, precision_name(b),
           route_name(b), depth);
    printf("load     %.1f ms\n", b->run.load_msec);
    printf("memory   %.1f MiB at most\n", (double)peak_memory_bytes() / (1 << 20));
    if (b->image.rows)
        printf("encoder  %.3f ms for the image\n", b->encode_msec);
    experts_print(engine_expert_stats(b->run.engine));
    phase_print("image", &b->image, m);
    phase_print("prefill", &b->prefill, m);
    phase_print("decode", &b->decode, m);
}

static int bench(Bench *b)
{
    const RunOptions *o = b->run.options;
    const ModelInfo *info = model_info(b->run.model);
    size_t context = engine_context(b->run.engine),
           depth = o->depth ? o->depth : o->prefill + o->decode;

    if (depth > context || depth < o->decode || o->prefill > context)
        return run_error(-E2BIG, "the context holds %zu rows; --depth covers the %u decoded ones",
                         context, o->decode);
    if ((size_t)o->decode * o->sessions > context)
        return run_error(-E2BIG, "the context of %zu rows has fewer tokens than %u sessions of %u",
                         context, o->sessions, o->decode);
    b->ids = calloc(context, sizeof(*b->ids));
    b->logits = calloc((size_t)o->sessions * info->vocab_size, sizeof(float));
    if (!b->ids || !b->logits)
        return -ENOMEM;
    int r = context_fill(b);
    for (uint32_t s = 0; s < o->sessions && r >= 0; s++)
        r = session_open(b->run.engine, &b->sessions[s]);
    if (r >= 0 && b->image_rows)
        r = prefill_time(b, &b->image, b->image_rows);
    if (r >= 0 && o->prefill)
        r = prefill_time(b, &b->prefill, o->prefill);
    if (r >= 0 && o->decode)
        r = decode_time(b, depth, o->decode);
    if (r < 0)
        return r;
    (o->json ? bench_print_json : bench_print)(b, depth);
    return 0;
}

int run_bench(const RunOptions *options)
{
    Bench b = {0};
    int r = run_open(&b.run, options, NULL);
    if (r >= 0)
        r = bench(&b);
    if (r < 0)
        run_error(r, "bench: %s", strerror(-r));
    run_close(&b.run);
    free(b.rows);
    free(b.ids);
    free(b.logits);
    return r;
}
