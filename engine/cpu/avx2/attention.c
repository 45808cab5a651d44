#include "engine/cpu/avx2/avx2.h"

#include <math.h>
#include <string.h>

#include "engine/base/quant.h"
#include "engine/cpu/avx2/vec.h"

/*
 * Softmax over keys that arrive in tiles: sums so far are kept relative to the largest score so far
 * and shrink when a larger one appears.
 */

#define TILE      KV_PAGE /* keys of one tile */
#define TILE_VECS (TILE / 8)

/* Scores of a tile become weights, kept at scores[]; returns what the sums so far are to be
 * multiplied by. Of the tile only the first `count` keys are there. */
inline_always float tile_softmax(float *scores, size_t count, float *largest, float *sum)
{
    __m256 v[TILE_VECS], most = _mm256_set1_ps(-INFINITY), total = _mm256_setzero_ps();
    float new_largest, keep;

    for (size_t i = count; i < TILE; i++)
        scores[i] = -INFINITY;
    for (int i = 0; i < TILE_VECS; i++) {
        v[i] = _mm256_loadu_ps(scores + 8 * i);
        most = _mm256_max_ps(most, v[i]);
    }
    new_largest = fmaxf(*largest, max8(most));
    for (int i = 0; i < TILE_VECS; i++) {
        v[i] = exp8(_mm256_sub_ps(v[i], _mm256_set1_ps(new_largest)));
        total = _mm256_add_ps(total, v[i]);
        _mm256_storeu_ps(scores + 8 * i, v[i]);
    }
    keep = _mm256_cvtss_f32(exp8(_mm256_set1_ps(*largest - new_largest)));
    *sum = *sum * keep + sum8(total);
    *largest = new_largest;
    return keep;
}

/* out[dim] = out * keep + Σ weights[i] v_i over `count` rows. */
inline_always void tile_values(const float *weights, size_t count, const float *v, size_t stride,
                               size_t dim, float keep, float *out)
{
    for (size_t d = 0; d < dim; d += 16) {
        __m256 a = _mm256_mul_ps(_mm256_loadu_ps(out + d), _mm256_set1_ps(keep));
        __m256 b = _mm256_mul_ps(_mm256_loadu_ps(out + d + 8), _mm256_set1_ps(keep));

        for (size_t i = 0; i < count; i++) {
            __m256 w = _mm256_set1_ps(weights[i]);

            a = _mm256_fmadd_ps(w, _mm256_loadu_ps(v + i * stride + d), a);
            b = _mm256_fmadd_ps(w, _mm256_loadu_ps(v + i * stride + d + 8), b);
        }
        _mm256_storeu_ps(out + d, a);
        _mm256_storeu_ps(out + d + 8, b);
    }
}

/* turned [dim, TILE] = rows of k, turned over; rows past count are zero. */
static void tile_turn(const float *k, size_t stride, size_t count, size_t dim, float *turned)
{
    for (size_t i = 0; i < TILE; i += 8)
        for (size_t d = 0; d < dim; d += 8) {
            __m256 v[8];

            for (size_t j = 0; j < 8; j++)
                v[j] =
                    i + j < count ? _mm256_loadu_ps(k + (i + j) * stride + d) : _mm256_setzero_ps();
            transpose8(v);
            for (size_t j = 0; j < 8; j++)
                _mm256_storeu_ps(turned + (d + j) * TILE + i, v[j]);
        }
}

/* scores[TILE] of one query, times scale. */
inline_always void tile_scores(const float *q, const float *turned, size_t dim, float scale,
                               float *scores)
{
    __m256 s[TILE_VECS];

    for (int i = 0; i < TILE_VECS; i++)
        s[i] = _mm256_setzero_ps();
    for (size_t d = 0; d < dim; d++) {
        __m256 a = _mm256_set1_ps(q[d]);

        for (int i = 0; i < TILE_VECS; i++)
            s[i] = _mm256_fmadd_ps(a, _mm256_loadu_ps(turned + d * TILE + 8 * i), s[i]);
    }
    for (int i = 0; i < TILE_VECS; i++)
        _mm256_storeu_ps(scores + 8 * i, _mm256_mul_ps(s[i], _mm256_set1_ps(scale)));
}

