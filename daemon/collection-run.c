#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "daemon/collection.h"
#include "engine/base/half.h"

#define SOURCE_BYTES_MAX  (2u << 20) /* texts that an answer is made of */
#define REBUILD_BYTES_MAX (1u << 20)

static const IndexWish whole = {.text_bytes = INDEX_TEXT_MAX, .max_bytes = LIMIT_REPLY_BYTES};

int collection_fail(Job *j, int error)
{
    Failure *f = &j->failure;

    switch (-error) {
    case ENOENT:
        return failure_set(f, ERROR_NO_SUCH_COLLECTION, "There is no such collection: open it.");
    case EDQUOT:
        return failure_set(f, ERROR_QUOTA_EXCEEDED,
                           "A user may have %d collections, %d items and %llu MiB of them.",
                           LIMIT_COLLECTIONS, LIMIT_ITEMS, LIMIT_INDEX_BYTES >> 20);
    case EBADMSG:
        return failure_set(f, ERROR_INDEX_CORRUPT,
                           "The index of this user is damaged: restore it, or purge it.");
    case ESTALE:
        return failure_set(f, ERROR_MODEL_MISMATCH,
                           "Another model made these vectors: ListCollections says whether they "
                           "are being made anew.");
    case E2BIG:
        return failure_set(f, ERROR_TOO_LARGE,
                           "The reply would have more than %u bytes: ask for less.",
                           LIMIT_REPLY_BYTES);
    case EINVAL:
        return failure_set(f, ERROR_INVALID_ARGS,
                           "A vector must have numbers from -2 to 2 that are not all zero.");
    case ENOSPC:
        return failure_set(f, ERROR_LIMITS_EXCEEDED, "The disk is full.");
    case ENOMEM:
        return failure_set(f, ERROR_NO_MEMORY, "Out of memory.");
    default:
        return failure_set(f, ERROR_FAILED, "The index cannot be used: %s.", strerror(-error));
    }
}

static bool digest_parse(const char *hex, uint8_t digest[INDEX_DIGEST])
{
    for (size_t i = 0; i < INDEX_DIGEST; i++)
        if (sscanf(hex + 2 * i, "%2hhx", &digest[i]) != 1)
            return false;
    return true;
}

/* The model whose vectors the job has: of those that the client has brought, the one it names; of
 * a vector to search by, the collection's own. */
static int job_model(Index *x, const Job *j, uint8_t digest[INDEX_DIGEST])
{
    const CollectionArgs *c = &j->args->collection;
    IndexCollection info;
    int r;

    if (*j->digest || c->model)
        return digest_parse(c->model ? c->model : j->digest, digest) ? 0 : -EINVAL;
    r = index_info(x, c->name, &info);
    if (r >= 0)
        memcpy(digest, info.digest, INDEX_DIGEST);
    return r;
}

/* n numbers as the client has sent them. */
static void vector_unpack(const Job *j, size_t i, float *out)
{
    bool f16 = j->args->options.dtype == VECTOR_F16;
    const uint8_t *in = j->args->collection.vectors + i * INDEX_VECTOR * (f16 ? 2 : 4);

    for (size_t k = 0; k < INDEX_VECTOR; k++)
        if (f16)
            out[k] = f16_load(in + 2 * k);
        else
            memcpy(&out[k], in + 4 * k, sizeof *out);
}

static_assert(sizeof(WordPair) == sizeof(IndexPair), "both are two strings");

/* The same two strings under another name: ipc and fusion know nothing of each other. */
static const IndexPair *pairs_of(const WordPair *pairs)
{
    return (const IndexPair *)(const void *)pairs;
}

static Modality modality_of(const Job *j, size_t i)
{
    unsigned mask = j->args->collection.modalities;

    if (j->kind == WORK_ADD_MEDIA)
        return j->media[i].kind == MEDIA_IMAGE ? MODALITY_IMAGE : MODALITY_AUDIO;
    for (unsigned m = 0; j->kind == WORK_ADD_VECTORS && m < _MODALITY_COUNT; m++)
        if (mask >> m & 1)
            return (Modality)m;
    return MODALITY_TEXT;
}

