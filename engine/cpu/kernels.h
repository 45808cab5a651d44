#pragma once

/*
 * The table of kernels: one row per inner loop, with its contract. ref/ holds the shortest
 * correct form of each and defines what it computes; avx2/ and avx512/ override what they do
 * faster.
 *
 * Float pointers are aligned to 4 bytes and no more unless said; weights of Q8_0 are not aligned
 * at all. Buffers do not overlap unless said. Sizes may be zero only where said. Inputs are
 * finite; others give numbers of no meaning, never a fault.
 *
 * Within one table a kernel gives a row the same bits whatever other rows, outputs or ranges
 * share the call: sums run in one fixed order. Between tables floats differ in rounding;
 * `tolerance` is the normalised error |a - b| / |b| that tests allow.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "engine/backend.h"
#include "engine/base/quant.h"
#include "engine/cpu/scan.h"

/* Rows ready for products. A row is `row_bytes` long, aligned to 64: int8 [width] rounded up to 64,
 * then four numbers for each run of 32, kind by kind: the f32 scale; an int32, -128 times the sum
 * of the int8, which is what a product takes off whose weights were moved up by 128 to become
 * unsigned; the same of the first half alone; the f32 sum of the values, scale times sum, which
 * meets the weights' minima. */
struct Packed {
    size_t max_rows, max_width;
    size_t n, width;
    const float *x; /* borrowed: the f32 rows */
    size_t x_stride;
    uint8_t *rows; /* NULL in PRECISION_F32 */
    size_t row_bytes;
    bool quantised;
    uint16_t *bf16;  /* [n, packed_bf16_stride(width)], zero past the width; NULL: never wanted */
    bool bf16_ready; /* else to be made before the first product that wants it */
};

static inline size_t packed_scales_at(size_t width)
{
    return (width + 63) / 64 * 64;
}

static inline size_t packed_row_bytes(size_t width)
{
    return (packed_scales_at(width) + width / QUANT_RUN * 16 + 63) / 64 * 64;
}

static inline const int8_t *packed_row(const Packed *p, size_t row)
{
    return (const int8_t *)(p->rows + row * p->row_bytes);
}

static inline const float *packed_scales(const Packed *p, const int8_t *row)
{
    return (const float *)(const void *)(row + packed_scales_at(p->width));
}

static inline const int32_t *packed_offsets(const Packed *p, const int8_t *row)
{
    return (const int32_t *)(packed_scales(p, row) + p->width / QUANT_RUN);
}

static inline const int32_t *packed_half_offsets(const Packed *p, const int8_t *row)
{
    return packed_offsets(p, row) + p->width / QUANT_RUN;
}

static inline const float *packed_sums(const Packed *p, const int8_t *row)
{
    return packed_scales(p, row) + 3 * (p->width / QUANT_RUN);
}

/* Where the numbers of a row go. */
typedef struct PackedNumbers {
    float *scales;
    int32_t *offsets, *half_offsets;
    float *sums;
} PackedNumbers;

static inline PackedNumbers packed_numbers(int8_t *row, size_t width)
{
    size_t n = width / QUANT_RUN;
    float *scales = (float *)(void *)(row + packed_scales_at(width));

    return (PackedNumbers){scales, (int32_t *)(void *)(scales + n),
                           (int32_t *)(void *)(scales + 2 * n), scales + 3 * n};
}

static inline size_t packed_bf16_stride(size_t width)
{
    return (width + 31) / 32 * 32;
}

/* Row that product p reads and writes for its j-th. */
static inline size_t product_src(const Product *p, size_t j)
{
    return p->src ? (size_t)p->src[j] : j;
}

static inline float *product_dst(const Product *p, size_t j)
{
    return p->y + (p->dst ? (size_t)p->dst[j] : j) * p->y_stride;
}

/* Ranges of outputs begin at multiples of this. */
#define PRODUCT_OUTS 16
/* Bytes of scratch, aligned to 64, that a product of this width needs: what a kernel keeps of its
 * own, then a few rows of weights, in their type or as f32. */
#define PRODUCT_SCRATCH_MIN 49152
static inline size_t product_scratch(size_t width)
{
    return PRODUCT_SCRATCH_MIN + 20 * width + 64;
}

/* Keys of one attention part: longer rows are computed in parts and merged in order, so that
 * several threads can share one row without changing its bits. */
#define ATTENTION_PART      512
#define ATTENTION_DIM_MAX   128
#define ATTENTION_HEADS_MAX 16 /* query heads over one key head */

