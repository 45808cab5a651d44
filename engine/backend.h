#pragma once

/*
 * The seam between models and hardware: an op table that the CPU engine fills and a GPU engine can.
 *
 * Buffers given to ops are backend memory (backend->alloc); on the CPU they are plain pointers.
 * All activations are f32 rows, contiguous, `[n, width]`. Ops return nothing: shapes are the
 * caller's duty (asserted), memory is reserved before the step path, and a device error is read
 * once a step by sync(). n = 0 is legal everywhere and does nothing. A row's bits never depend on
 * the other rows of a call nor on the number of threads. Formulas: engine/MODEL.md.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "engine/base/cleanup.h"
#include "engine/base/tensor.h"

typedef struct Backend Backend;

/* How products treat activations: MODEL.md section 1. */
typedef enum Precision {
    PRECISION_INT8, /* activations quantised per 32 for quantised weights; bf16 for BF16, where the
                     * machine multiplies it; else f32 */
    PRECISION_F32,  /* weights dequantised, activations f32 */
} Precision;

/* Activation rows made ready for products: quantised once, used by several. Opaque per backend; one
 * Packed is rewritten by each pack() into it. */
typedef struct Packed Packed;

/* One product over selected rows: for j in 0 … n - 1
 *     y[dst[j]] (+)= scale[j] * (w · x[src[j]])
 * src NULL: row j; dst NULL: row j; scale NULL: 1. With accumulate, different j must not share a
 * dst. y_stride is in floats. bias [out] or NULL is added before the scale. */
typedef struct Product {
    const Tensor *w; /* [out, in], any type */
    Packed *x;       /* gets the form that its products want when the first of them does */
    size_t n;
    const int32_t *src;
    const int32_t *dst;
    const float *scale;
    const float *bias;
    float *y;
    size_t y_stride;
    bool accumulate;
} Product;

/* How cached keys and values are kept. */
typedef enum KvType {
    KV_F32,
    KV_F16,
    KV_Q8, /* int8 with a scale for every 32, as products take activations; head_dim % 32 == 0 */
    _KV_TYPE_COUNT,
} KvType;

/* One query row of attention in one group: keys and values are pages of KV_PAGE rows. What lies
 * inside a page is the backend's: only kv_store() writes them. */
#define KV_PAGE 32
typedef struct AttentionRow {
    const float *q;       /* [head_count, head_dim]: the query heads that share this key head */
    const float *k, *v;   /* [head_dim]: this row's own, for kv_store() */
    float *out;           /* [head_count, head_dim] */
    void *const *k_pages; /* each kv_page_bytes() long, 64-byte aligned */
    void *const *v_pages;
    const float *const *log_gate; /* each [KV_PAGE]: ln g of the key; NULL entries/array = 0 */
    uint32_t length;              /* visible keys, >= 1 */
} AttentionRow;

/* Bytes of a page of keys, and of one of values. */
static inline size_t kv_page_bytes(KvType kv, size_t head_dim)
{
    size_t n = KV_PAGE * head_dim;

    return kv == KV_F32 ? n * 4 : kv == KV_F16 ? n * 2 : n + n / 32 * sizeof(uint16_t);
}

typedef struct BackendOps {
    void *(*alloc)(Backend *b, size_t bytes); /* 64-byte aligned, zeroed; NULL on failure */
    void (*free)(Backend *b, void *p);

    /* Room for n rows of `width` at most. Not on the step path: scratch of the products grows
     * here. */
    Packed *(*packed_new)(Backend *b, size_t max_rows, size_t max_width);
    void (*packed_free)(Backend *b, Packed *p);
    /* p = rows [n, width] of x (x_stride floats apart), as `precision` wants them. The f32
     * rows are copied or borrowed in both precisions, since products with weights that are not
     * quantised use them: x must stay unchanged until the last product that uses p. In int8 rows
     * whose width is not a multiple of 32 serve such weights only. */
    void (*pack)(Backend *b, Packed *p, const float *x, size_t x_stride, size_t n, size_t width);

    /* Several independent products in one go: split over the threads together. The routed layers
     * call this with many products of few rows (src set, dst NULL: each writes a run of rows of one
     * buffer): small calls are done by the caller's thread alone. */
    void (*products)(Backend *b, const Product *products, size_t count);
    /* y[j] = row ids[j] of table, dequantised: [n, width]. */
    void (*embed)(Backend *b, const Tensor *table, const int32_t *ids, size_t n, float *y,
                  size_t y_stride);

    /* y = RMS(x; w) over rows of `width`; w NULL = ones. x may be y. */
    void (*rms_norm)(Backend *b, const float *x, const float *w, float eps, size_t n, size_t width,
                     float *y);
    /* In place rotate-half over rows [n, n_heads, head_dim]; cos_sin [n, head_dim] = cos[dh/2] then
     * sin[dh/2] a row. */
    void (*rope)(Backend *b, float *x, size_t n, size_t n_heads, size_t head_dim,
                 const float *cos_sin);
    /* y = silu(a) * b over `count` floats. a or b may be y. */
    void (*silu_mul)(Backend *b, const float *a, const float *b_, size_t count, float *y);
    void (*silu)(Backend *b, float *x, size_t count);
    void (*add)(Backend *b, float *y, const float *x, size_t count);
    /* y[j] = (…(y[j] + x[index[first[j]]]) + …) + x[index[first[j + 1] - 1]]: rows of `width`,
     * added in this order. Routed outputs of a row come together here: n rows of y, first [n +
     * 1]. */
    void (*sum_indexed)(Backend *b, const float *x, const int32_t *index, const int32_t *first,
                        size_t n, size_t width, float *y);

    /* Bidirectional attention of one encoder: q, k, v, out [n, n_heads * head_dim]. head_dim is a
     * multiple of 16, at most 128, here and below. */
    void (*attention_full)(Backend *b, const float *q, const float *k, const float *v, size_t n,
                           size_t n_heads, size_t head_dim, float *out);
    /* Rows over paged caches. Rows that share one cache follow each other with the same k_pages
     * pointer and growing length, so a tile of them can share each page read. */
    void (*attention_paged)(Backend *b, const AttentionRow *rows, size_t count, size_t n_heads,
                            size_t head_dim, KvType kv);
    /* Stores k and v of each row as the last visible row of its caches, length - 1. Keys may lie
     * in a page turned over; attention_paged() knows how. */
    void (*kv_store)(Backend *b, const AttentionRow *rows, size_t count, size_t head_dim,
                     KvType kv);
    /* Pooling: out[q * width …] = Σ_t softmax_t(query_q · x_t / sqrt(width)) x_t. */
    void (*attention_pool)(Backend *b, const float *x, size_t n, size_t width, const float *query,
                           size_t n_queries, float *out);

    int (*sync)(Backend *b); /* 0 or -EIO */
} BackendOps;

struct Backend {
    const BackendOps *ops;
    const char *name; /* "cpu" */
    char detail[96];  /* e.g. "avx512vnni, 2 threads" */
    Precision precision;
};

/* CPU engine: engine/cpu/backend.c. n_threads 0 = the CPUs of this process; isa_mask 0 = whatever
 * the machine has, otherwise the features allowed (engine/cpu/cpuid.h). */
int backend_cpu_open(unsigned n_threads, Precision precision, unsigned isa_mask,
                     Backend **ret_backend);
Backend *backend_close(Backend *b);
DEFINE_CLEANUP(Backend *, backend_close);
