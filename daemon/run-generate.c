#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "daemon/run.h"

/* Says tokens until <eos>, the limit or the end of the context. */
static int answer_stream(Run *run, Session *session, float *logits)
{
    const ModelInfo *info = model_info(run->model);
    const Tokenizer *tokenizer = model_tokenizer(run->model);
    Sampler sampler;

    sampler_init(&sampler, &run->options->sampler);
    for (uint32_t said = 0; said < run->options->max_tokens; said++) {
        int32_t id = sampler_next(&sampler, logits, info->vocab_size);
        if (id == tokenizer_special(tokenizer)->eos)
            break;

        size_t length;
        const char *piece = tokenizer_piece(tokenizer, id, &length);
        fwrite(piece, 1, length, stdout);
        fflush(stdout);
        if (session_position(session) == info->context_length ||
            said + 1 == run->options->max_tokens)
            break;
        BatchItem item = {
            .session = session,
            .ids = &id,
            .n = 1,
            .shift = run->options->effort / 2,
            .want_logits = true,
            .logits = logits,
        };
        int r = decoder_forward(run->engine, &item, 1, run->options->route);
        if (r < 0)
            return r;
    }
    fputc('\n', stdout);
    return 0;
}

static int generate(Run *run)
{
    Session *session;
    Prompt prompt;

    _cleanup_free_ float *logits = calloc(model_info(run->model)->vocab_size, sizeof(float));
    if (!logits)
        return -ENOMEM;
    int r = run_prompt(run, &prompt, NULL);
    if (r < 0)
        return r;
    r = session_open(run->engine, &session);
    if (r >= 0)
        r = run_prefill(run, session, prompt.rows, prompt.n, logits);
    if (r >= 0)
        r = answer_stream(run, session, logits);
    prompt_deinit(&prompt, run->splice);
    return r;
}

int run_generate(const RunOptions *options)
{
    Run run;
    int r = run_open(&run, options, NULL);
    if (r >= 0)
        r = generate(&run);
    run_close(&run);
    return r;
}

/* "1,2,3" into ids; the count, or -EINVAL. */
static int tokens_parse(const char *text, int32_t *ids, size_t max, size_t *ret_count)
{
    size_t n = 0;
    for (;;) {
        char *end;
        errno = 0;
        long id = strtol(text, &end, 10);
        if (end == text || errno || id < 0 || id > INT32_MAX || n == max)
            return -EINVAL;
        ids[n++] = (int32_t)id;
        if (*end == '\0')
            break;
        if (*end != ',')
            return -EINVAL;
        text = end + 1;
    }
    *ret_count = n;
    return 0;
}

/* The logits after the given tokens, one a line, so that another program can compare them. */
static int logits_print(Run *run)
{
    const ModelInfo *info = model_info(run->model);
    size_t n, chunk = engine_options_default().max_batch_rows;
    Session *session;

    _cleanup_free_ int32_t *ids = calloc(info->context_length, sizeof(*ids));
    _cleanup_free_ float *logits = calloc(info->vocab_size, sizeof(*logits));
    if (!ids || !logits)
        return -ENOMEM;
    int r = tokens_parse(run->options->tokens, ids, info->context_length, &n);
    if (r < 0)
        return run_error(r, "--tokens takes at most %u ids with commas between",
                         info->context_length);
    r = session_open(run->engine, &session);
    for (size_t done = 0; r >= 0 && done < n; done += chunk) {
        BatchItem item = {
            .session = session,
            .ids = ids + done,
            .n = (uint32_t)(n - done < chunk ? n - done : chunk),
            .shift = run->options->effort / 2,
            .want_logits = true,
            .logits = logits,
        };
        r = decoder_forward(run->engine, &item, 1, run->options->route);
    }
    if (r < 0)
        return run_error(r, "cannot run these tokens: %s", strerror(-r));
    for (uint32_t i = 0; i < info->vocab_size; i++)
        printf("%.9g\n", logits[i]);
    return 0;
}

int run_logits(const RunOptions *options)
{
    Run run;
    int r = run_open(&run, options, NULL);
    if (r >= 0)
        r = logits_print(&run);
    run_close(&run);
    return r;
}

static int embed(Run *run)
{
    float vector[SPACE_LENGTH];
    Encoded encoded;

    int r = run_open_encoders(run);
    if (r < 0)
        return r;
    if (run->options->n_media)
        r = run_encode_media(run, &run->options->media[0], run->options->high_detail, &encoded,
                             vector);
    else {
        r = run_encode_text(run, run->options->text, vector);
        if (r < 0)
            run_error(r, "cannot embed this text: %s", strerror(-r));
    }
    if (r < 0)
        return r;
    for (size_t i = 0; i < SPACE_LENGTH; i++)
        printf("%.9g%c", vector[i], i + 1 < SPACE_LENGTH ? ' ' : '\n');
    return 0;
}

int run_embed(const RunOptions *options)
{
    Run run;
    int r = run_open(&run, options, NULL);
    if (r >= 0)
        r = embed(&run);
    run_close(&run);
    return r;
}
