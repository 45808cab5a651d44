#include "engine/cpu/backend.h"

#include <assert.h>

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

static void part_run(const PagedWork *w, const AttentionRow *row, size_t part, AttentionPart *out)
{
    size_t begin = part * ATTENTION_PART, end = begin + ATTENTION_PART;

    w->cpu->kernels.attention_part(row, w->n_heads, w->head_dim, w->kv == KV_F16, begin,
                                   end < row->length ? end : row->length, out);
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

static void paged_range(void *userdata, size_t begin, size_t end, unsigned worker)
{
    const PagedWork *w = userdata;
    AttentionPart parts[ATTENTION_HEADS_MAX], next[ATTENTION_HEADS_MAX];

    (void)worker;
    for (size_t i = begin; i < end; i++) {
        const AttentionRow *row = &w->rows[i];

        part_run(w, row, 0, parts);
        for (size_t part = 1; part < row_parts(row); part++) {
            part_run(w, row, part, next);
            row_merge(w, parts, next);
        }
        row_finish(w, row, parts);
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
        part_run(w, &w->rows[i], unit - w->firsts[i], &w->cpu->parts[unit * w->n_heads]);
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
    size_t keys = 0, n_parts = 0;

    assert(head_dim % 16 == 0 && head_dim <= ATTENTION_DIM_MAX && n_heads <= ATTENTION_HEADS_MAX);
    for (size_t i = 0; i < count; i++) {
        assert(rows[i].length > 0);
        if (n_parts < CPU_PARTS_MAX)
            work.firsts[i] = n_parts;
        keys += rows[i].length;
        n_parts += row_parts(&rows[i]);
    }
    if (count == 0)
        return;

    size_t grain = cpu_grain(keys / count * n_heads * head_dim / 4);

    if (n_parts > count && n_parts * n_heads <= CPU_PARTS_MAX) {
        work.firsts[count] = n_parts;
        paged_shared(&work, n_parts);
    } else
        pool_for(cpu->pool, count, grain, paged_range, &work);
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