/* Eight values of a page; those of int8 without their scale. */
inline_always __m256 page_load(const void *page, size_t i, const KvType kv)
{
    if (kv == KV_F16)
        return _mm256_cvtph_ps(_mm_loadu_si128((const void *)((const uint16_t *)page + i)));
    if (kv == KV_F32)
        return _mm256_loadu_ps((const float *)page + i);

    __m128i bytes = _mm_loadl_epi64((const void *)((const int8_t *)page + i));

    return _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(bytes));
}

inline_always __m256 scales_load(const void *page, size_t dim, size_t run, size_t key)
{
    const uint16_t *scales = (const uint16_t *)((const int8_t *)page + KV_PAGE * dim);

    return _mm256_cvtph_ps(_mm_loadu_si128((const void *)(scales + run * KV_PAGE + key)));
}

/* Scores of the keys of a page: eight chains, as many as keep two multipliers busy. */
inline_always void page_scores(const float *q, const void *page, size_t dim, float scale,
                               const float *gates, const KvType kv, float *scores)
{
    __m256 s[2][TILE_VECS];

    for (int i = 0; i < TILE_VECS; i++)
        s[0][i] = s[1][i] = _mm256_setzero_ps();
    for (size_t d = 0; d < dim; d += 2)
        for (size_t j = 0; j < 2; j++)
            for (size_t i = 0; i < TILE_VECS; i++)
                s[j][i] = _mm256_fmadd_ps(_mm256_set1_ps(q[d + j]),
                                          page_load(page, (d + j) * TILE + 8 * i, kv), s[j][i]);
    for (int i = 0; i < TILE_VECS; i++) {
        s[0][i] = _mm256_mul_ps(_mm256_add_ps(s[0][i], s[1][i]), _mm256_set1_ps(scale));
        if (gates)
            s[0][i] = _mm256_add_ps(s[0][i], _mm256_loadu_ps(gates + 8 * i));
        _mm256_storeu_ps(scores + 8 * i, s[0][i]);
    }
}

/* A query as int8, and the scores of a page of such keys. */
typedef struct ByteQuery {
    int8_t q[ATTENTION_DIM_MAX];
    float scales[ATTENTION_DIM_MAX / QUANT_RUN];
} ByteQuery;

static void byte_query_init(ByteQuery *b, const float *q, size_t dim)
{
    float sums[ATTENTION_DIM_MAX / QUANT_RUN];
    int32_t offsets[2][ATTENTION_DIM_MAX / QUANT_RUN];
    PackedNumbers numbers = {b->scales, offsets[0], offsets[1], sums};

    pack_q8_avx2(q, dim, b->q, &numbers);
}

/* Magnitudes of keys are the unsigned side of the byte product, their signs go to the query. */
inline_always __m256i byte_dots(const int8_t *q, const int8_t *keys)
{
    const __m256i ones = _mm256_set1_epi16(1);
    __m256i dots = _mm256_setzero_si256();

    for (size_t j = 0; j < QUANT_RUN / 4; j++) {
        __m256i k = _mm256_loadu_si256((const void *)(keys + j * 4 * TILE)), a;
        int32_t four;

        memcpy(&four, q + 4 * j, sizeof four);
        a = _mm256_sign_epi8(_mm256_set1_epi32(four), k);
        a = _mm256_madd_epi16(_mm256_maddubs_epi16(_mm256_abs_epi8(k), a), ones);
        dots = _mm256_add_epi32(dots, a);
    }
    return dots;
}