static IndexItem item_of(const Job *j, size_t i, const float *vector)
{
    const CollectionArgs *c = &j->args->collection;
    const ItemInput *input = &c->items[i];
    bool own_pairs = j->kind != WORK_ADD_VECTORS;

    return (IndexItem){
        .id = input->id.data,
        .modality = modality_of(j, i),
        .text = i < j->args->n_texts ? j->args->texts[i].data : "",
        .tail = input->truncate == TRUNCATE_TAIL,
        .pairs = pairs_of(own_pairs ? input->pairs : c->pairs),
        .n_pairs = own_pairs ? input->n_pairs : c->n_pairs,
        .vector = vector,
    };
}

static int put(Index *x, Job *j, const IndexItem *items, size_t n)
{
    uint8_t digest[INDEX_DIGEST];
    int r = job_model(x, j, digest);

    if (r >= 0)
        r = index_put(x, j->args->collection.name, digest, items, n);
    if (r < 0)
        return collection_fail(j, r);
    j->index.count = n;
    return 0;
}

/* Those that could be encoded. */
static int run_add(Index *x, Job *j)
{
    size_t n = j->args->collection.n_items, n_good = 0;
    _cleanup_free_ IndexItem *items = calloc(n + 1, sizeof *items);

    if (!items)
        return collection_fail(j, -ENOMEM);
    for (size_t i = 0; i < n; i++) {
        if (j->kind == WORK_ADD_MEDIA)
            j->index.statuses[i] = j->failures[i].code;
        if (j->index.statuses[i] == ERROR_NONE)
            items[n_good++] = item_of(j, i, j->vectors + i * SPACE_LENGTH);
    }
    return put(x, j, items, n_good);
}

static int run_add_vectors(Index *x, Job *j)
{
    size_t n = j->args->collection.n_items;
    _cleanup_free_ IndexItem *items = calloc(n, sizeof *items);
    _cleanup_free_ float *vectors = calloc(n, INDEX_VECTOR * sizeof *vectors);

    if (!items || !vectors)
        return collection_fail(j, -ENOMEM);
    for (size_t i = 0; i < n; i++) {
        vector_unpack(j, i, vectors + i * INDEX_VECTOR);
        items[i] = item_of(j, i, vectors + i * INDEX_VECTOR);
    }
    return put(x, j, items, n);
}

static const char **ids_of(const Job *j)
{
    const char **ids = calloc(j->args->n_texts + 1, sizeof *ids);

    for (size_t i = 0; ids && i < j->args->n_texts; i++)
        ids[i] = j->args->texts[i].data;
    return ids;
}

static int run_remove(Index *x, Job *j)
{
    _cleanup_free_ const char **ids = ids_of(j);
    size_t n = 0;
    int r = ids ? index_remove(x, j->args->collection.name, ids, j->args->n_texts, &n) : -ENOMEM;

    j->index.count = n;
    return r < 0 ? collection_fail(j, r) : 0;
}

static int run_list(Index *x, Job *j)
{
    const WorkArgs *args = j->args;
    int r = index_names(x, args->collection.name, args->question.data, args->collection.limit,
                        &j->index.records);

    return r < 0 ? collection_fail(j, r) : 0;
}

static int run_get(Index *x, Job *j)
{
    const char *name = j->args->collection.name;
    _cleanup_free_ const char **ids = ids_of(j);
    IndexCollection info;
    int r = ids ? index_info(x, name, &info) : -ENOMEM;

    if (r < 0)
        return collection_fail(j, r);
    r = index_get(x, name, ids, j->args->n_texts, &whole, &j->index.records);
    if (r == -ENOENT)
        return failure_set(&j->failure, ERROR_NO_SUCH_ITEM, "There is none of these items.");
    return r < 0 ? collection_fail(j, r) : 0;
}

static int run_sync(Index *x, Job *j)
{
    IndexCollection info;
    int r = index_info(x, j->args->collection.name, &info);

    if (r >= 0)
        r = index_sync(x);
    return r < 0 ? collection_fail(j, r) : 0;
}

static int search(Index *x, Job *j, const float *vector, const IndexWish *wish)
{
    const CollectionArgs *c = &j->args->collection;
    const IndexQuery query = {
        .vector = vector,
        .modalities = c->modalities,
        .pairs = pairs_of(c->pairs),
        .n_pairs = c->n_pairs,
        .offset = c->offset,
        .limit = c->limit,
        .min_score = (float)c->min_score,
    };
    uint8_t digest[INDEX_DIGEST];
    int r = job_model(x, j, digest);

    if (r >= 0)
        r = index_search(x, c->name, digest, &query, wish, &j->index.records, &j->index.more);
    return r < 0 ? collection_fail(j, r) : 0;
}

