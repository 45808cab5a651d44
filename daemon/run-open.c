#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "daemon/run.h"

/* Models that read text alone: rows of a forward, where more make experts' products larger, and
 * the longest context unless more is asked for. */
#define TEXT_BATCH_ROWS 512
#define TEXT_CONTEXT    32768

double run_now_msec(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e3 + (double)t.tv_nsec / 1e6;
}

int run_error(int error, const char *format, ...)
{
    va_list args;

    fputs("percept-run: ", stderr);
    va_start(args, format);
    vfprintf(stderr, format, args);
    va_end(args);
    fputc('\n', stderr);
    return error;
}

bool run_has_senses(const Run *run)
{
    return model_info(run->model)->gated;
}

/* What was asked for must mean something to the model. */
static int model_check(const Run *run)
{
    const RunOptions *o = run->options;
    const char *family = model_info(run->model)->family;
    bool senses = run_has_senses(run);

    if (!senses && o->n_media)
        return run_error(-EINVAL, "models of the family %s read text alone", family);
    if (!senses && (o->effort != 0 || o->route != ROUTE_GATES))
        return run_error(-EINVAL, "models of the family %s have no gates for --effort and --route",
                         family);
    if (senses && (o->raw || o->no_think))
        return run_error(-EINVAL, "--raw and --think mean nothing to the family %s", family);
    return 0;
}

/* Sessions of the context that was asked for. Memory is taken as they fill. */
static EngineOptions text_options(const RunOptions *o)
{
    uint32_t context = o->context ? o->context : TEXT_CONTEXT;

    return (EngineOptions){
        .max_sessions = o->sessions,
        .max_batch_rows = TEXT_BATCH_ROWS,
        .context = context,
        .max_tokens = o->sessions * context,
        .cache = (EngineCache)o->cache,
    };
}

static int open_engine(Run *run, const EngineOptions *engine_options)
{
    EngineOptions options = engine_options        ? *engine_options
                            : run_has_senses(run) ? engine_options_default()
                                                  : text_options(run->options);

    options.context = options.context ? options.context : run->options->context;
    options.cache = (EngineCache)run->options->cache;
    options.memory = run->options->memory;
    run->batch_rows = options.max_batch_rows;
    return engine_open(run->model, run->backend, &options, &run->engine);
}

int run_open(Run *run, const RunOptions *options, const EngineOptions *engine_options)
{
    char error[WEIGHTS_ERROR_MAX];
    double start = run_now_msec();

    *run = (Run){.options = options};
    int r = weights_open(options->model, &run->weights, error);
    if (r < 0)
        return run_error(r, "%s: %s", options->model, error);
    r = model_new(run->weights, &run->model);
    if (r < 0)
        return run_error(r, "%s: %s", options->model, weights_error(run->weights));
    r = model_check(run);
    if (r < 0)
        return r;
    r = backend_cpu_open(options->threads, options->precision, options->isa_mask, &run->backend);
    if (r < 0)
        return run_error(r, "cannot open the CPU engine: %s", strerror(-r));
    r = open_engine(run, engine_options);
    if (r == -ENOSPC || r == -ENOTSUP)
        return run_error(r, "%s: %s", options->model, weights_error(run->weights));
    if (r < 0)
        return run_error(r, "cannot open the engine: %s", strerror(-r));
    run->load_msec = run_now_msec() - start;
    return 0;
}

int run_open_encoders(Run *run)
{
    if (run->splice)
        return 0;
    if (!run_has_senses(run))
        return run_error(-ENOTSUP, "%s takes a model with encoders, not one of the family %s",
                         run->options->command, model_info(run->model)->family);

    int r = encoders_open(run->weights, run->backend, &run->encoders);
    if (r >= 0)
        r = space_open(run->weights, run->backend, &run->space);
    if (r >= 0)
        r = splice_open(run->weights, run->backend, model_tokenizer(run->model), &run->splice);
    if (r < 0)
        return run_error(r, "%s: %s", run->options->model, weights_error(run->weights));
    return 0;
}

void run_close(Run *run)
{
    media_helper_free(run->helper);
    splice_close(run->splice);
    space_close(run->space);
    encoders_close(run->encoders);
    engine_close(run->engine);
    backend_close(run->backend);
    model_free(run->model);
    weights_close(run->weights);
    *run = (Run){0};
}

int run_prefill(Run *run, Session *session, const int32_t *ids, const float *rows, size_t n,
                float *logits)
{
    size_t d = model_info(run->model)->d_model;

    for (size_t done = 0; done < n;) {
        size_t now = n - done < run->batch_rows ? n - done : run->batch_rows;
        bool last = done + now == n;
        BatchItem item = {
            .session = session,
            .ids = ids ? ids + done : NULL,
            .rows = ids ? NULL : rows + done * d,
            .n = (uint32_t)now,
            .shift = run->options->effort / 2,
            .want_logits = last && logits,
            .logits = logits,
        };
        int r = decoder_forward(run->engine, &item, 1, run->options->route);
        if (r < 0)
            return r;
        done += now;
    }
    return 0;
}
