#include "daemon/runtime.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

#include "daemon/models.h"
#include "ipc/limits.h"

#define CONTEXT_LEAST (2 * RUNTIME_ANSWER_ROOM)
#define CONTEXTS_HELD 4 /* keys and values that a model which reads text alone has room for */

/* Sums what each encoder's tensors weigh; of an embedding table only the rows in use are read. */
static void count_encoder_bytes(Runtime *r)
{
    static const char prefixes[_MODALITY_COUNT][5] = {"txt.", "img.", "aud."};

    for (size_t i = 0; i < weights_tensor_count(r->weights); i++) {
        Tensor t;
        const char *name = weights_tensor_at(r->weights, i, &t);
        for (size_t m = 0; m < _MODALITY_COUNT; m++)
            if (strncmp(name, prefixes[m], 4) == 0 && !strstr(name, "token_embd"))
                r->encoder_bytes[m] += tensor_bytes(&t);
    }
}

static EngineOptions engine_options(const ModelInfo *info, const Config *config)
{
    EngineOptions o = engine_options_default();

    o.max_sessions = RUNTIME_SLOTS + LIMIT_SESSIONS;
    o.max_batch_rows = RUNTIME_ROWS;
    o.memory = config->memory_budget;
    if (info->gated) {
        /* A conversation keeps up to a context of rows, but seldom more than half of the gates
         * open. */
        o.max_tokens = RUNTIME_SLOTS * 512 + LIMIT_SESSIONS * info->context_length / 2;
    } else {
        o.context = config->context < info->context_length ? config->context : info->context_length;
        o.max_tokens = CONTEXTS_HELD * o.context;
    }
    return o;
}

static int open_senses(Runtime *r, const Config *config)
{
    int e = encoders_open(r->weights, r->backend, &r->encoders);

    if (e >= 0)
        e = space_open(r->weights, r->backend, &r->space);
    if (e >= 0)
        e = splice_open(r->weights, r->backend, model_tokenizer(r->model), &r->splice);
    if (e >= 0 && config->cache)
        e = cache_new(&r->cache);
    return e;
}

static int open_parts(Runtime *r, const Config *config)
{
    const ModelInfo *info = model_info(r->model);
    EngineOptions options = engine_options(info, config);
    int e;

    if (info->context_length < CONTEXT_LEAST)
        return weights_fail(r->weights, -EBADMSG,
                            "key %s.context_length is %u, too short for a question", info->family,
                            info->context_length);
    e = backend_cpu_open(config->threads, config->precision, config->cpu_mask, &r->backend);
    if (e >= 0)
        e = engine_open(r->model, r->backend, &options, &r->engine);
    if (e >= 0 && info->gated)
        e = open_senses(r, config);
    else if (e >= 0)
        r->form = chat_find(model_tokenizer(r->model), info->family);
    r->ids = e >= 0 ? calloc(LIMIT_TEXT_BYTES, sizeof *r->ids) : NULL;
    return e >= 0 && !r->ids ? -ENOMEM : e;
}

static int explain(int error, const char *what, const char *detail, char *ret_error)
{
    snprintf(ret_error, RUNTIME_ERROR_MAX, "%s: %s.", what, *detail ? detail : strerror(-error));
    return error;
}

/* Weights and their digest. What has the path before and after they were opened is what was
 * opened. */
static int open_model(Runtime *r, const char *path, Digests *digests, char *ret_error)
{
    char error[WEIGHTS_ERROR_MAX] = "";
    ModelFiles before, after;
    bool known = model_files(AT_FDCWD, path, &before);
    const char *digest;
    int e = weights_open(path, &r->weights, error);

    if (e < 0)
        return explain(e, "The model file cannot be used", error, ret_error);
    known = known && model_files(AT_FDCWD, path, &after) && model_files_same(&before, &after);
    digest = known ? digests_find(digests, &before) : NULL;
    e = model_new(r->weights, &r->model);
    if (e >= 0 && digest)
        strcpy(r->digest, digest);
    else if (e >= 0) /* reads all of the file, so before a budget is held */
        e = model_digest(r->model, r->digest);
    if (e < 0)
        return explain(e, "The model cannot be loaded", weights_error(r->weights), ret_error);
    if (known && !digest)
        digests_keep(digests, &before, r->digest);
    return 0;
}

int runtime_open(const Config *config, const char *const *folders, Digests *digests,
                 Runtime **ret_runtime, char ret_error[RUNTIME_ERROR_MAX])
{
    _cleanup_(runtime_closep) Runtime *r = calloc(1, sizeof *r);
    char path[CONFIG_NAME_MAX];
    int e;

    if (!r)
        return explain(-ENOMEM, "The model cannot be loaded", "", ret_error);
    e = model_find(config->model, folders, path, sizeof path);
    if (e < 0)
        return explain(e, "The model is not installed", "", ret_error);
    e = open_model(r, path, digests, ret_error);
    if (e < 0)
        return e;
    e = open_parts(r, config);
    if (e < 0)
        return explain(e, "The model cannot be loaded", weights_error(r->weights), ret_error);
    (void)model_name(path, r->name, sizeof r->name);
    snprintf(r->backend_name, sizeof r->backend_name, "%s %s", r->backend->name,
             r->backend->detail);
    count_encoder_bytes(r);
    *ret_runtime = steal_ptr(&r);
    return 0;
}

Runtime *runtime_close(Runtime *r)
{
    if (!r)
        return NULL;
    cache_free(r->cache);
    splice_close(r->splice);
    space_close(r->space);
    encoders_close(r->encoders);
    engine_close(r->engine);
    backend_close(r->backend);
    model_free(r->model);
    weights_close(r->weights);
    free(r->ids);
    free(r);
    return NULL;
}