static int run_search(Index *x, Job *j)
{
    const IndexWish wish = {j->args->collection.text_bytes, LIMIT_REPLY_BYTES};
    float vector[INDEX_VECTOR];

    if (j->kind != WORK_SEARCH_VECTOR)
        return search(x, j, j->vectors, &wish);
    vector_unpack(j, 0, vector);
    return search(x, j, vector, &wish);
}

static int run_question(Index *x, Job *j)
{
    const IndexWish wish = {INDEX_TEXT_MAX, SOURCE_BYTES_MAX};

    return search(x, j, j->index.question, &wish);
}

/* The texts whose vectors come next; none: it is through. */
static int rebuild_next(Index *x, Job *j)
{
    WorkArgs *args = j->args;
    IndexText *texts;
    size_t n;
    int r =
        index_rebuild_next(x, args->collection.name, REBUILD_TEXTS, REBUILD_BYTES_MAX, &texts, &n);

    if (r < 0)
        return collection_fail(j, r);
    j->index.texts = texts;
    j->index.n_texts = j->n_items = args->n_texts = args->collection.n_items = n;
    j->n_encoded = 0;
    for (size_t i = 0; i < n; i++) {
        args->texts[i] = (String){texts[i].text, strlen(texts[i].text)};
        args->collection.items[i].truncate = texts[i].tail ? TRUNCATE_TAIL : TRUNCATE_HEAD;
        j->index.statuses[i] = ERROR_NONE;
    }
    return 0;
}

static int rebuild_put(Index *x, Job *j, const uint8_t digest[INDEX_DIGEST])
{
    IndexText *texts = j->index.texts;
    size_t n = j->index.n_texts;
    int r;

    for (size_t i = 0; i < n; i++)
        texts[i].vector = j->index.statuses[i] == ERROR_NONE ? j->vectors + i * SPACE_LENGTH : NULL;
    r = index_rebuild_put(x, j->args->collection.name, digest, texts, n);
    index_texts_free(texts, n);
    j->index.texts = NULL;
    j->index.n_texts = 0;
    return r;
}

/* A turn: keeps what was encoded, reads what comes next. A model that has changed again begins all
 * over. */
static int run_rebuild(Index *x, Job *j)
{
    uint8_t digest[INDEX_DIGEST];
    int r = job_model(x, j, digest);

    if (r >= 0 && j->index.n_texts > 0)
        r = rebuild_put(x, j, digest);
    else if (r >= 0)
        r = index_rebuild_begin(x, j->args->collection.name, digest);
    if (r == -ESTALE)
        r = index_rebuild_begin(x, j->args->collection.name, digest);
    return r < 0 ? collection_fail(j, r) : rebuild_next(x, j);
}

static int run_manager(Index *x, Job *j)
{
    const char *name = j->args->collection.name;
    int r = j->kind == WORK_OPEN_COLLECTION     ? index_collection(x, name)
            : j->kind == WORK_DELETE_COLLECTION ? index_delete(x, name)
                                                : index_list(x, &j->index.list, &j->index.n_list);

    return r < 0 ? collection_fail(j, r) : 0;
}

int collection_run(Index *x, Job *j)
{
    switch (j->kind) {
    case WORK_ADD_TEXT:
    case WORK_ADD_MEDIA:
        return run_add(x, j);
    case WORK_ADD_VECTORS:
        return run_add_vectors(x, j);
    case WORK_REMOVE:
        return run_remove(x, j);
    case WORK_GET:
        return run_get(x, j);
    case WORK_LIST:
        return run_list(x, j);
    case WORK_SYNC:
        return run_sync(x, j);
    case WORK_SEARCH:
    case WORK_SEARCH_MEDIA:
    case WORK_SEARCH_VECTOR:
        return run_search(x, j);
    case WORK_ASK:
        return run_question(x, j);
    case WORK_REBUILD:
        return run_rebuild(x, j);
    default:
        return run_manager(x, j);
    }
}
