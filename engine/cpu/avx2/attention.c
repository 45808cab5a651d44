#include "engine/cpu/avx2/avx2.h"

#include <math.h>
#include <string.h>

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
    keep = new_largest == *largest ? 1 : expf(*largest - new_largest);
    *sum = *sum * keep + sum8(total);
    *largest = new_largest;
    return keep;
}

/* out[dim] = out * keep + Σ weights[i] v_i over `count` rows, a step of 32 of dim at a time. */
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

/* A page as floats: itself, or converted into buffer. */
static const float *page_floats(const void *page, size_t count, size_t dim, bool f16, float *buffer)
{
    if (!f16)
        return page;
    f32_from_f16_avx2(page, count * dim, buffer);
    return buffer;
}

void attention_part_avx2(const AttentionRow *row, size_t n_heads, size_t head_dim, bool kv_f16,
                         size_t begin, size_t end, AttentionPart *parts)
{
    float k_buffer[TILE * ATTENTION_DIM_MAX], v_buffer[TILE * ATTENTION_DIM_MAX];
    float turned[TILE * ATTENTION_DIM_MAX], scores[TILE], scale = 1 / sqrtf((float)head_dim);

    for (size_t h = 0; h < n_heads; h++) {
        parts[h].largest = -INFINITY;
        parts[h].sum = 0;
        memset(parts[h].out, 0, head_dim * sizeof(float));
    }
    for (size_t t = begin; t < end; t += TILE) {
        size_t page = t / KV_PAGE, count = end - t < TILE ? end - t : TILE;
        const float *gates = row->log_gate ? row->log_gate[page] : NULL, *k, *v;

        k = page_floats(row->k_pages[page], count, head_dim, kv_f16, k_buffer);
        v = page_floats(row->v_pages[page], count, head_dim, kv_f16, v_buffer);
        tile_turn(k, head_dim, count, head_dim, turned);
        for (size_t h = 0; h < n_heads; h++) {
            AttentionPart *part = &parts[h];
            float keep;

            tile_scores(row->q + h * head_dim, turned, head_dim, scale, scores);
            if (gates)
                add_avx2(scores, gates, count);
            keep = tile_softmax(scores, count, &part->largest, &part->sum);
            tile_values(scores, count, v, head_dim, head_dim, keep, part->out);
        }
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
