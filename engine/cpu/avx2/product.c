#include "engine/cpu/avx2/avx2.h"

#include <string.h>

#include "engine/cpu/avx2/vec.h"

#define LANES    8
#define ROWS_MAX 4

/* A block of eight rows of weights, turned over: each register holds four values of all eight. The
 * byte product wants one unsigned side, so magnitudes go there and signs go to the activations. */
typedef struct Tile {
    __m256i w[8], magnitudes[8];
    __m256 scales;
} Tile;

inline_always void tile_load(Tile *t, const uint8_t *const rows[LANES], size_t at)
{
    __m256 v[8];
    uint16_t s[8];

    for (int i = 0; i < 8; i++) {
        v[i] = _mm256_loadu_ps((const void *)(rows[i] + at + 2));
        memcpy(&s[i], rows[i] + at, sizeof s[i]);
    }
    transpose8(v);
    for (int i = 0; i < 8; i++) {
        t->w[i] = _mm256_castps_si256(v[i]);
        t->magnitudes[i] = _mm256_abs_epi8(t->w[i]);
    }
    t->scales = _mm256_cvtph_ps(_mm_loadu_si128((const void *)s));
}

/* One block of n rows of x, n known when compiled: sums[r] += row r times the tile. A pair of byte
 * products is 2 * 128 * 127 at most and does not saturate. */
inline_always void tile_multiply(__m256 *sums, const Tile *t, const Packed *p,
                                 const int8_t *const *x, size_t b, const int n)
{
    const __m256i ones = _mm256_set1_epi16(1);
    __m256i dots[ROWS_MAX];

    for (int r = 0; r < n; r++)
        dots[r] = _mm256_setzero_si256();
    for (int i = 0; i < 8; i++)
        for (int r = 0; r < n; r++) {
            int32_t four;
            __m256i a;

            memcpy(&four, x[r] + b * Q8_0_BLOCK + 4 * i, sizeof four);
            a = _mm256_sign_epi8(_mm256_set1_epi32(four), t->w[i]);
            a = _mm256_madd_epi16(_mm256_maddubs_epi16(t->magnitudes[i], a), ones);
            dots[r] = _mm256_add_epi32(dots[r], a);
        }
    for (int r = 0; r < n; r++)
        sums[r] = _mm256_fmadd_ps(
            _mm256_cvtepi32_ps(dots[r]),
            _mm256_mul_ps(t->scales, _mm256_set1_ps(packed_scales(p, x[r])[b])), sums[r]);
}

inline_always void store(const Product *p, size_t j, size_t out, __m256i mask, __m256 sum)
{
    float *y = product_dst(p, j) + out;

    if (p->bias)
        sum = _mm256_add_ps(sum, _mm256_maskload_ps(p->bias + out, mask));
    if (p->scale)
        sum = _mm256_mul_ps(sum, _mm256_set1_ps(p->scale[j]));
    if (p->accumulate)
        sum = _mm256_add_ps(_mm256_maskload_ps(y, mask), sum);
    _mm256_maskstore_ps(y, mask, sum);
}

inline_always void rows_multiply(const Product *p, size_t j, const int n, size_t out, __m256i mask,
                                 const Tile *panel)
{
    const int8_t *x[ROWS_MAX];
    __m256 sums[ROWS_MAX];

    for (int r = 0; r < n; r++) {
        x[r] = packed_row(p->x, product_src(p, j + (size_t)r));
        sums[r] = _mm256_setzero_ps();
    }
    for (size_t b = 0; b < p->x->width / Q8_0_BLOCK; b++)
        tile_multiply(sums, &panel[b], p->x, x, b, n);
    for (int r = 0; r < n; r++)
        store(p, j + (size_t)r, out, mask, sums[r]);
}

