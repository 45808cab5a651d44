#include "engine/cpu/backend.h"

#include <assert.h>
#include <stdbool.h>

/* Queries that one thread takes of an encoder's head at a time. */
#define FULL_QUERIES 32

typedef struct FullWork {
    const Kernels *kernels;
    const float *q, *k, *v;
    float *out;
    size_t n, n_heads, head_dim;
} FullWork;

static void full_range(void *userdata, size_t begin, size_t end, unsigned worker)
{
    const FullWork *f = userdata;
    size_t tiles = (f->n + FULL_QUERIES - 1) / FULL_QUERIES;

    (void)worker;
    for (size_t i = begin; i < end; i++) {
        size_t offset = i / tiles * f->head_dim, first = i % tiles * FULL_QUERIES;
        size_t last = first + FULL_QUERIES < f->n ? first + FULL_QUERIES : f->n;

        f->kernels->attention_full(f->q + offset, f->k + offset, f->v + offset, f->n,
                                   f->n_heads * f->head_dim, f->head_dim, first, last,
                                   f->out + offset);
    }
}

void cpu_attention_full(Backend *b, const float *q, const float *k, const float *v, size_t n,
                        size_t n_heads, size_t head_dim, float *out)
{
    CpuBackend *cpu = cpu_backend(b);
    FullWork work = {&cpu->kernels, q, k, v, out, n, n_heads, head_dim};

    assert(head_dim % 16 == 0 && head_dim <= ATTENTION_DIM_MAX);
    pool_for(cpu->pool, n_heads * ((n + FULL_QUERIES - 1) / FULL_QUERIES),
             cpu_grain(FULL_QUERIES * n * head_dim / 4), full_range, &work);
}

/* Queries, rows times heads, that go through a cache together: each page that one of them reads
 * serves all, and is made floats once for several. */
#define TILE_QUERIES ATTENTION_HEADS_MAX

typedef struct PagedWork {
    CpuBackend *cpu;
    const AttentionRow *rows;
    size_t n_heads, head_dim;
    KvType kv;
    size_t count;
    size_t firsts[CPU_PARTS_MAX + 1]; /* shared rows only: number of the first part of each */
} PagedWork;

static size_t row_parts(const AttentionRow *row)
{
    return (row->length + ATTENTION_PART - 1) / ATTENTION_PART;
}

static void part_run(const PagedWork *w, const AttentionRow *rows, size_t n_rows, size_t part,
                     AttentionPart *out)
{
    size_t begin = part * ATTENTION_PART;

    w->cpu->kernels.attention_part(rows, n_rows, w->n_heads, w->head_dim, w->kv, begin,
                                   begin + ATTENTION_PART, out);
}

static void row_finish(const PagedWork *w, const AttentionRow *row, const AttentionPart *parts)
{
    for (size_t h = 0; h < w->n_heads; h++)
        attention_finish(&parts[h], w->head_dim, row->out + h * w->head_dim);
}

static void row_merge(const PagedWork *w, AttentionPart *parts, const AttentionPart *next)
{
    for (size_t h = 0; h < w->n_heads; h++)
        attention_merge(&parts[h], &next[h], w->head_dim);
}

/* Rows of one cache; those that see no more keys drop out at the front. */
static void tile_run(const PagedWork *w, const AttentionRow *rows, size_t n_rows)
{
    AttentionPart parts[TILE_QUERIES], next[TILE_QUERIES];
    size_t done = 0;

    part_run(w, rows, n_rows, 0, parts);
    for (size_t part = 1; part < row_parts(&rows[n_rows - 1]); part++) {
        while (row_parts(&rows[done]) <= part)
            done++;
        part_run(w, rows + done, n_rows - done, part, next);
        for (size_t i = done; i < n_rows; i++)
            row_merge(w, parts + i * w->n_heads, next + (i - done) * w->n_heads);
    }
    for (size_t i = 0; i < n_rows; i++)
        row_finish(w, &rows[i], parts + i * w->n_heads);
}