static void page_scores_q8(const ByteQuery *q, const void *page, size_t dim, float scale,
                           const float *gates, float *scores)
{
    for (size_t i = 0; i < TILE; i += 8) {
        __m256 s = _mm256_setzero_ps();

        for (size_t run = 0; run < dim / QUANT_RUN; run++) {
            const int8_t *keys = (const int8_t *)page + run * QUANT_RUN * TILE + 4 * i;
            __m256i dots = byte_dots(q->q + run * QUANT_RUN, keys);
            __m256 scales =
                _mm256_mul_ps(scales_load(page, dim, run, i), _mm256_set1_ps(q->scales[run]));

            s = _mm256_fmadd_ps(_mm256_cvtepi32_ps(dots), scales, s);
        }
        s = _mm256_mul_ps(s, _mm256_set1_ps(scale));
        if (gates)
            s = _mm256_add_ps(s, _mm256_loadu_ps(gates + i));
        _mm256_storeu_ps(scores + i, s);
    }
}

/* Scores [n] become weights, up to the end of the last page, and part gets their sum. */
static void part_softmax(float *scores, size_t n, AttentionPart *part)
{
    __m256 most = _mm256_set1_ps(-INFINITY), total = _mm256_setzero_ps(), largest;
    size_t end = (n + TILE - 1) / TILE * TILE;

    for (size_t i = n; i < end; i++)
        scores[i] = -INFINITY;
    for (size_t i = 0; i < end; i += 8)
        most = _mm256_max_ps(most, _mm256_loadu_ps(scores + i));
    part->largest = max8(most);
    largest = _mm256_set1_ps(part->largest);
    for (size_t i = 0; i < end; i += 8) {
        __m256 v = exp8(_mm256_sub_ps(_mm256_loadu_ps(scores + i), largest));

        total = _mm256_add_ps(total, v);
        _mm256_storeu_ps(scores + i, v);
    }
    part->sum = sum8(total);
}

/* out[8 n] = sum of the weighted rows of all pages, from column d on, in eight chains; n, 2 or
 * 4, is known when compiled. */
inline_always void part_values(const float *weights, const AttentionRow *row, size_t begin,
                               size_t end, size_t dim, size_t d, const size_t n, const KvType kv,
                               float *out)
{
    const size_t n_chains = 8 / n;
    float scaled[TILE];
    __m256 a[4][4];

    for (size_t c = 0; c < n_chains; c++)
        for (size_t i = 0; i < n; i++)
            a[c][i] = _mm256_setzero_ps();
    for (size_t t = begin; t < end; t += TILE, weights += TILE) {
        const void *page = row->v_pages[t / KV_PAGE];
        const float *w = weights;

        for (size_t key = 0; kv == KV_Q8 && key < TILE; key += 8) {
            __m256 scales = scales_load(page, dim, d / QUANT_RUN, key);

            _mm256_storeu_ps(scaled + key, _mm256_mul_ps(_mm256_loadu_ps(weights + key), scales));
            w = scaled;
        }
        for (size_t key = 0; key < TILE; key += n_chains)
            for (size_t c = 0; c < n_chains; c++) {
                __m256 one = _mm256_set1_ps(w[key + c]);

                for (size_t i = 0; i < n; i++)
                    a[c][i] = _mm256_fmadd_ps(one, page_load(page, (key + c) * dim + d + 8 * i, kv),
                                              a[c][i]);
            }
    }
    for (size_t i = 0; i < n; i++) {
        for (size_t c = 1; c < n_chains; c++)
            a[0][i] = _mm256_add_ps(a[0][i], a[c][i]);
        _mm256_storeu_ps(out + 8 * i, a[0][i]);
    }
}

/* All scores first, then all weights, then the values: nothing waits for a page before. The part
 * stays in the second level of the cache for the heads that share it. */
inline_always void head_part(const AttentionRow *row, const float *q, size_t dim, const KvType kv,
                             size_t begin, size_t end, AttentionPart *part)
{
    float scores[ATTENTION_PART], scale = 1 / sqrtf((float)dim);
    ByteQuery bytes;
    size_t d;

    if (kv == KV_Q8)
        byte_query_init(&bytes, q, dim);
    for (size_t t = begin; t < end; t += TILE) {
        size_t page = t / KV_PAGE;
        const float *gates = row->log_gate ? row->log_gate[page] : NULL;

        if (kv == KV_Q8)
            page_scores_q8(&bytes, row->k_pages[page], dim, scale, gates, scores + (t - begin));
        else
            page_scores(q, row->k_pages[page], dim, scale, gates, kv, scores + (t - begin));
    }
    part_softmax(scores, end - begin, part);
    for (d = 0; d + 32 <= dim; d += 32)
        part_values(scores, row, begin, end, dim, d, 4, kv, part->out + d);
    if (d < dim)
        part_values(scores, row, begin, end, dim, d, 2, kv, part->out + d);
}

