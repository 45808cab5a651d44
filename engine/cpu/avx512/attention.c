#include "engine/cpu/avx512/avx512.h"

#include <math.h>
#include <string.h>

#include "engine/cpu/avx512/vec.h"

/* Softmax over keys that arrive in tiles, as in the AVX2 form; a tile is two registers of keys. */

#define TILE      KV_PAGE
#define TILE_VECS 2

_Static_assert(TILE == 16 * TILE_VECS, "a tile is two registers");

/* Sums so far of one query, relative to the largest score so far. */
typedef struct Softmax {
    float largest, sum;
} Softmax;

/* The scores s become weights; returns what sums so far are to be multiplied by. Keys from count on
 * are not there: their weight is zero. */
inline_always float tile_softmax(Softmax *m, __m512 s[TILE_VECS], size_t count)
{
    float largest, keep;

    if (count < TILE) {
        __mmask32 there = (__mmask32)((1ull << count) - 1);

        s[0] = _mm512_mask_mov_ps(_mm512_set1_ps(-INFINITY), (__mmask16)there, s[0]);
        s[1] = _mm512_mask_mov_ps(_mm512_set1_ps(-INFINITY), (__mmask16)(there >> 16), s[1]);
    }
    largest = _mm512_reduce_max_ps(_mm512_max_ps(s[0], s[1]));
    largest = largest > m->largest ? largest : m->largest;
    s[0] = exp16(_mm512_sub_ps(s[0], _mm512_set1_ps(largest)));
    s[1] = exp16(_mm512_sub_ps(s[1], _mm512_set1_ps(largest)));
    keep = largest > m->largest ? _mm512_cvtss_f32(exp16(_mm512_set1_ps(m->largest - largest))) : 1;
    m->sum = m->sum * keep + _mm512_reduce_add_ps(_mm512_add_ps(s[0], s[1]));
    m->largest = largest;
    return keep;
}

#define QUERIES         32 /* of a block: they share a tile of keys that is turned over once */
#define QUERIES_AT_ONCE 4

/* turned [dim, TILE] = sixteen rows of k at a time, turned over; rows past count are zero. */
static void tile_turn(const float *k, size_t stride, size_t count, size_t dim, float *turned)
{
    for (size_t i = 0; i < TILE; i += 16) {
        const __m512i rows = _mm512_mullo_epi32(
            _mm512_set1_epi32((int)stride),
            _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15));
        size_t n = i + 16 <= count ? 16 : i < count ? count - i : 0;

        for (size_t d = 0; d < dim; d++)
            _mm512_storeu_ps(turned + d * TILE + i,
                             _mm512_mask_i32gather_ps(_mm512_setzero_ps(), tail16(n), rows,
                                                      k + i * stride + d, 4));
    }
}

/* Queries of a block against a tile, n of them known when compiled. */
inline_always void queries_tile(const float *q, const float *turned, const float *v, size_t keys,
                                size_t stride, size_t dim, float scale, const int n, Softmax *m,
                                float *out)
{
    _Alignas(64) float weights[QUERIES_AT_ONCE][TILE];
    __m512 s[QUERIES_AT_ONCE][TILE_VECS];
    float keep[QUERIES_AT_ONCE];

    for (int r = 0; r < n; r++)
        s[r][0] = s[r][1] = _mm512_setzero_ps();
    for (size_t d = 0; d < dim; d++) {
        __m512 k0 = _mm512_loadu_ps(turned + d * TILE),
               k1 = _mm512_loadu_ps(turned + d * TILE + 16);

        for (int r = 0; r < n; r++) {
            __m512 a = _mm512_set1_ps(q[(size_t)r * stride + d]);

            s[r][0] = _mm512_fmadd_ps(a, k0, s[r][0]);
            s[r][1] = _mm512_fmadd_ps(a, k1, s[r][1]);
        }
    }
    for (int r = 0; r < n; r++) {
        s[r][0] = _mm512_mul_ps(s[r][0], _mm512_set1_ps(scale));
        s[r][1] = _mm512_mul_ps(s[r][1], _mm512_set1_ps(scale));
        keep[r] = tile_softmax(&m[r], s[r], keys);
        _mm512_store_ps(weights[r], s[r][0]);
        _mm512_store_ps(weights[r] + 16, s[r][1]);
    }
    for (size_t d = 0; d < dim; d += 16) {
        __m512 a[QUERIES_AT_ONCE][2];

        for (int r = 0; r < n; r++) {
            a[r][0] = _mm512_loadu_ps(out + (size_t)r * stride + d);
            a[r][0] = _mm512_mul_ps(a[r][0], _mm512_set1_ps(keep[r]));
            a[r][1] = _mm512_setzero_ps();
        }
        for (size_t i = 0; i < keys; i++) {
            __m512 b = _mm512_loadu_ps(v + i * stride + d);

            for (int r = 0; r < n; r++)
                a[r][0] = _mm512_fmadd_ps(_mm512_set1_ps(weights[r][i]), b, a[r][0]);
        }
        for (int r = 0; r < n; r++)
            _mm512_storeu_ps(out + (size_t)r * stride + d, _mm512_add_ps(a[r][0], a[r][1]));
    }
}

inline_always void full_block(const float *q, const float *k, const float *v, size_t n,
                              size_t stride, size_t dim, size_t count, float *out)
{
    float turned[TILE * ATTENTION_DIM_MAX], scale = 1 / sqrtf((float)dim);
    Softmax m[QUERIES];

    for (size_t i = 0; i < count; i++) {
        m[i] = (Softmax){-INFINITY, 0};
        memset(out + i * stride, 0, dim * sizeof *out);
    }
    for (size_t t = 0; t < n; t += TILE) {
        size_t keys = n - t < TILE ? n - t : TILE, i = 0;
        const float *tile = v + t * stride;

        tile_turn(k + t * stride, stride, keys, dim, turned);
        for (; i + QUERIES_AT_ONCE <= count; i += QUERIES_AT_ONCE)
            queries_tile(q + i * stride, turned, tile, keys, stride, dim, scale, QUERIES_AT_ONCE,
                         m + i, out + i * stride);
        for (; i < count; i++)
            queries_tile(q + i * stride, turned, tile, keys, stride, dim, scale, 1, m + i,
                         out + i * stride);
    }
    for (size_t i = 0; i < count; i++)
        for (size_t d = 0; d < dim; d += 16) {
            __m512 a = _mm512_loadu_ps(out + i * stride + d);

            _mm512_storeu_ps(out + i * stride + d, _mm512_div_ps(a, _mm512_set1_ps(m[i].sum)));
        }
}

void attention_full_avx512(const float *q, const float *k, const float *v, size_t n, size_t stride,
                           size_t head_dim, size_t begin, size_t end, float *out)
{
    for (size_t i = begin; i < end; i += QUERIES) {
        size_t count = end - i < QUERIES ? end - i : QUERIES;

        if (head_dim == 32)
            full_block(q + i * stride, k, v, n, stride, 32, count, out + i * stride);
        else
            full_block(q + i * stride, k, v, n, stride, head_dim, count, out + i * stride);
    }
}