void product_q8_avx2(const Product *p, size_t out_begin, size_t out_end, void *scratch)
{
    size_t row_bytes = dtype_row_bytes(DTYPE_Q8_0, p->w->ne[0]), j;
    const uint8_t *w = p->w->data;
    Tile *panel = scratch;

    for (size_t out = out_begin; out < out_end; out += LANES) {
        size_t n_outs = out_end - out < LANES ? out_end - out : LANES;
        __m256i mask = tail_mask(n_outs);
        const uint8_t *rows[LANES];

        /* Past the last row the last one stands in; its outputs are masked off. */
        for (size_t i = 0; i < LANES; i++)
            rows[i] = w + (out + (i < n_outs ? i : n_outs - 1)) * row_bytes;
        for (size_t b = 0; b < p->x->width / Q8_0_BLOCK; b++)
            tile_load(&panel[b], rows, b * Q8_0_BYTES);
        for (j = 0; j + ROWS_MAX <= p->n; j += ROWS_MAX)
            rows_multiply(p, j, ROWS_MAX, out, mask, panel);
        for (; j + 2 <= p->n; j += 2)
            rows_multiply(p, j, 2, out, mask, panel);
        if (j < p->n)
            rows_multiply(p, j, 1, out, mask, panel);
    }
}

#define F32_OUTS 4
#define F32_ROWS 2

/* Rows j … of x times n_outs rows of w, both counts known when compiled; each sum runs over eight
 * lanes, first to last. */
inline_always void dots_f32(const Product *p, size_t j, const int n_rows, const float *const *w,
                            size_t out, const int n_outs)
{
    size_t width = p->x->width, i = 0;
    __m256i tail = tail_mask(width % 8);
    const float *x[F32_ROWS];
    __m256 sums[F32_ROWS][F32_OUTS];

    for (int r = 0; r < n_rows; r++) {
        x[r] = p->x->x + product_src(p, j + (size_t)r) * p->x->x_stride;
        for (int o = 0; o < n_outs; o++)
            sums[r][o] = _mm256_setzero_ps();
    }
    for (; i + 8 <= width; i += 8)
        for (int o = 0; o < n_outs; o++) {
            __m256 v = _mm256_loadu_ps(w[o] + i);

            for (int r = 0; r < n_rows; r++)
                sums[r][o] = _mm256_fmadd_ps(_mm256_loadu_ps(x[r] + i), v, sums[r][o]);
        }
    if (i < width)
        for (int o = 0; o < n_outs; o++) {
            __m256 v = _mm256_maskload_ps(w[o] + i, tail);

            for (int r = 0; r < n_rows; r++)
                sums[r][o] = _mm256_fmadd_ps(_mm256_maskload_ps(x[r] + i, tail), v, sums[r][o]);
        }
    for (int r = 0; r < n_rows; r++)
        for (int o = 0; o < n_outs; o++) {
            size_t row = j + (size_t)r;
            float *y = product_dst(p, row) + out + o, sum = sum8(sums[r][o]);

            sum += p->bias ? p->bias[out + (size_t)o] : 0;
            sum *= p->scale ? p->scale[row] : 1;
            *y = p->accumulate ? *y + sum : sum;
        }
}

/* All rows of x times the rows of w that begin at `out`. */
static void outs_f32(const Product *p, const float *const w[F32_OUTS], size_t out, size_t n_outs)
{
    size_t j = 0;

    if (n_outs == F32_OUTS)
        for (; j < p->n; j += F32_ROWS) {
            if (j + F32_ROWS <= p->n)
                dots_f32(p, j, F32_ROWS, w, out, F32_OUTS);
            else
                dots_f32(p, j, 1, w, out, F32_OUTS);
        }
    for (; j < p->n; j++)
        for (size_t o = 0; o < n_outs; o++)
            dots_f32(p, j, 1, w + o, out + o, 1);
}

void product_q8_f32_avx2(const Product *p, size_t out_begin, size_t out_end, void *scratch)
{
    for (size_t out = out_begin; out < out_end; out += F32_OUTS) {
        size_t n_outs = out_end - out < F32_OUTS ? out_end - out : F32_OUTS;
        const float *w[F32_OUTS];

        for (size_t o = 0; o < n_outs; o++) {
            float *row = (float *)scratch + o * p->x->width;

            unpack_q8_avx2(tensor_row(p->w, (int64_t)(out + o)), p->x->width, row);
            w[o] = row;
        }
        outs_f32(p, w, out, n_outs);
    }
}

void product_f32_avx2(const Product *p, size_t out_begin, size_t out_end, void *scratch)
{
    (void)scratch;
    for (size_t out = out_begin; out < out_end; out += F32_OUTS) {
        size_t n_outs = out_end - out < F32_OUTS ? out_end - out : F32_OUTS;
        const float *w[F32_OUTS];

        for (size_t o = 0; o < n_outs; o++)
            w[o] = tensor_row(p->w, (int64_t)(out + o));
        outs_f32(p, w, out, n_outs);
    }
}