void attention_part_avx2(const AttentionRow *rows, size_t n_rows, size_t n_heads, size_t head_dim,
                         KvType kv, size_t begin, size_t end, AttentionPart *parts)
{
    for (size_t i = 0; i < n_rows * n_heads; i++) {
        const AttentionRow *row = &rows[i / n_heads];
        const float *q = row->q + i % n_heads * head_dim;
        size_t last = row->length < end ? row->length : end;

        if (kv == KV_F16)
            head_part(row, q, head_dim, KV_F16, begin, last, &parts[i]);
        else if (kv == KV_Q8)
            head_part(row, q, head_dim, KV_Q8, begin, last, &parts[i]);
        else
            head_part(row, q, head_dim, KV_F32, begin, last, &parts[i]);
    }
}

#define QUERIES 32

static void full_block(const float *q, const float *k, const float *v, size_t n, size_t stride,
                       size_t head_dim, size_t count, float *out)
{
    float turned[TILE * ATTENTION_DIM_MAX], scores[TILE], scale = 1 / sqrtf((float)head_dim);
    float largest[QUERIES], sum[QUERIES];

    for (size_t i = 0; i < count; i++) {
        largest[i] = -INFINITY;
        sum[i] = 0;
        memset(out + i * stride, 0, head_dim * sizeof *out);
    }
    for (size_t t = 0; t < n; t += TILE) {
        size_t keys = n - t < TILE ? n - t : TILE;

        tile_turn(k + t * stride, stride, keys, head_dim, turned);
        for (size_t i = 0; i < count; i++) {
            float keep;

            tile_scores(q + i * stride, turned, head_dim, scale, scores);
            keep = tile_softmax(scores, keys, &largest[i], &sum[i]);
            tile_values(scores, keys, v + t * stride, stride, head_dim, keep, out + i * stride);
        }
    }
    for (size_t i = 0; i < count; i++)
        for (size_t d = 0; d < head_dim; d++)
            out[i * stride + d] /= sum[i];
}

void attention_full_avx2(const float *q, const float *k, const float *v, size_t n, size_t stride,
                         size_t head_dim, size_t begin, size_t end, float *out)
{
    for (size_t i = begin; i < end; i += QUERIES)
        full_block(q + i * stride, k, v, n, stride, head_dim, end - i < QUERIES ? end - i : QUERIES,
                   out + i * stride);
}

void attention_pool_avx2(const float *x, size_t n, size_t width, const float *query, float *out)
{
    float scale = 1 / sqrtf((float)width), largest = -INFINITY, sum = 0;

    memset(out, 0, width * sizeof *out);
    for (size_t t = 0; t < n; t += TILE) {
        size_t count = n - t < TILE ? n - t : TILE;
        float scores[TILE], keep;

        for (size_t i = 0; i < count; i++) {
            const float *row = x + (t + i) * width;
            __m256 a = _mm256_setzero_ps(), b = _mm256_setzero_ps();

            for (size_t d = 0; d < width; d += 16) {
                a = _mm256_fmadd_ps(_mm256_loadu_ps(query + d), _mm256_loadu_ps(row + d), a);
                b = _mm256_fmadd_ps(_mm256_loadu_ps(query + d + 8), _mm256_loadu_ps(row + d + 8),
                                    b);
            }
            scores[i] = sum8(_mm256_add_ps(a, b)) * scale;
        }
        keep = tile_softmax(scores, count, &largest, &sum);
        tile_values(scores, count, x + t * width, width, width, keep, out);
    }
    for (size_t d = 0; d < width; d++)
        out[d] /= sum;
}
