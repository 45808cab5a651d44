#include "daemon/job.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "daemon/collection.h"
#include "engine/base/half.h"
#include "ipc/memory.h"

#define SEAL_CHUNK 16 /* vectors written at a time */

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

/* What a bulk call holds until its reply: the texts, their vectors, the reply itself. */
static int charge_bulk(Job *j, Account *account, Failure *failure)
{
    uint64_t bytes = j->args->bulk_size + j->args->n_texts * sizeof *j->args->texts +
                     j->args->collection.n_items * sizeof *j->args->collection.items +
                     2 * j->n_items * SPACE_LENGTH * sizeof *j->vectors;
    int r;

    j->account = account;
    r = job_charge(j, bytes, failure);
    if (r < 0)
        j->account = NULL;
    return r;
}

bool job_has_collection(const Job *j)
{
    return j->kind >= WORK_OPEN_COLLECTION || *j->args->collection.name;
}

bool job_answers(const Job *j)
{
    return j->kind == WORK_ASK && !j->searching;
}

bool job_is_batch(const Job *j)
{
    return j->kind == WORK_EMBED_MEDIA || j->kind == WORK_ADD_MEDIA || j->kind == WORK_ADD_TEXT ||
           j->kind == WORK_REBUILD;
}

bool job_is_bulk(const Job *j)
{
    return j->kind == WORK_EMBED_BULK || j->kind == WORK_REBUILD;
}

static const ItemInput *item_of(const Job *j, size_t i)
{
    return j->args->collection.items ? &j->args->collection.items[i] : NULL;
}

Truncate job_truncate(const Job *j, size_t i)
{
    const ItemInput *item = item_of(j, i);

    return item ? item->truncate : j->args->options.truncate;
}

bool job_high_detail(const Job *j, size_t i)
{
    const ItemInput *item = item_of(j, i);

    return item ? item->high_detail : j->args->options.high_detail;
}

const uint32_t *job_region(const Job *j, size_t i)
{
    const ItemInput *item = item_of(j, i);

    return item ? item->region : j->args->options.region;
}

/* Media and texts that the model reads; identifiers are none. */
static size_t count_items(const WorkArgs *args)
{
    if (args->kind == WORK_REMOVE || args->kind == WORK_GET || args->kind == WORK_ADD_VECTORS)
        return 0;
    return args->n_media + args->n_texts;
}

static int alloc_items(Job *j)
{
    const WorkArgs *args = j->args;

    j->n_items = count_items(args);
    j->vectors = calloc(j->n_items + 1, SPACE_LENGTH * sizeof *j->vectors);
    j->truncated = calloc(j->n_items + 1, sizeof *j->truncated);
    j->scores = calloc(args->n_texts + 1, sizeof *j->scores);
    j->index.statuses = calloc(args->collection.n_items + 1, sizeof *j->index.statuses);
    if (!j->vectors || !j->truncated || !j->scores || !j->index.statuses)
        return -ENOMEM;
    for (size_t i = 0; i < args->collection.n_items; i++)
        j->index.statuses[i] = args->collection.items[i].status;
    return 0;
}

int job_new_own(WorkArgs *args, Account *account, Job **ret_job)
{
    _cleanup_(job_freep) Job *j = calloc(1, sizeof *j);

    if (!j)
        return -ENOMEM;
    j->vectors_fd = -1;
    j->args = args;
    j->kind = args->kind;
    j->since_usec = now_usec();
    if (alloc_items(j) < 0)
        return -ENOMEM;
    j->account = account_ref(account);
    *ret_job = steal_ptr(&j);
    return 0;
}

