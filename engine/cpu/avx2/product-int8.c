#include "engine/cpu/avx2/avx2.h"

#include <assert.h>

#include "engine/cpu/avx2/blocks.h"

/*
 * Products of quantised weights over int8 rows, eight outputs to a register.
 *
 * Weights are turned over into two panels, a piece of the rows at a time, that stay in the first
 * level of the cache while many rows of x meet them; sums wait in scratch between two pieces.
 */

#define PANELS     (PRODUCT_OUTS / LANES)
#define PIECE_RUNS 8   /* of a panel */
#define ROWS_MAX   4   /* rows of x that meet a panel at once */
#define BATCH_ROWS 128 /* rows of x whose sums wait */

typedef struct Work {
    Tile panels[PANELS][PIECE_RUNS];
    __m256 sums[BATCH_ROWS][PANELS];
} Work;

_Static_assert(sizeof(Work) <= PRODUCT_SCRATCH_MIN, "scratch is too small");

/* A row of x. */
typedef struct Input {
    const int8_t *q;
    const float *scales, *sums;
    const int32_t *offsets, *half_offsets;
} Input;

inline_always Input input_at(const Packed *p, size_t row)
{
    const int8_t *q = packed_row(p, row);

    return (Input){q, packed_scales(p, q), packed_sums(p, q), packed_offsets(p, q),
                   packed_half_offsets(p, q)};
}

/* Products of four bytes of x, in pairs. */
inline_always __m256i pair_products(const Tile *t, int i, __m256i four, const TileKind kind)
{
    if (kind == TILE_SIGNED)
        return _mm256_maddubs_epi16(t->magnitudes[i], _mm256_sign_epi8(four, t->w[i]));
    return _mm256_maddubs_epi16(t->w[i], four);
}

/* Integer dots of words [begin, end) of a run, less what weights stand too high: `offset` is -128
 * times the sum of x. Pairs of products add up in 16 bits as long as they can. */
inline_always void run_dots(const Tile *const t[PANELS], const int8_t *x, const int begin,
                            const int end, int32_t offset, const Format f, __m256i dots[PANELS])
{
    const __m256i ones = _mm256_set1_epi16(1);

    for (int h = 0; h < PANELS; h++)
        dots[h] = _mm256_set1_epi32(f.zero ? offset / (128 / (f.zero ? f.zero : 1)) : 0);
    for (int i = begin; i < end; i += f.chain) {
        __m256i pairs[PANELS];

        for (int j = i; j < i + f.chain; j++) {
            int32_t four;

            memcpy(&four, x + 4 * j, sizeof four);
            for (int h = 0; h < PANELS; h++) {
                __m256i a = pair_products(t[h], j, _mm256_set1_epi32(four), f.kind);

                pairs[h] = j == i ? a : _mm256_add_epi16(pairs[h], a);
            }
        }
        for (int h = 0; h < PANELS; h++)
            dots[h] = _mm256_add_epi32(dots[h], _mm256_madd_epi16(pairs[h], ones));
    }
}

inline_always __m256 dots_add(__m256 sum, __m256i dots, __m256 scales, float scale)
{
    return _mm256_fmadd_ps(_mm256_cvtepi32_ps(dots), _mm256_mul_ps(scales, _mm256_set1_ps(scale)),
                           sum);
}

/* sums += run r of x * the tiles */
inline_always void run_add(__m256 sums[PANELS], const Tile *const t[PANELS], const Input *x,
                           size_t r, const Format f)
{
    const int8_t *q = x->q + r * QUANT_RUN;
    __m256i dots[PANELS];

    if (f.kind == TILE_HALVES) {
        int32_t low = x->half_offsets[r], high = x->offsets[r] - low;

        run_dots(t, q, 0, 4, low, f, dots);
        for (int h = 0; h < PANELS; h++)
            sums[h] = dots_add(sums[h], dots[h], t[h]->scales, x->scales[r]);
        run_dots(t, q, 4, 8, high, f, dots);
        for (int h = 0; h < PANELS; h++)
            sums[h] = dots_add(sums[h], dots[h], t[h]->extra, x->scales[r]);
        return;
    }
    run_dots(t, q, 0, 8, x->offsets[r], f, dots);
    for (int h = 0; h < PANELS; h++)
        sums[h] = dots_add(sums[h], dots[h], t[h]->scales, x->scales[r]);
    for (int h = 0; h < PANELS && f.kind == TILE_MINIMUM; h++)
        sums[h] = _mm256_fmadd_ps(t[h]->extra, _mm256_set1_ps(x->sums[r]), sums[h]);
}

/* Rows j … of x, n of them known when compiled, times a piece of the weights from run `first`
 * on. */
