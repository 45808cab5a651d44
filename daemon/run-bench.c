#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>

#include "daemon/run.h"

/* What fills the context: the same words for every route, so that routes do the same work. */
static const char filler[] = "There is a large red circle to the left of two small blue squares. "
                             "The window says Save changes? with the "
                             "buttons Cancel and Discard. A bell rings three times, then a voice "
                             "says open the next page. How many circles "
                             "are there? Two. What is written below the icon of the folder? ";

typedef struct Phase {
    size_t rows;
    double msec;       /* the fastest run */
    Counters counters; /* of one run */
} Phase;

typedef struct Bench {
    Run run;
    Session *session;
    float *rows;  /* [context, d_model]: what fills the context */
    int32_t *ids; /* [context]: what is decoded */
    float *logits;
    size_t image_rows;
    double encode_msec; /* image to rows, without decoding the file */
    Phase image, prefill, decode;
} Bench;

static void phase_keep(Phase *p, size_t rows, double msec, const Counters *before,
                       const Counters *after)
{
    if (p->rows && msec >= p->msec)
        return;
    *p = (Phase){
        .rows = rows,
        .msec = msec,
        .counters =
            {
                .rows = after->rows - before->rows,
                .weight_bytes = after->weight_bytes - before->weight_bytes,
                .head_bytes = after->head_bytes - before->head_bytes,
                .kv_bytes = after->kv_bytes - before->kv_bytes,
                .group_rows = after->group_rows - before->group_rows,
                .expert_rows = after->expert_rows - before->expert_rows,
                .active_parameters = after->active_parameters - before->active_parameters,
            },
    };
}

static int prefill_time(Bench *b, Phase *phase, size_t n)
{
    for (uint32_t i = 0; i < b->run.options->repeat; i++) {
        session_truncate(b->session, 0);
        Counters before = *session_counters(b->session);
        double start = run_now_msec();
        int r = run_prefill(&b->run, b->session, b->rows, n, b->logits);
        if (r < 0)
            return r;
        phase_keep(phase, n, run_now_msec() - start, &before, session_counters(b->session));
    }
    return 0;
}

static int decode_run(Bench *b, size_t n)
{
    uint32_t vocab = model_info(b->run.model)->vocab_size;
    Sampler sampler;

    sampler_init(&sampler, &b->run.options->sampler);
    for (size_t i = 0; i < n; i++) {
        BatchItem item = {
            .session = b->session,
            .ids = &b->ids[i],
            .n = 1,
            .shift = b->run.options->effort / 2,
            .want_logits = true,
            .logits = b->logits,
        };
        int r = decoder_forward(b->run.engine, &item, 1, b->run.options->route);
        if (r < 0)
            return r;
        sampler_next(&sampler, b->logits, vocab);
    }
    return 0;
}