int job_new(Work *work, Account *account, uint32_t default_max_tokens, Job **ret_job,
            Failure *failure)
{
    _cleanup_(job_freep) Job *j = calloc(1, sizeof *j);
    WorkArgs *args = work_args(work);
    int r;

    if (!j)
        return -ENOMEM;
    j->vectors_fd = -1;
    j->work = work;
    j->args = args;
    j->kind = args->kind;
    j->searching = j->kind == WORK_ASK && *args->collection.name;
    j->conversation = work_conversation(work);
    j->n_items = count_items(args);
    j->max_tokens = args->options.max_tokens ? args->options.max_tokens : default_max_tokens;
    j->since_usec = work_arrived_usec(work);
    r = args->bulk ? charge_bulk(j, account, failure) : 0;
    if (r < 0)
        return r;
    j->account = account;
    if (alloc_items(j) < 0) {
        account_ref(account); /* still the caller's */
        return -ENOMEM;
    }
    strcpy(j->wanted, j->kind == WORK_LOAD  ? args->question.data
                      : j->conversation     ? j->conversation->model
                      : args->options.model ? args->options.model
                                            : "");
    sampler_init(&j->sampler, &(SamplerOptions){
                                  .temperature = (float)args->options.temperature,
                                  .top_p = (float)args->options.top_p,
                                  .seed = args->options.seed,
                              });
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
    if (j->vectors_fd >= 0)
        close(j->vectors_fd);
    free(j->vectors);
    free(j->truncated);
    free(j->scores);
    index_records_free(&j->index.records);
    index_texts_free(j->index.texts, j->index.n_texts);
    free(j->index.statuses);
    free(j->index.list);
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

static size_t vector_size(const Job *j)
{
    const CallOptions *o = &j->args->options;

    return o->dimension * (o->dtype == VECTOR_F16 ? sizeof(uint16_t) : sizeof(float));
}

/* n vectors from the i-th on as the client asked for them, one after the other. */
static void vectors_pack(const Job *j, size_t i, size_t n, uint8_t *out)
{
    const CallOptions *o = &j->args->options;
    size_t width = o->dtype == VECTOR_F16 ? sizeof(uint16_t) : sizeof(float);

    for (const float *v = j->vectors + i * SPACE_LENGTH; n > 0; n--, v += SPACE_LENGTH)
        for (size_t k = 0; k < o->dimension; k++, out += width) {
            uint16_t h = f32_to_f16(v[k]);
            memcpy(out, o->dtype == VECTOR_F16 ? (const void *)&h : &v[k], width);
        }
}

int job_seal_vectors(Job *j)
{
    uint8_t chunk[SEAL_CHUNK * SPACE_LENGTH * sizeof(float)];
    _cleanup_close_ int fd = memory_new();
    int r = fd < 0 ? fd : 0;

    for (size_t i = 0; i < j->n_items && r >= 0; i += SEAL_CHUNK) {
        size_t n = j->n_items - i < SEAL_CHUNK ? j->n_items - i : SEAL_CHUNK;
        vectors_pack(j, i, n, chunk);
        r = memory_write(fd, chunk, n * vector_size(j));
    }
    if (r >= 0)
        r = memory_seal(fd);
    if (r < 0)
        return r;
    j->vectors_fd = steal_fd(&fd);
    return 0;
}

static void finish_vectors(Job *j, const WorkInfo *info)
{
    size_t size = vector_size(j);
    _cleanup_free_ uint8_t *packed = malloc(j->n_items * size);
    WorkItem items[LIMIT_MEDIA_ITEMS];

    if (!packed) {
        work_fail(j->work, ERROR_NO_MEMORY, "Out of memory.");
        return;
    }
    vectors_pack(j, 0, j->n_items, packed);
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
    else if (j->kind >= WORK_OPEN_COLLECTION)
        collection_finish(j, &info);
    else if (j->kind == WORK_LOAD)
        work_finish_empty(j->work);
    else if (j->kind == WORK_ASK)
        work_finish_answer(j->work, j->finish, &info);
    else if (j->kind == WORK_CLASSIFY)
        work_finish_scores(j->work, j->scores, "match", &info);
    else if (j->kind == WORK_EMBED_BULK)
        work_finish_bulk(j->work, steal_fd(&j->vectors_fd), &info);
    else
        finish_vectors(j, &info);
    job_free(j);
}
