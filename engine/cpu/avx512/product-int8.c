#include "engine/cpu/avx512/avx512.h"

#include "engine/cpu/avx512/blocks.h"
#include "engine/cpu/avx512/product.h"

/*
 * Products of quantised weights over int8 rows with VNNI, sixteen outputs to a register.
 *
 * Few rows of x use a turned run of weights from registers. Many have two panels of them, a piece
 * of the rows at a time, that stay in the first level of the cache, while sums wait in scratch. A
 * single row of x does without turning Q8_0 over: product-q8-one.c. Integer sums are exact in any
 * order and floats are added run by run, so all give the same bits.
 */

#define FEW        8   /* rows of x */
#define PANELS     2   /* share each broadcast of x, or loads would outnumber products */
#define PIECE_RUNS 16  /* of a panel */
#define ROWS_MAX   4   /* rows of x that meet two panels at once */
#define BATCH_ROWS 128 /* rows of x whose sums wait */

typedef struct Work {
    Tile panels[PANELS][PIECE_RUNS];
    __m512 sums[BATCH_ROWS][PANELS];
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

inline_always __m512i broadcast4(const void *p)
{
    int32_t v;

    memcpy(&v, p, sizeof v);
    return _mm512_set1_epi32(v);
}

/* Dots of words [begin, end) of a run of x with n tiles. */
inline_always void run_dots(const Tile *const *t, const int n, const int8_t *x, const int begin,
                            const int end, int32_t offset, __m512i *dots)
{
    for (int h = 0; h < n; h++)
        dots[h] = _mm512_set1_epi32(offset);
    for (int i = begin; i < end; i++) {
        __m512i four = broadcast4(x + 4 * i);

        for (int h = 0; h < n; h++)
            dots[h] = _mm512_dpbusd_epi32(dots[h], t[h]->w[i], four);
    }
}

/* sums[h] += run r of x * tile h, for n of them. */
inline_always void run_add(__m512 *sums, const Tile *const *t, const int n, const Input *x,
                           size_t r, const TileKind kind)
{
    const int8_t *q = x->q + r * QUANT_RUN;
    float scale = x->scales[r];
    __m512i dots[PANELS];

    if (kind == TILE_HALVES) {
        int32_t low = x->half_offsets[r];

        run_dots(t, n, q, 0, 4, low, dots);
        for (int h = 0; h < n; h++)
            sums[h] = dots_add(sums[h], dots[h], t[h]->scales, scale);
        run_dots(t, n, q, 4, 8, x->offsets[r] - low, dots);
        for (int h = 0; h < n; h++)
            sums[h] = dots_add(sums[h], dots[h], t[h]->extra, scale);
        return;
    }
    run_dots(t, n, q, 0, 8, x->offsets[r], dots);
    for (int h = 0; h < n; h++)
        sums[h] = dots_add(sums[h], dots[h], t[h]->scales, scale);
    for (int h = 0; h < n && kind == TILE_MINIMUM; h++)
        sums[h] = _mm512_fmadd_ps(t[h]->extra, _mm512_set1_ps(x->sums[r]), sums[h]);
}

/* All n rows of x; `room`, known when compiled, is not less: the last one stands in for the
 * rest. */
inline_always void few_multiply(const Product *p, size_t n, const int room, size_t out,
                                __mmask16 mask, Rows rows, const Format f)
{
    size_t runs = p->x->width / QUANT_RUN;
    __m512 sums[FEW];
    Input x[FEW];
    Super super = {0};

    for (int i = 0; i < room; i++) {
        x[i] = input_at(p->x, product_src(p, (size_t)i < n ? (size_t)i : n - 1));
        sums[i] = _mm512_setzero_ps();
    }
    for (size_t r = 0; r < runs; r += f.runs) {
        Tile t[4];

        fetch_ahead(rows, r / f.runs, f.group_bytes);
        f.load(t, rows, r / f.runs, &super);
        for (size_t k = 0; k < f.runs; k++) {
            const Tile *one = &t[k];

            for (int i = 0; i < room; i++)
                run_add(&sums[i], &one, 1, &x[i], r + k, f.kind);
        }
    }
    for (size_t i = 0; i < (size_t)room; i++)
        if (i < n)
            store(p, i, out, mask, sums[i]);
}

inline_always void few_switch(const Product *p, size_t out, __mmask16 mask, Rows rows,
                              const Format f)
{
    if (p->n == 1)
        few_multiply(p, p->n, 1, out, mask, rows, f);
    else if (p->n == 2)
        few_multiply(p, p->n, 2, out, mask, rows, f);
    else if (p->n <= 4)
        few_multiply(p, p->n, 4, out, mask, rows, f);
    else
        few_multiply(p, p->n, FEW, out, mask, rows, f);
}

/* Rows j … of x, n of them known when compiled, times a piece of the weights from run `first`
 * on. */
inline_always void many_multiply(const Product *p, size_t j, const int n, const Work *w,
                                 __m512 (*waiting)[PANELS], size_t first, size_t runs,
                                 const TileKind kind)
{
    __m512 sums[ROWS_MAX][PANELS];
    Input x[ROWS_MAX];

    for (int i = 0; i < n; i++) {
        x[i] = input_at(p->x, product_src(p, j + (size_t)i));
        for (int h = 0; h < PANELS; h++)
            sums[i][h] = waiting[i][h];
    }
    for (size_t r = 0; r < runs; r++) {
        const Tile *const t[PANELS] = {&w->panels[0][r], &w->panels[1][r]};

        for (int i = 0; i < n; i++)
            run_add(sums[i], t, PANELS, &x[i], first + r, kind);
    }
    for (int i = 0; i < n; i++)
        for (int h = 0; h < PANELS; h++)
            waiting[i][h] = sums[i][h];
}

inline_always void piece_load(Work *w, const Rows rows[PANELS], size_t first, size_t runs,
                              Super super[PANELS], const Format f)
{
    for (size_t h = 0; h < PANELS; h++)
        for (size_t r = 0; r < runs; r += f.runs) {
            fetch_ahead(rows[h], (first + r) / f.runs, f.group_bytes);
            f.load(&w->panels[h][r], rows[h], (first + r) / f.runs, &super[h]);
        }
}

/* Rows j … of x, n of them, times two times sixteen rows of weights. */
inline_always void batch_run(const Product *p, size_t j, size_t n, size_t out,
                             const __mmask16 masks[PANELS], const Rows rows[PANELS], Work *w,
                             const Format f)
{
    size_t all = p->x->width / QUANT_RUN;
    Super super[PANELS] = {0};

    for (size_t i = 0; i < n; i++)
        for (int h = 0; h < PANELS; h++)
            w->sums[i][h] = _mm512_setzero_ps();
    for (size_t first = 0; first < all; first += PIECE_RUNS) {
        size_t runs = all - first < PIECE_RUNS ? all - first : PIECE_RUNS, i = 0;

        piece_load(w, rows, first, runs, super, f);
        for (; i + ROWS_MAX <= n; i += ROWS_MAX)
            many_multiply(p, j + i, ROWS_MAX, w, w->sums + i, first, runs, f.kind);
        for (; i + 2 <= n; i += 2)
            many_multiply(p, j + i, 2, w, w->sums + i, first, runs, f.kind);
        if (i < n)
            many_multiply(p, j + i, 1, w, w->sums + i, first, runs, f.kind);
    }
    for (size_t i = 0; i < n; i++)
        for (size_t h = 0; h < PANELS; h++)
            if (masks[h])
                store(p, j + i, out + h * OUTS, masks[h], w->sums[i][h]);
}

static size_t least(size_t a, size_t b)
{
    return a < b ? a : b;
}

/* Thirty-two rows of weights, of which the second sixteen may be missing: then the first ones are
 * multiplied twice. */
inline_always void many_run(const Product *p, size_t out, size_t n_outs, Work *w, const Format f)
{
    size_t low = least(n_outs, OUTS), high = n_outs - low;
    uint8_t *copy = (uint8_t *)(w + 1);
    const __mmask16 masks[PANELS] = {tail16(low), tail16(high)};
    Rows rows[PANELS];

    rows[0] = rows_init(p, out, low, copy);
    rows[1] = high ? rows_init(p, out + OUTS, high, copy) : rows[0];
    for (size_t j = 0; j < p->n; j += BATCH_ROWS)
        batch_run(p, j, least(p->n - j, BATCH_ROWS), out, masks, rows, w, f);
}

inline_always void product_run(const Product *p, size_t out_begin, size_t out_end, void *scratch,
                               const Format f)
{
    size_t step = p->n > FEW ? PANELS * OUTS : OUTS;

    for (size_t out = out_begin; out < out_end; out += step) {
        size_t n_outs = least(out_end - out, step);

        if (p->n > FEW)
            many_run(p, out, n_outs, scratch, f);
        else
            few_switch(p, out, tail16(n_outs), rows_init(p, out, n_outs, scratch), f);
    }
}

#define PRODUCT(type, ...)                                                                         \
    static void product_##type(const Product *p, size_t out_begin, size_t out_end, void *scratch)  \
    {                                                                                              \
        product_run(p, out_begin, out_end, scratch, (Format){load_##type, __VA_ARGS__});           \
    }                                                                                              \
    struct product_##type##_semicolon

PRODUCT(q8_0, TILE_PLAIN, .runs = 1, .group_bytes = Q8_0_BYTES);
PRODUCT(q4_0, TILE_PLAIN, .runs = 1, .group_bytes = Q4_0_BYTES);
PRODUCT(q4_1, TILE_MINIMUM, .runs = 1, .group_bytes = Q4_1_BYTES);
PRODUCT(q5_0, TILE_PLAIN, .runs = 1, .group_bytes = Q5_0_BYTES);
PRODUCT(q5_1, TILE_MINIMUM, .runs = 1, .group_bytes = Q5_1_BYTES);
PRODUCT(q4_k, TILE_MINIMUM, .runs = 2, .group_bytes = Q4_K_BYTES / 4);
PRODUCT(q5_k, TILE_MINIMUM, .runs = 2, .group_bytes = Q5_K_BYTES / 4);
PRODUCT(q6_k, TILE_HALVES, .runs = 4, .group_bytes = Q6_K_BYTES / 2);

static void product_q8_0_any(const Product *p, size_t out_begin, size_t out_end, void *scratch)
{
    if (p->n == 1)
        product_q8_0_one(p, out_begin, out_end, scratch);
    else
        product_q8_0(p, out_begin, out_end, scratch);
}

void product_int8_avx512vnni(const Product *p, size_t out_begin, size_t out_end, void *scratch)
{
    static const ProductFunc products[_DTYPE_COUNT] = {
        [DTYPE_Q8_0] = product_q8_0_any, [DTYPE_Q4_0] = product_q4_0, [DTYPE_Q4_1] = product_q4_1,
        [DTYPE_Q5_0] = product_q5_0,     [DTYPE_Q5_1] = product_q5_1, [DTYPE_Q4_K] = product_q4_k,
        [DTYPE_Q5_K] = product_q5_k,     [DTYPE_Q6_K] = product_q6_k,
    };

    products[p->w->dtype](p, out_begin, out_end, scratch);
}
