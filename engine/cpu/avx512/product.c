#include "engine/cpu/avx512/avx512.h"

#include <string.h>

#include "engine/cpu/avx512/vec.h"

/*
 * Products of Q8_0 with VNNI, sixteen outputs to a register.
 *
 * A block of sixteen rows of weights is turned over so that each register holds the same four
 * values of all sixteen; weights become unsigned by adding 128, which the packed row's offsets
 * take off again. Then four values of an activation row, broadcast, meet sixteen outputs in one
 * instruction, and no sum ever crosses lanes. Few activation rows use the turned block from
 * registers; many turn it once into scratch; a single one does without and sums across lanes
 * instead. Integer sums are exact in any order and floats are added block by block, so all three
 * give the same bits.
 */

#define OUTS      PRODUCT_OUTS
#define ROWS_MAX  8
#define PAIR_ROWS 4

/* Sixteen rows of weights. */
typedef struct Rows {
    const uint8_t *base;
    size_t stride;
} Rows;

/* A block of them, turned over. */
typedef struct Tile {
    __m512i w[8];
    __m512 scales;
} Tile;

/* Multiples of four rows and the rest apart: two registers and the addressing modes make them. */
inline_always const uint8_t *row_at(Rows rows, size_t i)
{
    return rows.base + i / 4 * 4 * rows.stride + i % 4 * rows.stride;
}

inline_always __m512i load_pair(const uint8_t *low, const uint8_t *high)
{
    __m256i l = _mm256_loadu_si256((const void *)low), h = _mm256_loadu_si256((const void *)high);

    return _mm512_inserti64x4(_mm512_castsi256_si512(l), h, 1);
}

inline_always __m128i scales_eight(Rows rows, size_t first, size_t at)
{
    short s[8];

    for (size_t i = 0; i < 8; i++)
        memcpy(&s[i], row_at(rows, first + i) + at, sizeof s[i]);
    return _mm_setr_epi16(s[0], s[1], s[2], s[3], s[4], s[5], s[6], s[7]);
}

inline_always __m512 block_scales(Rows rows, size_t at)
{
    return _mm512_cvtph_ps(_mm256_setr_m128i(scales_eight(rows, 0, at), scales_eight(rows, 8, at)));
}

/* The block `at` bytes into each row. */
inline_always void tile_load(Tile *t, Rows rows, size_t at)
{
    const __m512i low = _mm512_setr_epi64(0, 1, 8, 9, 4, 5, 12, 13);
    const __m512i high = _mm512_setr_epi64(2, 3, 10, 11, 6, 7, 14, 15);
    __m512i a[8], b[8];

    /* Row i in the lower half, row i + 8 in the upper: 8 x 8 of four bytes in each half. */
    for (size_t i = 0; i < 8; i++)
        a[i] = load_pair(row_at(rows, i) + at + 2, row_at(rows, i + 8) + at + 2);
    for (int i = 0; i < 8; i += 2) {
        b[i] = _mm512_unpacklo_epi32(a[i], a[i + 1]);
        b[i + 1] = _mm512_unpackhi_epi32(a[i], a[i + 1]);
    }
    for (int i = 0; i < 8; i += 4) {
        a[i] = _mm512_unpacklo_epi64(b[i], b[i + 2]);
        a[i + 1] = _mm512_unpackhi_epi64(b[i], b[i + 2]);
        a[i + 2] = _mm512_unpacklo_epi64(b[i + 1], b[i + 3]);
        a[i + 3] = _mm512_unpackhi_epi64(b[i + 1], b[i + 3]);
    }
    /* Now a[i] holds columns i and i + 4 of rows 0-3 and 8-11, a[i + 4] those of the others. */
    for (int i = 0; i < 4; i++) {
        t->w[i] = _mm512_permutex2var_epi64(a[i], low, a[i + 4]);
        t->w[i + 4] = _mm512_permutex2var_epi64(a[i], high, a[i + 4]);
    }
    for (int i = 0; i < 8; i++)
        t->w[i] = _mm512_xor_si512(t->w[i], _mm512_set1_epi8((char)0x80));
    t->scales = block_scales(rows, at);
}

