#include "engine/cpu/avx2/avx2.h"
#include "engine/cpu/avx2/vec.h"

/* Products over f32 rows. Weights of other types are unpacked a few rows at a time, to stay in the
 * cache while all rows of x meet them. */

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

void product_f32_avx2(const Product *p, size_t out_begin, size_t out_end, void *scratch)
{
    for (size_t out = out_begin; out < out_end; out += F32_OUTS) {
        size_t n_outs = out_end - out < F32_OUTS ? out_end - out : F32_OUTS;
        const float *w[F32_OUTS];

        for (size_t o = 0; o < n_outs; o++) {
            const void *row = tensor_row(p->w, (int64_t)(out + o));
            float *unpacked = (float *)scratch + o * p->x->width;

            w[o] = p->w->dtype == DTYPE_F32 ? row : unpacked;
            if (p->w->dtype != DTYPE_F32)
                unpack_avx2(p->w->dtype, row, p->x->width, unpacked);
        }
        outs_f32(p, w, out, n_outs);
    }
}
