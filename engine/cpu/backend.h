#pragma once

/* What an open CPU back end holds. Private to this folder. */

#include "engine/base/pool.h"
#include "engine/cpu/kernels.h"

/* Products of one turn of the pool; longer lists take several. */
#define CPU_PRODUCTS_MAX 256
/* Parts of long attention rows that several threads work on at once; beyond, rows are shared out
 * whole. */
#define CPU_PARTS_MAX 512

typedef struct CpuBackend {
    Backend backend;
    Kernels kernels;
    unsigned features; /* of cpuid.h: what kernels are chosen by */
    Pool *pool;
    void *scratch[POOL_THREADS_MAX]; /* one a thread, scratch_bytes each */
    size_t scratch_bytes;
    AttentionPart *parts; /* [CPU_PARTS_MAX] */
} CpuBackend;

static inline CpuBackend *cpu_backend(Backend *b)
{
    return (CpuBackend *)b;
}

/* Rows, or runs of floats, that are worth handing to another thread: a few microseconds of
 * work when each row costs `cost` operations of one vector lane. */
static inline size_t cpu_grain(size_t cost)
{
    size_t grain = 65536 / (cost ? cost : 1);

    return grain ? grain : 1;
}

/* products.c */
Packed *cpu_packed_new(Backend *b, size_t max_rows, size_t max_width);
void cpu_packed_free(Backend *b, Packed *p);
void cpu_pack(Backend *b, Packed *p, const float *x, size_t x_stride, size_t n, size_t width);
void cpu_products(Backend *b, const Product *products, size_t count);

/* rows.c */
void cpu_embed(Backend *b, const Tensor *table, const int32_t *ids, size_t n, float *y,
               size_t y_stride);
void cpu_rms_norm(Backend *b, const float *x, const float *w, float eps, size_t n, size_t width,
                  float *y);
void cpu_rope(Backend *b, float *x, size_t n, size_t n_heads, size_t head_dim,
              const float *cos_sin);
void cpu_silu_mul(Backend *b, const float *a, const float *b_, size_t count, float *y);
void cpu_silu(Backend *b, float *x, size_t count);
void cpu_add(Backend *b, float *y, const float *x, size_t count);
void cpu_sum_indexed(Backend *b, const float *x, const int32_t *index, const int32_t *first,
                     size_t n, size_t width, float *y);
void cpu_kv_store(Backend *b, const AttentionRow *rows, size_t count, size_t head_dim, KvType kv);

/* attend.c */
void cpu_attention_full(Backend *b, const float *q, const float *k, const float *v, size_t n,
                        size_t n_heads, size_t head_dim, float *out);
void cpu_attention_paged(Backend *b, const AttentionRow *rows, size_t count, size_t n_heads,
                         size_t head_dim, KvType kv);
void cpu_attention_pool(Backend *b, const float *x, size_t n, size_t width, const float *query,
                        size_t n_queries, float *out);
