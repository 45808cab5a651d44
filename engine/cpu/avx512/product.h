#pragma once

/* What products of quantised weights have in common. */

#include "engine/cpu/avx512/tile.h"

/* sum += dots times the scales */
inline_always __m512 dots_add(__m512 sum, __m512i dots, __m512 scales, float scale)
{
    return _mm512_fmadd_ps(_mm512_cvtepi32_ps(dots), _mm512_mul_ps(scales, _mm512_set1_ps(scale)),
                           sum);
}

/* The rows that come next, as far ahead as one tile: sixteen streams of short rows are more than
 * the hardware follows. Into the second level of the cache, for the first is as large as a tile.
 * Fetching past the last one does no harm. */
inline_always void fetch_ahead(Rows rows, size_t index, size_t group_bytes)
{
    const uint8_t *next = rows.base + OUTS * (rows.stride + index * group_bytes);

    for (size_t i = 0; i < OUTS * group_bytes; i += 64)
        _mm_prefetch((const char *)next + i, _MM_HINT_T1);
}

inline_always void store(const Product *p, size_t j, size_t out, __mmask16 mask, __m512 sum)
{
    float *y = product_dst(p, j) + out;

    if (p->bias)
        sum = _mm512_add_ps(sum, _mm512_maskz_loadu_ps(mask, p->bias + out));
    if (p->scale)
        sum = _mm512_mul_ps(sum, _mm512_set1_ps(p->scale[j]));
    if (p->accumulate)
        sum = _mm512_add_ps(_mm512_maskz_loadu_ps(mask, y), sum);
    _mm512_mask_storeu_ps(y, mask, sum);
}

/* Sixteen rows from `out` on, or as many as there are: then they are filled up in `copy`, and what
 * the others give is masked off. */
inline_always Rows rows_init(const Product *p, size_t out, size_t n_outs, uint8_t *copy)
{
    Rows rows = {tensor_row(p->w, (int64_t)out), dtype_row_bytes(p->w->dtype, p->w->ne[0])};

    if (n_outs < OUTS) {
        memcpy(copy, rows.base, n_outs * rows.stride);
        memset(copy + n_outs * rows.stride, 0, (OUTS - n_outs) * rows.stride);
        rows.base = copy;
    }
    return rows;
}