inline_always __m512i broadcast4(const void *p)
{
    int32_t v;

    memcpy(&v, p, sizeof v);
    return _mm512_set1_epi32(v);
}

/* sum += the dots of one block times the scales. */
inline_always __m512 block_add(__m512 sum, __m512i dots, __m512 scales, float scale)
{
    return _mm512_fmadd_ps(_mm512_cvtepi32_ps(dots), _mm512_mul_ps(scales, _mm512_set1_ps(scale)),
                           sum);
}

/* Dots of a tile with one block of x, in two chains: the instruction takes four cycles. */
inline_always __m512i tile_dots(const Tile *t, const int8_t *x, int32_t offset)
{
    __m512i even = _mm512_set1_epi32(offset), odd = _mm512_setzero_si512();

    for (int i = 0; i < 8; i += 2) {
        even = _mm512_dpbusd_epi32(even, t->w[i], broadcast4(x + 4 * i));
        odd = _mm512_dpbusd_epi32(odd, t->w[i + 1], broadcast4(x + 4 * i + 4));
    }
    return _mm512_add_epi32(even, odd);
}

/* Where one row of x meets sixteen of weights: four pointers and two strides reach a block of them
 * all. The compiler would rather have a pointer a row, more than it can hold: cursor_next() hides
 * from it how they hang together. */
typedef struct Cursor {
    const uint8_t *quarters[4];
    size_t stride, stride3;
} Cursor;

inline_always Cursor cursor_at(Rows rows)
{
    const uint8_t *base = rows.base;
    size_t s = rows.stride;

    return (Cursor){{base, base + 4 * s, base + 8 * s, base + 12 * s}, s, 3 * s};
}

inline_always void cursor_next(Cursor *c)
{
    for (size_t i = 0; i < 4; i++)
        c->quarters[i] += Q8_0_BYTES;
    __asm__("" : "+r"(c->stride), "+r"(c->stride3));
}

inline_always const uint8_t *cursor_row(const Cursor *c, size_t i)
{
    const uint8_t *q = c->quarters[i / 4];

    return i % 4 == 3 ? q + c->stride3 : q + i % 4 * c->stride;
}

inline_always __m128i cursor_scales_eight(const Cursor *c, size_t first)
{
    __m128i s = _mm_loadu_si32(cursor_row(c, first)); /* and two bytes that the next one covers */
    int16_t v;

#define SCALE(i) memcpy(&v, cursor_row(c, first + (i)), sizeof v), s = _mm_insert_epi16(s, v, i)
    SCALE(1);
    SCALE(2);
    SCALE(3);
    SCALE(4);
    SCALE(5);
    SCALE(6);
    SCALE(7);
#undef SCALE
    return s;
}

inline_always __m512 cursor_scales(const Cursor *c)
{
    return _mm512_cvtph_ps(_mm256_setr_m128i(cursor_scales_eight(c, 0), cursor_scales_eight(c, 8)));
}

inline_always __m256i cursor_weights(const Cursor *c, size_t i)
{
    __m256i w = _mm256_loadu_si256((const void *)(cursor_row(c, i) + 2));

    return _mm256_xor_si256(w, _mm256_set1_epi8((char)0x80));
}

/* Rows i and i + 1 at once: their columns alternate, so that their sums end in alternate lanes. */
inline_always __m256i two_dots(const Cursor *c, size_t i, __m256i x_low, __m256i x_high)
{
    __m256i a = cursor_weights(c, i), b = cursor_weights(c, i + 1), dots = _mm256_setzero_si256();

    dots = _mm256_dpbusd_epi32(dots, _mm256_unpacklo_epi32(a, b), x_low);
    return _mm256_dpbusd_epi32(dots, _mm256_unpackhi_epi32(a, b), x_high);
}