static int decode_time(Bench *b, size_t depth, size_t n)
{
    session_truncate(b->session, 0);
    int r = run_prefill(&b->run, b->session, b->rows, depth - n, NULL);
    for (uint32_t i = 0; r >= 0 && i < b->run.options->repeat; i++) {
        session_truncate(b->session, (uint32_t)(depth - n));
        Counters before = *session_counters(b->session);
        double start = run_now_msec();
        r = decode_run(b, n);
        if (r >= 0)
            phase_keep(&b->decode, n, run_now_msec() - start, &before,
                       session_counters(b->session));
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

static int context_fill(Bench *b)
{
    Run *run = &b->run;
    size_t n_text, context = model_info(run->model)->context_length,
                   d = model_info(run->model)->d_model;
    int32_t text[512];
    Prompt prompt;

    int r =
        tokenizer_encode(model_tokenizer(run->model), filler, strlen(filler), text, 512, &n_text);
    if (r < 0)
        return r;
    for (size_t i = 0; i < context; i++)
        b->ids[i] = text[i % n_text];

    r = run_open_encoders(run);
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

static void phase_print_json(const char *name, const Phase *p, const ModelInfo *m)
{
    const Counters *c = &p->counters;
    double rows = (double)c->rows, cells = rows * m->n_layers;

    printf(", \"%s\": {\"rows\": %zu, \"msec\": %.3f, \"tokens_per_second\": %.1f, "
           "\"weight_bytes_per_token\": %.0f, "
           "\"head_bytes_per_token\": %.0f, \"kv_bytes_per_token\": %.0f, \"groups_active\": %.3f, "
           "\"experts_active\": %.3f, \"active_share\": %.4f}",
           name, p->rows, p->msec, (double)p->rows / p->msec * 1e3, (double)c->weight_bytes / rows,
           (double)c->head_bytes / rows, (double)c->kv_bytes / rows, (double)c->group_rows / cells,
           (double)c->expert_rows / cells,
           (double)c->active_parameters / rows / (double)m->decoder_parameters);
}

static void phase_print(const char *name, const Phase *p, const ModelInfo *m)
{
    const Counters *c = &p->counters;
    double rows = (double)c->rows, cells = rows * m->n_layers;

    printf("%-8s %5zu rows %9.3f ms %9.1f tokens/s  weights %8.0f B/token (head %.0f)  keys and "
           "values %8.0f B/token  "
           "%.2f groups  %.2f experts  %.1f%% of parameters\n",
           name, p->rows, p->msec, (double)p->rows / p->msec * 1e3, (double)c->weight_bytes / rows,
           (double)c->head_bytes / rows, (double)c->kv_bytes / rows, (double)c->group_rows / cells,
           (double)c->expert_rows / cells,
           100 * (double)c->active_parameters / rows / (double)m->decoder_parameters);
}

static void bench_print(const Bench *b, size_t depth)
{
    const RunOptions *o = b->run.options;
    const ModelInfo *m = model_info(b->run.model);
    const char *precision = b->run.backend->precision == PRECISION_INT8 ? "int8" : "f32";
    const char *route = o->route == ROUTE_ALL ? "all" : "gates";
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);

    if (!o->json) {
        printf("%s: %s, %s, route %s, context %zu\n", b->run.backend->name, b->run.backend->detail,
               precision, route, depth);
        printf("load     %.1f ms, peak memory %ld KiB\n", b->run.load_msec, usage.ru_maxrss);
        if (b->image_rows)
            printf("encoder  %.3f ms for the image\n", b->encode_msec);
        if (b->image_rows)
            phase_print("image", &b->image, m);
        if (b->prefill.rows)
            phase_print("prefill", &b->prefill, m);
        if (b->decode.rows)
            phase_print("decode", &b->decode, m);
        return;
    }
    printf("{\"engine\": \"%s: %s\", \"digest\": \"%s\", \"precision\": \"%s\", \"route\": \"%s\", "
           "\"depth\": %zu, "
           "\"load_msec\": %.2f, \"peak_memory_bytes\": %ld",
           b->run.backend->name, b->run.backend->detail, m->digest, precision, route, depth,
           b->run.load_msec, usage.ru_maxrss * 1024);
    if (b->image_rows) {
        printf(", \"encoder_msec\": %.3f", b->encode_msec);
        phase_print_json("image", &b->image, m);
    }
    if (b->prefill.rows)
        phase_print_json("prefill", &b->prefill, m);
    if (b->decode.rows)
        phase_print_json("decode", &b->decode, m);
    printf("}\n");
}

static int bench(Bench *b)
{
    const RunOptions *o = b->run.options;
    const ModelInfo *info = model_info(b->run.model);
    size_t context = info->context_length, depth = o->depth ? o->depth : o->prefill + o->decode;

    if (depth > context || depth < o->decode || o->prefill > context)
        return run_error(-E2BIG, "the context holds %zu rows; --depth covers the %u decoded ones",
                         context, o->decode);
    b->rows = calloc(context * info->d_model, sizeof(float));
    b->ids = calloc(context, sizeof(*b->ids));
    b->logits = calloc(info->vocab_size, sizeof(float));
    if (!b->rows || !b->ids || !b->logits)
        return -ENOMEM;
    int r = context_fill(b);
    if (r >= 0)
        r = session_open(b->run.engine, &b->session);
    if (r >= 0 && b->image_rows)
        r = prefill_time(b, &b->image, b->image_rows);
    if (r >= 0 && o->prefill)
        r = prefill_time(b, &b->prefill, o->prefill);
    if (r >= 0 && o->decode)
        r = decode_time(b, depth, o->decode);
    if (r < 0)
        return r;
    bench_print(b, depth);
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
