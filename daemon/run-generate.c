#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "daemon/run.h"
#include "engine/base/detokenizer.h"

static void text_print(const char *text, size_t length)
{
    fwrite(text, 1, length, stdout);
    fflush(stdout);
}

static int token_forward(Run *run, Session *session, int32_t id, float *logits)
{
    BatchItem item = {
        .session = session,
        .ids = &id,
        .n = 1,
        .shift = run->options->effort / 2,
        .want_logits = true,
        .logits = logits,
    };
    return decoder_forward(run->engine, &item, 1, run->options->route);
}

/* Says tokens until one that ends the answer, the limit or the end of the context. */
static int answer_stream(Run *run, Session *session, float *logits)
{
    const Tokenizer *tokenizer = model_tokenizer(run->model);
    SamplerOptions options = run->options->sampler;
    Detokenizer detokenizer;
    Sampler sampler;
    size_t length;
    int r = 0;

    options.every_id = !run_has_senses(run);
    sampler_init(&sampler, &options);
    detokenizer_init(&detokenizer, tokenizer);
    for (uint32_t said = 0; r >= 0 && said < run->options->max_tokens; said++) {
        int32_t id = sampler_next(&sampler, logits, model_info(run->model)->vocab_size);
        if (tokenizer_is_stop(tokenizer, id))
            break;

        const char *text = detokenizer_push(&detokenizer, id, &length);
        text_print(text, length);
        if (session_position(session) == engine_context(run->engine) ||
            said + 1 == run->options->max_tokens)
            break;
        r = token_forward(run, session, id, logits);
    }
    const char *rest = detokenizer_finish(&detokenizer, &length);
    text_print(rest, length);
    fputc('\n', stdout);
    return r;
}

/* The prompt into the session, of either kind. */
static int prompt_forward(Run *run, Session *session, float *logits)
{
    _cleanup_free_ int32_t *ids = NULL;
    Prompt prompt;
    size_t n;

    if (!run_has_senses(run)) {
        int r = run_text_prompt(run, &ids, &n);
        return r < 0 ? r : run_prefill(run, session, ids, NULL, n, logits);
    }
    int r = run_prompt(run, &prompt, NULL);
    if (r < 0)
        return r;
    r = run_prefill(run, session, NULL, prompt.rows, prompt.n, logits);
    prompt_deinit(&prompt, run->splice);
    return r;
}

static int generate(Run *run)
{
    Session *session;

    _cleanup_free_ float *logits = calloc(model_info(run->model)->vocab_size, sizeof(float));
    if (!logits)
        return -ENOMEM;
    int r = session_open(run->engine, &session);
    if (r >= 0)
        r = prompt_forward(run, session, logits);
    return r < 0 ? r : answer_stream(run, session, logits);
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
    size_t n, context = engine_context(run->engine);
    Session *session;

    _cleanup_free_ int32_t *ids = calloc(context, sizeof(*ids));
    _cleanup_free_ float *logits = calloc(info->vocab_size, sizeof(*logits));
    if (!ids || !logits)
        return -ENOMEM;
    int r = tokens_parse(run->options->tokens, ids, context, &n);
    if (r < 0)
        return run_error(r, "--tokens takes at most %zu ids with commas between", context);
    r = session_open(run->engine, &session);
    if (r >= 0)
        r = run_prefill(run, session, ids, NULL, n, logits);
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
