#include "engine/cpu/avx512/avx512.h"

#include "engine/cpu/avx512/vec.h"

/* Products of BF16 weights over bf16 rows: four outputs times up to four rows at a time, each sum
 * over sixteen lanes. */

#define OUTS  4
#define ROWS  4
#define BATCH 64 /* rows of x that stay in the cache while all outputs meet them */

inline_always __m512bh load_all(const void *p)
{
    return (__m512bh)_mm512_loadu_si512(p);
}

inline_always __m512bh load_some(__mmask32 there, const void *p)
{
    return (__m512bh)_mm512_maskz_loadu_epi16(there, p);
}

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

/* The rows of weights that come next, into the second level: where one row of x meets each weight
 * once, memory is what it waits for, and four streams that end after a row are no longer followed
 * by the hardware. Fetching past the last one does no harm. */
inline_always void fetch_next(const uint8_t *const w[OUTS], size_t width, size_t i)
{
    for (int o = 0; o < OUTS; o++)
        _mm_prefetch((const char *)(w[o] + 2 * (OUTS * width + i)), _MM_HINT_T1);
}

/* Rows j … of x, n of them known when compiled. */
inline_always void rows_multiply(const Product *p, size_t j, const int n,
                                 const uint8_t *const w[OUTS], size_t out, __mmask8 mask)
{
    size_t width = p->x->width, whole = width / 32 * 32;
    __mmask32 tail = (__mmask32)((1ull << width % 32) - 1);
    const uint16_t *x[ROWS];
    __m512 sums[ROWS][OUTS];

    for (int r = 0; r < n; r++) {
        x[r] = p->x->bf16 + product_src(p, j + (size_t)r) * packed_bf16_stride(width);
        for (int o = 0; o < OUTS; o++)
            sums[r][o] = _mm512_setzero_ps();
    }
    for (size_t i = 0; i < width; i += 32) {
        __m512bh v[OUTS];

        if (n == 1)
            fetch_next(w, width, i);
        for (int o = 0; o < OUTS; o++)
            v[o] = i < whole ? load_all(w[o] + 2 * i) : load_some(tail, w[o] + 2 * i);
        for (int r = 0; r < n; r++) {
            __m512bh a = load_all(x[r] + i);

            for (int o = 0; o < OUTS; o++)
                sums[r][o] = _mm512_dpbf16_ps(sums[r][o], a, v[o]);
        }
    }
    for (int r = 0; r < n; r++)
        store(p, j + (size_t)r, out, mask, floats_sum4(sums[r]));
}

/* Rows [j, end) of x times the rows of w from `out` on. */
static void outs_multiply(const Product *p, size_t j, size_t end, size_t out, size_t n_outs)
{
    __mmask8 mask = (__mmask8)((1u << n_outs) - 1);
    const uint8_t *w[OUTS];

    /* Past the last row the last one stands in; what it gives is masked off. */
    for (size_t o = 0; o < OUTS; o++)
        w[o] = tensor_row(p->w, (int64_t)(out + (o < n_outs ? o : n_outs - 1)));
    for (; j + ROWS <= end; j += ROWS)
        rows_multiply(p, j, ROWS, w, out, mask);
    for (; j < end; j++)
        rows_multiply(p, j, 1, w, out, mask);
}

void product_bf16_avx512bf16(const Product *p, size_t out_begin, size_t out_end, void *scratch)
{
    (void)scratch;
    for (size_t j = 0; j < p->n; j += BATCH) {
        size_t end = j + BATCH < p->n ? j + BATCH : p->n;

        for (size_t out = out_begin; out < out_end; out += OUTS)
            outs_multiply(p, j, end, out, out_end - out < OUTS ? out_end - out : OUTS);
    }
}