/* Dots of a block with one of x, without turning it over: a tree of sums leaves row i in lane i. */
inline_always __m512i cursor_dots(const Cursor *c, const int8_t *x, int32_t offset)
{
    __m256i v = _mm256_loadu_si256((const void *)x), sums[4];
    __m256i low = _mm256_shuffle_epi32(v, 0x50), high = _mm256_shuffle_epi32(v, 0xfa);
    __m512i a, b, sum;

    for (size_t i = 0; i < 4; i++) {
        __m256i p = two_dots(c, 4 * i, low, high), q = two_dots(c, 4 * i + 2, low, high);

        sums[i] = _mm256_add_epi32(_mm256_unpacklo_epi64(p, q), _mm256_unpackhi_epi64(p, q));
    }
    a = _mm512_inserti64x4(_mm512_castsi256_si512(sums[0]), sums[1], 1);
    b = _mm512_inserti64x4(_mm512_castsi256_si512(sums[2]), sums[3], 1);
    sum = _mm512_add_epi32(_mm512_shuffle_i64x2(a, b, 0x88), _mm512_shuffle_i64x2(a, b, 0xdd));
    return _mm512_add_epi32(sum, _mm512_set1_epi32(offset));
}

/* The rows that come next, block by block as far ahead as one tile: sixteen streams of short rows
 * are more than the hardware follows. Fetching past the last one does no harm. */
