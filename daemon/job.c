#include "daemon/job.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "engine/base/half.h"

uint64_t now_usec(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000 + (uint64_t)t.tv_nsec / 1000;
}

const char *job_state_name(JobState state)
{
    static const char *const names[] = {
        [JOB_RECEIVED] = "received", [JOB_DECODING] = "decoding", [JOB_ENCODING] = "encoding",
        [JOB_PREFILL] = "prefill",   [JOB_DECODE] = "decode",     [JOB_DONE] = "done",
    };

    return names[state];
}

int job_new(Work *work, Account *account, uint32_t default_max_tokens, Job **ret_job)
{
    _cleanup_(job_freep) Job *j = calloc(1, sizeof *j);
    WorkArgs *args = work_args(work);

    if (!j)
        return -ENOMEM;
    j->work = work;
    j->args = args;
    j->kind = args->kind;
    j->n_items = args->n_media + args->n_texts;
    j->max_tokens = args->options.max_tokens ? args->options.max_tokens : default_max_tokens;
    j->since_usec = work_arrived_usec(work);
    j->vectors = calloc(j->n_items + 1, SPACE_LENGTH * sizeof *j->vectors);
    j->truncated = calloc(j->n_items + 1, sizeof *j->truncated);
    j->scores = calloc(args->n_texts + 1, sizeof *j->scores);
    if (!j->vectors || !j->truncated || !j->scores)
        return -ENOMEM;
    sampler_init(&j->sampler, &(SamplerOptions){
                                  .temperature = (float)args->options.temperature,
                                  .top_p = (float)args->options.top_p,
                                  .seed = args->options.seed,
                              });
    j->account = account;
    *ret_job = steal_ptr(&j);
    return 0;
}

Job *job_free(Job *j)
{
    if (!j)
        return NULL;
    for (size_t i = 0; i < LIMIT_MEDIA_ITEMS; i++)
        media_deinit(&j->media[i]);
    if (j->account) {
        j->account->media_bytes -= j->charged;
        account_unref(j->account);
    }
    free(j->vectors);
    free(j->truncated);
    free(j->scores);
    free(j);
    return NULL;
}

void job_begin_computing(Job *j)
{
    uint64_t now = now_usec();

    j->queued_usec += now - j->since_usec;
    j->since_usec = now;
}

void job_begin_waiting(Job *j)
{
    uint64_t now = now_usec();

    j->computed_usec += now - j->since_usec;
    j->since_usec = now;
}

int job_charge(Job *j, uint64_t bytes, Failure *failure)
{
    if (bytes > LIMIT_MEDIA_BYTES_PER_UID)
        return failure_set(failure, ERROR_TOO_LARGE, "Decoded, it has more than %u MiB.",
                           LIMIT_MEDIA_BYTES_PER_UID >> 20);
    if (bytes > LIMIT_MEDIA_BYTES_PER_UID - j->account->media_bytes)
        return failure_set(failure, ERROR_QUOTA_EXCEEDED,
                           "This user has %u MiB of media under way: wait for replies.",
                           LIMIT_MEDIA_BYTES_PER_UID >> 20);
    j->account->media_bytes += bytes;
    j->charged += bytes;
    return 0;
}

void job_uncharge(Job *j, uint64_t bytes)
{
    j->account->media_bytes -= bytes;
    j->charged -= bytes;
}

/* The vectors as the client asked for them, one after the other; NULL: no memory. */
static uint8_t *vectors_pack(const Job *j, size_t *ret_size)
{
    const CallOptions *o = &j->args->options;
    size_t width = o->dtype == VECTOR_F16 ? sizeof(uint16_t) : sizeof(float);
    size_t size = o->dimension * width;
    uint8_t *packed = malloc(j->n_items * size);

    for (size_t i = 0; packed && i < j->n_items; i++) {
        const float *v = j->vectors + i * SPACE_LENGTH;
        uint8_t *out = packed + i * size;
        for (size_t k = 0; k < o->dimension; k++) {
            uint16_t h = f32_to_f16(v[k]);
            memcpy(out + k * width, o->dtype == VECTOR_F16 ? (const void *)&h : &v[k], width);
        }
    }
    *ret_size = size;
    return packed;
}

static void finish_vectors(Job *j, const WorkInfo *info)
{
    size_t size;
    _cleanup_free_ uint8_t *packed = vectors_pack(j, &size);
    WorkItem items[LIMIT_MEDIA_ITEMS];

    if (!packed) {
        work_fail(j->work, ERROR_NO_MEMORY, "Out of memory.");
        return;
    }
    if (j->kind == WORK_EMBED_TEXT) {
        work_finish_vectors(j->work, packed, size, info);
        return;
    }
    for (size_t i = 0; i < j->n_items; i++)
        items[i] = (WorkItem){j->failures[i].code, packed + i * size};
    work_finish_items(j->work, items, size, info);
}

void job_finish(Job *j)
{
    const CallOptions *o = &j->args->options;
    const WorkInfo info = {
        .model = j->model,
        .digest = j->digest,
        .backend = j->backend,
        .dimension = o->dimension,
        .dtype = o->dtype,
        .normalised = true,
        .truncated = j->truncated,
        .n_items = j->n_items,
        .tokens = j->tokens,
        .effort = o->effort,
        .weight_bytes = j->weight_bytes,
        .kv_bytes = j->kv_bytes,
        .queued_ms = (double)j->queued_usec / 1e3,
        .computed_ms = (double)j->computed_usec / 1e3,
    };

    if (j->failure.code != ERROR_NONE)
        work_fail(j->work, j->failure.code, j->failure.message);
    else if (j->kind == WORK_ASK)
        work_finish_answer(j->work, j->finish, &info);
    else if (j->kind == WORK_CLASSIFY)
        work_finish_scores(j->work, j->scores, "match", &info);
    else
        finish_vectors(j, &info);
    job_free(j);
}
