#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "daemon/run.h"

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
    r = backend_cpu_open(options->threads, options->precision, options->isa_mask, &run->backend);
    if (r < 0)
        return run_error(r, "cannot open the CPU engine: %s", strerror(-r));
    r = engine_open(run->model, run->backend, engine_options, &run->engine);
    if (r < 0)
        return run_error(r, "cannot open the engine: %s", strerror(-r));
    run->load_msec = run_now_msec() - start;
    return 0;
}

int run_open_encoders(Run *run)
{
    if (run->splice)
        return 0;

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

int run_prefill(Run *run, Session *session, const float *rows, size_t n, float *logits)
{
    const ModelInfo *info = model_info(run->model);
    size_t chunk = engine_options_default().max_batch_rows;

    for (size_t done = 0; done < n;) {
        size_t now = n - done < chunk ? n - done : chunk;
        bool last = done + now == n;
        BatchItem item = {
            .session = session,
            .rows = rows + done * info->d_model,
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