inline_always void rows_prefetch(Rows rows, size_t at)
{
    const uint8_t *next = rows.base + OUTS * rows.stride + OUTS * at;

    for (size_t i = 0; i < OUTS * Q8_0_BYTES; i += 64)
        _mm_prefetch((const char *)next + i, _MM_HINT_T0);
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

static void row_single(const Product *p, size_t out, __mmask16 mask, Rows rows)
{
    const int8_t *x = packed_row(p->x, product_src(p, 0));
    const float *scales = packed_scales(p->x, x);
    const int32_t *offsets = packed_offsets(p->x, x);
    __m512 sum = _mm512_setzero_ps();
    Cursor c = cursor_at(rows);

    for (size_t b = 0; b < p->x->width / Q8_0_BLOCK; b++) {
        rows_prefetch(rows, b * Q8_0_BYTES);
        sum = block_add(sum, cursor_dots(&c, x + b * Q8_0_BLOCK, offsets[b]), cursor_scales(&c),
                        scales[b]);
        cursor_next(&c);
    }
    store(p, 0, out, mask, sum);
}

/* Rows j … j + n - 1 of x, n known when compiled; weights are turned over as they come. */
inline_always void rows_multiply(const Product *p, size_t j, const int n, size_t out,
                                 __mmask16 mask, Rows rows)
{
    const int8_t *x[ROWS_MAX];
    __m512 sums[ROWS_MAX];

    for (int r = 0; r < n; r++) {
        x[r] = packed_row(p->x, product_src(p, j + (size_t)r));
        sums[r] = _mm512_setzero_ps();
    }
    for (size_t b = 0; b < p->x->width / Q8_0_BLOCK; b++) {
        Tile t;

        rows_prefetch(rows, b * Q8_0_BYTES);
        tile_load(&t, rows, b * Q8_0_BYTES);
        for (int r = 0; r < n; r++) {
            __m512i dots = tile_dots(&t, x[r] + b * Q8_0_BLOCK, packed_offsets(p->x, x[r])[b]);

            sums[r] = block_add(sums[r], dots, t.scales, packed_scales(p->x, x[r])[b]);
        }
    }
    for (int r = 0; r < n; r++)
        store(p, j + (size_t)r, out, mask, sums[r]);
}

static void rows_switch(const Product *p, size_t j, size_t n, size_t out, __mmask16 mask, Rows rows)
{
    switch (n) {
    case 1:
        rows_multiply(p, j, 1, out, mask, rows);
        break;
    case 2:
        rows_multiply(p, j, 2, out, mask, rows);
        break;
    case 3:
        rows_multiply(p, j, 3, out, mask, rows);
        break;
    case 4:
        rows_multiply(p, j, 4, out, mask, rows);
        break;
    case 5:
        rows_multiply(p, j, 5, out, mask, rows);
        break;
    case 6:
        rows_multiply(p, j, 6, out, mask, rows);
        break;
    case 7:
        rows_multiply(p, j, 7, out, mask, rows);
        break;
    default:
        rows_multiply(p, j, 8, out, mask, rows);
        break;
    }
}

/* Rows j … j + n - 1 of x, n known when compiled, against thirty-two outputs: two panels of turned
 * blocks share each broadcast of x, which otherwise would keep the loads busier than the
 * multipliers. */
inline_always void pair_multiply(const Product *p, size_t j, const int n, size_t out,
                                 __mmask16 mask, const Tile *panels, size_t n_blocks)
{
    const int8_t *x[PAIR_ROWS];
    __m512 sums[PAIR_ROWS][2];

    for (int r = 0; r < n; r++) {
        x[r] = packed_row(p->x, product_src(p, j + (size_t)r));
        sums[r][0] = sums[r][1] = _mm512_setzero_ps();
    }
    for (size_t b = 0; b < n_blocks; b++) {
        const Tile t[2] = {panels[b], panels[n_blocks + b]};

        for (int r = 0; r < n; r++) {
            __m512i dots[2];

            dots[0] = dots[1] = _mm512_set1_epi32(packed_offsets(p->x, x[r])[b]);
            for (int i = 0; i < 8; i++) {
                __m512i four = broadcast4(x[r] + b * Q8_0_BLOCK + 4 * i);

                dots[0] = _mm512_dpbusd_epi32(dots[0], t[0].w[i], four);
                dots[1] = _mm512_dpbusd_epi32(dots[1], t[1].w[i], four);
            }
            for (int h = 0; h < 2; h++)
                sums[r][h] =
                    block_add(sums[r][h], dots[h], t[h].scales, packed_scales(p->x, x[r])[b]);
        }
    }
    for (int r = 0; r < n; r++) {
        store(p, j + (size_t)r, out, 0xffff, sums[r][0]);
        store(p, j + (size_t)r, out + OUTS, mask, sums[r][1]);
    }
}

/* All rows of x against two times sixteen rows of weights. */
static void pair_run(const Product *p, size_t out, __mmask16 mask, const Rows rows[2], Tile *panels)
{
    size_t n_blocks = p->x->width / Q8_0_BLOCK, j = 0;

    for (size_t h = 0; h < 2; h++)
        for (size_t b = 0; b < n_blocks; b++) {
            rows_prefetch(rows[h], b * Q8_0_BYTES);
            tile_load(&panels[h * n_blocks + b], rows[h], b * Q8_0_BYTES);
        }
    for (; j + PAIR_ROWS <= p->n; j += PAIR_ROWS)
        pair_multiply(p, j, PAIR_ROWS, out, mask, panels, n_blocks);
    for (; j + 2 <= p->n; j += 2)
        pair_multiply(p, j, 2, out, mask, panels, n_blocks);
    if (j < p->n)
        pair_multiply(p, j, 1, out, mask, panels, n_blocks);
}

/* Sixteen rows from `out` on, or as many as there are: then they are filled up in `copy`, and what
 * the others give is masked off. */
static Rows rows_init(const Product *p, size_t out, size_t n_outs, uint8_t *copy)
{
    Rows rows = {tensor_row(p->w, (int64_t)out), dtype_row_bytes(DTYPE_Q8_0, p->w->ne[0])};

    if (n_outs < OUTS) {
        memcpy(copy, rows.base, n_outs * rows.stride);
        memset(copy + n_outs * rows.stride, 0, (OUTS - n_outs) * rows.stride);
        rows.base = copy;
    }
    return rows;
}

void product_q8_avx512vnni(const Product *p, size_t out_begin, size_t out_end, void *scratch)
{
    Tile *panels = scratch;
    uint8_t *copy = (uint8_t *)(panels + 2 * (p->x->width / Q8_0_BLOCK));

    for (size_t out = out_begin; out < out_end; out += OUTS) {
        size_t n_outs = out_end - out < OUTS ? out_end - out : OUTS;
        Rows rows[2] = {rows_init(p, out, n_outs, copy)};

        if (p->n > ROWS_MAX && out_end - out > OUTS) {
            out += OUTS;
            n_outs = out_end - out < OUTS ? out_end - out : OUTS;
            rows[1] = rows_init(p, out, n_outs, copy);
            pair_run(p, out - OUTS, tail16(n_outs), rows, panels);
        } else if (p->n == 1)
            row_single(p, out, tail16(n_outs), rows[0]);
        else
            for (size_t j = 0; j < p->n; j += ROWS_MAX)
                rows_switch(p, j, p->n - j < ROWS_MAX ? p->n - j : ROWS_MAX, out, tail16(n_outs),
                            rows[0]);
    }
}
