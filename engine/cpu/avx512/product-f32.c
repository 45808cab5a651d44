#include "engine/cpu/avx512/avx512.h"

#include "engine/cpu/avx2/avx2.h"
#include "engine/cpu/avx512/vec.h"

/* Products over f32 rows: four outputs times up to four rows at a time, each sum over sixteen
 * lanes. */

#define OUTS 4
#define ROWS 4

inline_always void store(const Product *p, size_t j, size_t out, __mmask8 mask, __m128 sum)
{
    float *y = product_dst(p, j) + out;

    if (p->bias)
        sum = _mm_add_ps(sum, _mm_maskz_loadu_ps(mask, p->bias + out));
    if (p->scale)
        sum = _mm_mul_ps(sum, _mm_set1_ps(p->scale[j]));
    if (p->accumulate)
        sum = _mm_add_ps(_mm_maskz_loadu_ps(mask, y), sum);
    _mm_mask_storeu_ps(y, mask, sum);
}

/* Rows j … of x, n of them known when compiled. */
inline_always void rows_multiply(const Product *p, size_t j, const int n,
                                 const float *const w[OUTS], size_t out, __mmask8 mask)
{
    size_t width = p->x->width;
    const float *x[ROWS];
    __m512 sums[ROWS][OUTS];

    for (int r = 0; r < n; r++) {
        x[r] = p->x->x + product_src(p, j + (size_t)r) * p->x->x_stride;
        for (int o = 0; o < OUTS; o++)
            sums[r][o] = _mm512_setzero_ps();
    }
    for (size_t i = 0; i < width; i += 16) {
        __mmask16 there = i + 16 <= width ? 0xffff : tail16(width % 16);
        __m512 v[OUTS];

        for (int o = 0; o < OUTS; o++)
            v[o] = _mm512_maskz_loadu_ps(there, w[o] + i);
        for (int r = 0; r < n; r++) {
            __m512 a = _mm512_maskz_loadu_ps(there, x[r] + i);

            for (int o = 0; o < OUTS; o++)
                sums[r][o] = _mm512_fmadd_ps(a, v[o], sums[r][o]);
        }
    }
    for (int r = 0; r < n; r++)
        store(p, j + (size_t)r, out, mask, floats_sum4(sums[r]));
}

static void outs_multiply(const Product *p, const float *const w[OUTS], size_t out, size_t n_outs)
{
    __mmask8 mask = (__mmask8)((1u << n_outs) - 1);
    size_t j = 0;

    for (; j + ROWS <= p->n; j += ROWS)
        rows_multiply(p, j, ROWS, w, out, mask);
    for (; j < p->n; j++)
        rows_multiply(p, j, 1, w, out, mask);
}

void product_f32_avx512(const Product *p, size_t out_begin, size_t out_end, void *scratch)
{
    for (size_t out = out_begin; out < out_end; out += OUTS) {
        size_t n_outs = out_end - out < OUTS ? out_end - out : OUTS;
        const float *w[OUTS];

        /* Past the last row the last one stands in; what it gives is masked off. */
        for (size_t o = 0; o < OUTS; o++) {
            const void *row = tensor_row(p->w, (int64_t)(out + (o < n_outs ? o : n_outs - 1)));
            float *unpacked = (float *)scratch + (o < n_outs ? o : n_outs - 1) * p->x->width;

            w[o] = p->w->dtype == DTYPE_F32 ? row : unpacked;
            if (p->w->dtype != DTYPE_F32 && o < n_outs)
                unpack_avx2(p->w->dtype, row, p->x->width, unpacked);
        }
        outs_multiply(p, w, out, n_outs);
    }
}