/* Unnormalised attention over some keys of one head: the sum is e^largest times too small. */
typedef struct AttentionPart {
    float largest, sum;
    float out[ATTENTION_DIM_MAX];
} AttentionPart;

/* Outputs [out_begin, out_end) of p for all its rows; out_begin is a multiple of PRODUCT_OUTS. */
typedef void (*ProductFunc)(const Product *p, size_t out_begin, size_t out_end, void *scratch);

typedef struct Kernels {
    /* One row of Packed from x [width], width a multiple of 32: MODEL.md section 1. Exact:
     * same bits in every table. */
    void (*pack_q8)(const float *x, size_t width, int8_t *q, const PackedNumbers *n);

    /* Weights of any quantised type over the int8 rows. An output is the sum over runs, first to
     * last, of (scale of w * scale of x) * integer dot, half by half where halves have scales of
     * their own, and then minimum of w * sum of x; each is added with one rounding (fma) or two.
     * Tolerance 1e-5. */
    ProductFunc product_int8;
    /* Weights of any type, dequantised, over the f32 rows. Tolerance 1e-5. */
    ProductFunc product_f32;
    /* Weights of BF16 over the bf16 rows, sums in f32; numbers below the normal ones count as zero
     * or not. Tolerance 1e-5. */
    ProductFunc product_bf16;

    /* y [n] = values of a row of any type; n is a multiple of its block. Exact. */
    void (*unpack)(DType dtype, const void *row, size_t n, float *y);
    /* To half precision, nearest even, and back. Exact. */
    void (*f16_from_f32)(const float *x, size_t n, uint16_t *y);
    void (*f32_from_f16)(const uint16_t *x, size_t n, float *y);
    /* To bfloat16, nearest even; what is below the normal numbers may become zero. Exact else. */
    void (*bf16_from_f32)(const float *x, size_t n, uint16_t *y);

    /* One row; w may be NULL, y may be x. Tolerance 4e-6. */
    void (*rms_norm)(const float *x, const float *w, float eps, size_t width, float *y);
    /* One row of n_heads heads in place; head_dim a multiple of 2. Tolerance 1e-6. */
    void (*rope)(float *x, size_t n_heads, size_t head_dim, const float *cos_sin);
    /* y = silu(a) * b, or silu(a) when b is NULL; y may be a or b. n may be 0. Tolerance 1e-6. */
    void (*silu_mul)(const float *a, const float *b, size_t n, float *y);
    /* y += x. n may be 0. Exact. */
    void (*add)(float *y, const float *x, size_t n);

    /* Keys [begin, end) for each head of rows that share a cache, ATTENTION_PART at most; begin is
     * a multiple of KV_PAGE. Rows are in the order of their lengths, and see no keys past those;
     * each sees one of these at least. parts [n_rows, n_heads]. A page of keys is turned over,
     * [head_dim, KV_PAGE], so that scores are sums down its columns; a page of values is [KV_PAGE,
     * head_dim]. With KV_Q8 a page of keys is int8 [head_dim / 4, KV_PAGE, 4], one of values int8
     * [KV_PAGE, head_dim], and f16 scales [head_dim / 32, KV_PAGE] follow; queries are rounded as
     * pack_q8() does and a score is a sum of integer dots times both scales. Pages are read whole:
     * what is past the end counts for nothing but is finite. Tolerance 1e-5 after
     * attention_finish(). */
    void (*attention_part)(const AttentionRow *rows, size_t n_rows, size_t n_heads, size_t head_dim,
                           KvType kv, size_t begin, size_t end, AttentionPart *parts);
    /* Queries [begin, end) of one head, all n keys; rows are `stride` floats apart. head_dim as in
     * backend.h. Tolerance 1e-5. */
    void (*attention_full)(const float *q, const float *k, const float *v, size_t n, size_t stride,
                           size_t head_dim, size_t begin, size_t end, float *out);
    /* One query of attention_pool(): width a multiple of 16, n >= 1. Tolerance 1e-5. */
    void (*attention_pool)(const float *x, size_t n, size_t width, const float *query, float *out);
    /* scan.h. Exact. */
    ScanFunc scan_q8;
} Kernels;

/* part = part and next together; then the finished row. The same C for every table. */
void attention_merge(AttentionPart *part, const AttentionPart *next, size_t head_dim);
void attention_finish(const AttentionPart *part, size_t head_dim, float *out);

/* Fills the table for these features of cpuid.h. */
void kernels_init(Kernels *k, unsigned features);

/* Each library overrides what it has. */
void kernels_init_ref(Kernels *k);
void kernels_init_avx2(Kernels *k);
void kernels_init_avx512(Kernels *k, unsigned features);
