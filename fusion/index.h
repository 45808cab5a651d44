#pragma once

/*
 * The vector index: named collections of items, each with a unit vector of the shared space, in one
 * SQLite database per user. Vectors are kept as int8, by which all are compared, and as f16, by
 * which the best are compared again; beside them stands the digest of the model that made them.
 * Used by one thread at a time, by one process at a time.
 *
 * Errors, besides those of the file: -EBADMSG the file is damaged; -ESTALE another model made the
 * collection's vectors; -ENOENT no such collection or item; -EDQUOT beyond a ceiling below;
 * -ENOSPC the disk is full; -EINVAL a name, text or vector that cannot be kept.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "encoders/encoder.h"
#include "engine/base/cleanup.h"

#define INDEX_VECTOR          256
#define INDEX_DIGEST          32
#define INDEX_COLLECTIONS_MAX 64
#define INDEX_ITEMS_MAX       1000000
#define INDEX_BYTES_MAX       ((int64_t)2 << 30)
#define INDEX_NAME_MAX        255 /* bytes of a name, an item's id, a key */
#define INDEX_TEXT_MAX        65536
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

/* score: the cosine; rank: from 1. */
typedef struct IndexHit {
    char *id;
    double score;
    uint32_t rank;
} IndexHit;

/* path is made with mode 0600 where it is missing. */
int index_open(const char *path, Index **ret_index);
Index *index_close(Index *x);
DEFINE_CLEANUP(Index *, index_close);

/* Makes the collection where it is missing. */
int index_collection(Index *x, const char *name, const uint8_t digest[INDEX_DIGEST]);
int index_delete(Index *x, const char *name);
/* -ESTALE without looking any further when digest is not the collection's. Every call is done as a
 * whole or not at all; an item replaces the one of the same id. */
int index_put(Index *x, const char *name, const uint8_t digest[INDEX_DIGEST],
              const IndexItem *items, size_t n);
/* Removes those that are there and counts them. */
int index_remove(Index *x, const char *name, const char *const *ids, size_t n, size_t *ret_removed);
/* The text of one item; caller frees. */
int index_text(Index *x, const char *name, const char *id, Modality *ret_modality, char **ret_text);
int index_count(Index *x, const char *name, size_t *ret_items);
/* When it returns 0, all that was done before is on the disk. */
int index_sync(Index *x);

/* Exact: every item that the filters leave is compared. Hits in falling order, caller frees with
 * index_hits_free(); ret_more: there are more after these. */
int index_search(Index *x, const char *name, const uint8_t digest[INDEX_DIGEST],
                 const IndexQuery *query, IndexHit **ret_hits, size_t *ret_n, bool *ret_more);
void index_hits_free(IndexHit *hits, size_t n);
