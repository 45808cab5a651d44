#pragma once

/*
 * The vector index: named collections of items, each with a unit vector of the shared space, in one
 * folder per user. An SQLite database is what counts. It keeps vectors as int8, by which all are
 * compared, and as f16, by which the best are compared again; beside them stands the digest of the
 * model that made them. The int8 vectors of each collection are written to a second file as well,
 * which searches map; it is derived and made anew whenever it does not fit the database.
 *
 * Used by one thread at a time, by one process at a time.
 *
 * Errors, besides those of the file: -EBADMSG the database is damaged; -ESTALE another model made
 * the collection's vectors, or they are being made anew; -ENOENT no such collection or item;
 * -EDQUOT beyond a ceiling below; -ENOSPC the disk is full; -EINVAL a name, text or vector that
 * cannot be kept; -E2BIG the answer would be larger than its ceiling.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "encoders/encoder.h"
#include "engine/base/cleanup.h"
#include "engine/base/pool.h"

#define INDEX_VECTOR          256
#define INDEX_DIGEST          32
#define INDEX_COLLECTIONS_MAX 64
#define INDEX_ITEMS_MAX       1000000
#define INDEX_BYTES_MAX       ((int64_t)2 << 30) /* of the database */
#define INDEX_NAME_MAX        255                /* bytes of a name, an item's id, a key */
#define INDEX_TEXT_MAX        65536
#define INDEX_VALUE_MAX       4096
#define INDEX_PAIRS_MAX       32
#define INDEX_HITS_MAX        1000 /* offset + limit of a search */

typedef struct Index Index;

typedef struct IndexPair {
    const char *key, *value;
} IndexPair;

typedef struct IndexItem {
    const char *id;
    Modality modality;
    const char *text; /* may be empty */
    bool tail;        /* the vector is of the text's tail, where it is too long for the model */
    const IndexPair *pairs;
    size_t n_pairs;
    const float *vector; /* [INDEX_VECTOR] */
} IndexItem;

typedef struct IndexQuery {
    const float *vector;    /* [INDEX_VECTOR] */
    unsigned modalities;    /* mask of 1 << Modality; 0 = all */
    const IndexPair *pairs; /* all must be among the item's */
    size_t n_pairs;
    size_t offset, limit;
    float min_score;
} IndexQuery;

/* An item as it was kept. score: the cosine; rank: from 1; both 0 outside searches. */
typedef struct IndexRecord {
    char *id, *text;
    Modality modality;
    bool stale; /* its vector is another model's */
    IndexPair *pairs;
    size_t n_pairs;
    float vector[INDEX_VECTOR];
    double score;
    uint32_t rank;
} IndexRecord;

typedef struct IndexRecords {
    IndexRecord *list;
    size_t n;
} IndexRecords;

/* What of the items to return, and how much. */
typedef struct IndexWish {
    size_t text_bytes; /* of each text, whole characters; 0: none */
    size_t max_bytes;  /* of all ids, texts and pairs */
} IndexWish;

typedef struct IndexCollection {
    char name[INDEX_NAME_MAX + 1];
    bool has_model; /* no: there never was an item */
    uint8_t digest[INDEX_DIGEST];
    size_t n_items, n_stale;
    bool rebuilding;
    double progress; /* of the rebuild */
} IndexCollection;

/* folder is made, for its owner only, where it is missing. pool as in index_use_pool(), cpu_mask as
 * in backend_cpu_open(). */
int index_open(const char *folder, Pool *pool, unsigned cpu_mask, Index **ret_index);
Index *index_close(Index *x);
DEFINE_CLEANUP(Index *, index_close);
/* Whose threads searches share from now on, borrowed; NULL: they use the caller's alone. */
void index_use_pool(Index *x, Pool *pool);
/* Whether its folder still holds the file that was opened: no, when it was purged meanwhile. */
bool index_is_current(const Index *x);
/* Removes a folder with all that is in it; nobody must use it. -ENOENT: there is none. */
int index_purge(const char *folder);

/* Makes the collection where it is missing. */
int index_collection(Index *x, const char *name);
int index_delete(Index *x, const char *name);
/* Caller frees. */
int index_list(Index *x, IndexCollection **ret_collections, size_t *ret_n);
int index_info(Index *x, const char *name, IndexCollection *ret_collection);

/* Every call is done as a whole or not at all; an item replaces the one of the same id. A
 * collection without items takes the digest of the first. */
int index_put(Index *x, const char *name, const uint8_t digest[INDEX_DIGEST],
              const IndexItem *items, size_t n);
/* What index_put() would refuse of an item, but for its vector. */
int index_check(const IndexItem *item);
/* Removes those that are there and counts them. */
int index_remove(Index *x, const char *name, const char *const *ids, size_t n, size_t *ret_removed);
/* Those that are there, in order. -ENOENT: the collection, or all of them, are missing. */
int index_get(Index *x, const char *name, const char *const *ids, size_t n, const IndexWish *wish,
              IndexRecords *ret_records);
void index_records_free(IndexRecords *r);
/* Records of nothing but the ids: those behind `after`, which may be empty, in the order of their
 * bytes, at most max. */
int index_names(Index *x, const char *name, const char *after, size_t max,
                IndexRecords *ret_records);
/* When it returns 0, all that was done before is on the disk. */
int index_sync(Index *x);

/* Exact: every item that the filters leave is compared. Hits in falling order; ret_more: there are
 * more after these. */
int index_search(Index *x, const char *name, const uint8_t digest[INDEX_DIGEST],
                 const IndexQuery *query, const IndexWish *wish, IndexRecords *ret_hits,
                 bool *ret_more);

/*
 * Another model. All items become stale; texts get their vectors anew, batch by batch, what else
 * there is has to be put again. Until the texts are through, searches give -ESTALE; items of the
 * new model may be put. All of it outlives the process: begin again where it broke off.
 */
typedef struct IndexText {
    int64_t row;
    char *text;
    bool tail;
    const float *vector; /* [INDEX_VECTOR]; NULL: it cannot be made, the item stays stale */
} IndexText;

/* Nothing happens where the digest is the collection's. */
int index_rebuild_begin(Index *x, const char *name, const uint8_t digest[INDEX_DIGEST]);
/* The next texts, of max_bytes in all but for the first; *ret_n 0: the rebuild is through. */
int index_rebuild_next(Index *x, const char *name, size_t max, size_t max_bytes,
                       IndexText **ret_texts, size_t *ret_n);
/* Their vectors. Texts that were replaced or removed meanwhile are left out. */
int index_rebuild_put(Index *x, const char *name, const uint8_t digest[INDEX_DIGEST],
                      const IndexText *texts, size_t n);
void index_texts_free(IndexText *texts, size_t n);
