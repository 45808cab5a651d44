#pragma once

/*
 * Caches of keys and values, kept per group: a row stands only in the groups that it took part
 * in.
 *
 * Lane: the cache of one (layer, group) of one session, a list of pages from a pool sized at
 * open, so nothing grows on the step path. A row's visible length in a lane is the number of
 * rows there when it was appended. Positions are kept only to truncate.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "engine/backend.h"

typedef struct KvPool {
    Backend *backend;
    size_t page_bytes; /* of keys, and of values */
    size_t row_bytes;  /* of a key, and of a value */
    KvType type;
    uint32_t n_pages, n_free;
    char *keys, *values;  /* [n_pages][KV_PAGE, head_dim] */
    float *log_gates;     /* [n_pages][KV_PAGE] */
    uint32_t *positions;  /* [n_pages][KV_PAGE] */
    uint32_t *free_pages; /* a stack of the n_free unused ones */
} KvPool;

typedef struct KvLane {
    uint32_t count;            /* rows cached */
    void **k_pages, **v_pages; /* tables for every page that a full context needs */
    const float **log_gates;
} KvLane;

int kv_pool_init(KvPool *p, Backend *backend, KvType type, size_t n_pages, size_t head_dim);
void kv_pool_deinit(KvPool *p);

/* Takes the next row of a lane; kv_store() fills it. -ENOSPC: no page is left. */
int kv_append(KvPool *p, KvLane *lane, uint32_t position, float gate);
/* Forgets rows from `position` on and gives their pages back. */
void kv_truncate(KvPool *p, KvLane *lane, uint32_t position);

/* Page tables of n lanes in one block of pointers, bound with lane_bind; length of the block in
 * pointers. */
size_t kv_table_length(size_t context_length);
void kv_lane_bind(KvLane *lane, void **table, size_t context_length);