inline_always void rows_multiply(const Product *p, size_t j, const int n, Work *w,
                                 __m256 (*waiting)[PANELS], size_t first, size_t runs,
                                 const Format f)
{
    __m256 sums[ROWS_MAX][PANELS];
    Input x[ROWS_MAX];

    for (int i = 0; i < n; i++) {
        x[i] = input_at(p->x, product_src(p, j + (size_t)i));
        for (int h = 0; h < PANELS; h++)
            sums[i][h] = waiting[i][h];
    }
    for (size_t r = 0; r < runs; r++) {
        const Tile *const t[PANELS] = {&w->panels[0][r], &w->panels[1][r]};

        for (int i = 0; i < n; i++)
            run_add(sums[i], t, &x[i], first + r, f);
    }
    for (int i = 0; i < n; i++)
        for (int h = 0; h < PANELS; h++)
            waiting[i][h] = sums[i][h];
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

/* Runs first … of both halves of sixteen rows, turned over. */
inline_always void piece_load(Work *w, Rows rows, size_t first, size_t runs, Super super[PANELS],
                              const Format f)
{
    for (size_t h = 0; h < PANELS; h++) {
        Rows half = {rows.base + h * LANES * rows.stride, rows.stride};

        for (size_t r = 0; r < runs; r += f.runs)
            f.load(&w->panels[h][r], half, (first + r) / f.runs, &super[h]);
    }
}

/* Rows j … of x, n of them, times sixteen rows of weights of which n_outs are there. */
inline_always void batch_run(const Product *p, size_t j, size_t n, size_t out, size_t n_outs,
                             Rows rows, Work *w, const Format f)
{
    size_t all = p->x->width / QUANT_RUN;
    Super super[PANELS] = {0};

    for (size_t i = 0; i < n; i++)
        for (int h = 0; h < PANELS; h++)
            w->sums[i][h] = _mm256_setzero_ps();
    for (size_t first = 0; first < all; first += PIECE_RUNS) {
        size_t runs = all - first < PIECE_RUNS ? all - first : PIECE_RUNS, i = 0;

        piece_load(w, rows, first, runs, super, f);
        for (; i + ROWS_MAX <= n; i += ROWS_MAX)
            rows_multiply(p, j + i, ROWS_MAX, w, w->sums + i, first, runs, f);
        for (; i < n; i++)
            rows_multiply(p, j + i, 1, w, w->sums + i, first, runs, f);
    }
    for (size_t i = 0; i < n; i++)
        for (size_t h = 0; h < PANELS && h * LANES < n_outs; h++) {
            size_t there = n_outs - h * LANES;

            store(p, j + i, out + h * LANES, tail_mask(there < LANES ? there : LANES),
                  w->sums[i][h]);
        }
}

/* Sixteen rows from `out` on, or as many as there are, filled up in `copy`: what those give is not
 * stored. */
static Rows rows_init(const Product *p, size_t out, size_t n_outs, uint8_t *copy)
{
    Rows rows = {tensor_row(p->w, (int64_t)out), dtype_row_bytes(p->w->dtype, p->w->ne[0])};

    if (n_outs < PRODUCT_OUTS) {
        memcpy(copy, rows.base, n_outs * rows.stride);
        memset(copy + n_outs * rows.stride, 0, (PRODUCT_OUTS - n_outs) * rows.stride);
        rows.base = copy;
    }
    return rows;
}

inline_always void product_run(const Product *p, size_t out_begin, size_t out_end, void *scratch,
                               const Format f)
{
    Work *w = scratch;

    for (size_t out = out_begin; out < out_end; out += PRODUCT_OUTS) {
        size_t n_outs = out_end - out < PRODUCT_OUTS ? out_end - out : PRODUCT_OUTS;
        Rows rows = rows_init(p, out, n_outs, (uint8_t *)(w + 1));

        for (size_t j = 0; j < p->n; j += BATCH_ROWS)
            batch_run(p, j, p->n - j < BATCH_ROWS ? p->n - j : BATCH_ROWS, out, n_outs, rows, w, f);
    }
}

#define PRODUCT(type, ...)                                                                         \
    static void product_##type(const Product *p, size_t out_begin, size_t out_end, void *scratch)  \
    {                                                                                              \
        product_run(p, out_begin, out_end, scratch, (Format){load_##type, __VA_ARGS__});           \
    }                                                                                              \
    struct product_##type##_semicolon

PRODUCT(q8_0, TILE_SIGNED, .runs = 1, .zero = 0, .chain = 1); /* 2 * 128 * 127 */
PRODUCT(q4_0, TILE_PLAIN, .runs = 1, .zero = 8, .chain = 8);  /* 8 * 2 * 15 * 127 */
PRODUCT(q4_1, TILE_MINIMUM, .runs = 1, .zero = 0, .chain = 8);
PRODUCT(q5_0, TILE_PLAIN, .runs = 1, .zero = 16, .chain = 4); /* 4 * 2 * 31 * 127 */
PRODUCT(q5_1, TILE_MINIMUM, .runs = 1, .zero = 0, .chain = 4);
PRODUCT(q4_k, TILE_MINIMUM, .runs = 2, .zero = 0, .chain = 8);
PRODUCT(q5_k, TILE_MINIMUM, .runs = 2, .zero = 0, .chain = 4);
PRODUCT(q6_k, TILE_HALVES, .runs = 4, .zero = 32, .chain = 2); /* 2 * 2 * 63 * 127 */

void product_int8_avx2(const Product *p, size_t out_begin, size_t out_end, void *scratch)
{
    static const ProductFunc products[_DTYPE_COUNT] = {
        [DTYPE_Q8_0] = product_q8_0, [DTYPE_Q4_0] = product_q4_0, [DTYPE_Q4_1] = product_q4_1,
        [DTYPE_Q5_0] = product_q5_0, [DTYPE_Q5_1] = product_q5_1, [DTYPE_Q4_K] = product_q4_k,
        [DTYPE_Q5_K] = product_q5_k, [DTYPE_Q6_K] = product_q6_k,
    };

    products[p->w->dtype](p, out_begin, out_end, scratch);
}
