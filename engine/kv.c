#include "engine/kv.h"

#include <assert.h>
#include <math.h>

int kv_pool_init(KvPool *p, Backend *backend, KvType type, size_t n_pages, size_t head_dim)
{
    if (n_pages == 0 || n_pages > UINT32_MAX / KV_PAGE)
        return -ENOMEM;

    *p = (KvPool){
        .backend = backend,
        .page_bytes = kv_page_bytes(type, head_dim),
        .row_bytes = kv_page_bytes(type, head_dim) / KV_PAGE,
        .type = type,
        .n_pages = n_pages,
        .n_free = n_pages,
    };
    p->keys = backend->ops->alloc(backend, n_pages * p->page_bytes);
    p->values = backend->ops->alloc(backend, n_pages * p->page_bytes);
    p->log_gates = backend->ops->alloc(backend, n_pages * KV_PAGE * sizeof(float));
    p->positions = calloc(n_pages, KV_PAGE * sizeof(uint32_t));
    p->free_pages = calloc(n_pages, sizeof(uint32_t));
    if (!p->keys || !p->values || !p->log_gates || !p->positions || !p->free_pages) {
        kv_pool_deinit(p);
        return -ENOMEM;
    }
    /* Low pages go out first, so that little of the pool is ever touched. */
    for (uint32_t i = 0; i < p->n_pages; i++)
        p->free_pages[i] = p->n_pages - 1 - i;
    return 0;
}

void kv_pool_deinit(KvPool *p)
{
    if (!p->backend)
        return;
    p->backend->ops->free(p->backend, p->keys);
    p->backend->ops->free(p->backend, p->values);
    p->backend->ops->free(p->backend, p->log_gates);
    free(p->positions);
    free(p->free_pages);
    *p = (KvPool){0};
}

static uint32_t page_index(const KvPool *p, const KvLane *lane, uint32_t row)
{
    return (uint32_t)(((const char *)lane->k_pages[row / KV_PAGE] - p->keys) / p->page_bytes);
}

int kv_append(KvPool *p, KvLane *lane, uint32_t position, float gate)
{
    uint32_t slot = lane->count / KV_PAGE, row = lane->count % KV_PAGE;
    if (row == 0) {
        if (p->n_free == 0)
            return -ENOSPC;
        uint32_t page = p->free_pages[--p->n_free];
        lane->k_pages[slot] = p->keys + page * p->page_bytes;
        lane->v_pages[slot] = p->values + page * p->page_bytes;
        lane->log_gates[slot] = p->log_gates + (size_t)page * KV_PAGE;
    }
    size_t cell = (size_t)page_index(p, lane, lane->count) * KV_PAGE + row;
    p->log_gates[cell] = gate == 1.0f ? 0.0f : logf(gate);
    p->positions[cell] = position;
    lane->count++;
    return 0;
}

void kv_truncate(KvPool *p, KvLane *lane, uint32_t position)
{
    while (lane->count > 0) {
        uint32_t last = lane->count - 1, page = page_index(p, lane, last);
        if (p->positions[(size_t)page * KV_PAGE + last % KV_PAGE] < position)
            return;
        if (last % KV_PAGE == 0) {
            assert(p->n_free < p->n_pages);
            p->free_pages[p->n_free++] = page;
        }
        lane->count = last;
    }
}

static size_t pages_of(size_t context_length)
{
    return (context_length + KV_PAGE - 1) / KV_PAGE;
}

size_t kv_table_length(size_t context_length)
{
    return 3 * pages_of(context_length);
}

void kv_lane_bind(KvLane *lane, void **table, size_t context_length)
{
    size_t n = pages_of(context_length);
    *lane = (KvLane){
        .k_pages = table,
        .v_pages = table + n,
        .log_gates = (const float **)(table + 2 * n),
    };
}