static bool same_cache(const AttentionRow *a, const AttentionRow *b)
{
    return a->k_pages == b->k_pages && a->v_pages == b->v_pages && a->log_gate == b->log_gate &&
           a->length <= b->length;
}

/* Runs of `tile` rows, of one or several caches. */
static void paged_range(void *userdata, size_t begin, size_t end, unsigned worker)
{
    const PagedWork *w = userdata;
    size_t tile = TILE_QUERIES / w->n_heads, last = end * tile < w->count ? end * tile : w->count;

    (void)worker;
    for (size_t i = begin * tile; i < last;) {
        size_t n = 1;

        while (n < tile && i + n < last && same_cache(&w->rows[i + n - 1], &w->rows[i + n]))
            n++;
        tile_run(w, &w->rows[i], n);
        i += n;
    }
}

/* Parts of all rows, numbered through. */
static void parts_range(void *userdata, size_t begin, size_t end, unsigned worker)
{
    const PagedWork *w = userdata;
    size_t i = 0;

    (void)worker;
    for (size_t unit = begin; unit < end; unit++) {
        while (w->firsts[i + 1] <= unit)
            i++;
        part_run(w, &w->rows[i], 1, unit - w->firsts[i], &w->cpu->parts[unit * w->n_heads]);
    }
}

/* The same sums as paged_range() in the same order, with the parts computed by any thread. */
static void paged_shared(PagedWork *w, size_t n_parts)
{
    AttentionPart *parts = w->cpu->parts;

    pool_for(w->cpu->pool, n_parts, 1, parts_range, w);
    for (size_t i = 0; i < w->count; i++) {
        AttentionPart *first = &parts[w->firsts[i] * w->n_heads];

        for (size_t part = 1; part < row_parts(&w->rows[i]); part++)
            row_merge(w, first, first + part * w->n_heads);
        row_finish(w, &w->rows[i], first);
    }
}

void cpu_attention_paged(Backend *b, const AttentionRow *rows, size_t count, size_t n_heads,
                         size_t head_dim, KvType kv)
{
    CpuBackend *cpu = cpu_backend(b);
    PagedWork work = {.cpu = cpu,
                      .rows = rows,
                      .n_heads = n_heads,
                      .head_dim = head_dim,
                      .kv = kv,
                      .count = count};
    size_t keys = 0, n_parts = 0, tile = TILE_QUERIES / n_heads;

    assert(head_dim % (kv == KV_Q8 ? 32 : 16) == 0 && head_dim <= ATTENTION_DIM_MAX);
    assert(n_heads > 0 && n_heads <= ATTENTION_HEADS_MAX);
    for (size_t i = 0; i < count; i++) {
        assert(rows[i].length > 0);
        if (n_parts < CPU_PARTS_MAX)
            work.firsts[i] = n_parts;
        keys += rows[i].length;
        n_parts += row_parts(&rows[i]);
    }
    if (count == 0)
        return;
    if (n_parts > count && n_parts * n_heads <= CPU_PARTS_MAX) {
        work.firsts[count] = n_parts;
        paged_shared(&work, n_parts);
    } else
        pool_for(cpu->pool, (count + tile - 1) / tile,
                 cpu_grain(keys / count * tile * n_heads * head_dim / 4), paged_range, &work);
}

typedef struct PoolWork {
    const Kernels *kernels;
    const float *x, *query;
    float *out;
    size_t n, width;
} PoolWork;

static void pool_range(void *userdata, size_t begin, size_t end, unsigned worker)
{
    const PoolWork *p = userdata;

    (void)worker;
    for (size_t i = begin; i < end; i++)
        p->kernels->attention_pool(p->x, p->n, p->width, p->query + i * p->width,
                                   p->out + i * p->width);
}

void cpu_attention_pool(Backend *b, const float *x, size_t n, size_t width, const float *query,
                        size_t n_queries, float *out)
{
    CpuBackend *cpu = cpu_backend(b);
    PoolWork work = {&cpu->kernels, x, query, out, n, width};

    assert(n > 0 && width % 16 == 0);
    pool_for(cpu->pool, n_queries, cpu_grain(n * width / 4), pool_range, &work);
}
