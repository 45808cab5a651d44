#include "engine/cpu/avx512/avx512.h"

#include <immintrin.h>
#include <string.h>

/*
 * Products of Q8_0 with VNNI, sixteen outputs to a register.
 *
 * A block of sixteen rows is turned over so that each register holds the same four values of all
 * sixteen; weights become unsigned by adding 128, which the packed row's offsets take off again.
 * Then an activation's four values, broadcast, meet sixteen outputs in one instruction, and no
 * sum ever crosses lanes. Few rows use the turned block from registers; many rows turn it once
 * into scratch.
 */

#define OUTS          PRODUCT_OUTS
#define ROWS_MAX      8
#define inline_always static inline __attribute__((always_inline))

/* A block of sixteen rows of weights. */
typedef struct Tile {
    __m512i w[8];
    __m512 scales;
} Tile;

_Static_assert(sizeof(Tile) * (32 / Q8_0_BLOCK) <= PRODUCT_OUTS * 4 * 32 + 64,
               "scratch holds tiles");

static inline __m512i load_pair(const uint8_t *low, const uint8_t *high)
{
    __m256i l = _mm256_loadu_si256((const void *)low), h = _mm256_loadu_si256((const void *)high);

    return _mm512_inserti64x4(_mm512_castsi256_si512(l), h, 1);
}

static inline __m128i scales_eight(const uint8_t *const rows[OUTS], int first, size_t at)
{
    uint16_t s[8];

    for (int i = 0; i < 8; i++)
        memcpy(&s[i], rows[first + i] + at, 2);
    return _mm_setr_epi16((short)s[0], (short)s[1], (short)s[2], (short)s[3], (short)s[4],
                          (short)s[5], (short)s[6], (short)s[7]);
}

/* The block `at` bytes into each row. */
inline_always void tile_load(Tile *t, const uint8_t *const rows[OUTS], size_t at)
{
    __m512i a[8], b[8];

    /* Row i in the lower half, row i + 8 in the upper: 8 x 8 of four bytes in each half. */
    for (int i = 0; i < 8; i++)
        a[i] = load_pair(rows[i] + at + 2, rows[i + 8] + at + 2);
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
    /* Now a[i] has column i of rows 0-3 (and 8-11) and column i + 4 of them, lane by lane. */
    for (int i = 0; i < 4; i++) {
        const __m512i low = _mm512_setr_epi64(0, 1, 8, 9, 4, 5, 12, 13);
        const __m512i high = _mm512_setr_epi64(2, 3, 10, 11, 6, 7, 14, 15);

        t->w[i] = _mm512_permutex2var_epi64(a[i], low, a[i + 4]);
        t->w[i + 4] = _mm512_permutex2var_epi64(a[i], high, a[i + 4]);
    }
    for (int i = 0; i < 8; i++)
        t->w[i] = _mm512_xor_si512(t->w[i], _mm512_set1_epi8((char)0x80));
    t->scales =
        _mm512_cvtph_ps(_mm256_setr_m128i(scales_eight(rows, 0, at), scales_eight(rows, 8, at)));
}

inline_always __m512i broadcast4(const void *p)
{
    int32_t v;

    memcpy(&v, p, sizeof v);
    return _mm512_set1_epi32(v);
}

/* sum += block of one row of x times the tile. */
inline_always __m512 tile_multiply(__m512 sum, const Tile *t, const int8_t *x, float scale,
                                   int32_t offset)
{
    /* Two chains: the instruction's latency is four cycles. Integer sums are exact in any order. */
    __m512i dot0 = _mm512_set1_epi32(offset), dot1 = _mm512_setzero_si512();

    for (int i = 0; i < 8; i += 2) {
        dot0 = _mm512_dpbusd_epi32(dot0, t->w[i], broadcast4(x + 4 * i));
        dot1 = _mm512_dpbusd_epi32(dot1, t->w[i + 1], broadcast4(x + 4 * i + 4));
    }
    return _mm512_fmadd_ps(_mm512_cvtepi32_ps(_mm512_add_epi32(dot0, dot1)),
                           _mm512_mul_ps(t->scales, _mm512_set1_ps(scale)), sum);
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

/* Rows j … j + n - 1, n known when compiled, of the outputs at `out`. With a panel the tiles
 * are read from there, otherwise turned over as they come. */
inline_always void rows_multiply(const Product *p, size_t j, const int n, size_t out,
                                 __mmask16 mask, const uint8_t *const rows[OUTS], const Tile *panel)
{
    size_t n_blocks = p->x->width / Q8_0_BLOCK;
    const int8_t *x[ROWS_MAX];
    __m512 sums[ROWS_MAX];

    for (int r = 0; r < n; r++) {
        x[r] = packed_row(p->x, product_src(p, j + (size_t)r));
        sums[r] = _mm512_setzero_ps();
    }
    for (size_t b = 0; b < n_blocks; b++) {
        Tile t;

        if (panel)
            t = panel[b];
        else
            tile_load(&t, rows, b * Q8_0_BYTES);
        for (int r = 0; r < n; r++)
            sums[r] = tile_multiply(sums[r], &t, x[r] + b * Q8_0_BLOCK,
                                    packed_scales(p->x, x[r])[b], packed_offsets(p->x, x[r])[b]);
    }
    for (int r = 0; r < n; r++)
        store(p, j + (size_t)r, out, mask, sums[r]);
}

inline_always void rows_switch(const Product *p, size_t j, size_t n, size_t out, __mmask16 mask,
                               const uint8_t *const rows[OUTS], const Tile *panel)
{
    switch (n) {
    case 1:
        rows_multiply(p, j, 1, out, mask, rows, panel);
        break;
    case 2:
        rows_multiply(p, j, 2, out, mask, rows, panel);
        break;
    case 3:
        rows_multiply(p, j, 3, out, mask, rows, panel);
        break;
    case 4:
        rows_multiply(p, j, 4, out, mask, rows, panel);
        break;
    case 5:
        rows_multiply(p, j, 5, out, mask, rows, panel);
        break;
    case 6:
        rows_multiply(p, j, 6, out, mask, rows, panel);
        break;
    case 7:
        rows_multiply(p, j, 7, out, mask, rows, panel);
        break;
    default:
        rows_multiply(p, j, 8, out, mask, rows, panel);
        break;
    }
}

static void rows_direct(const Product *p, size_t out, __mmask16 mask,
                        const uint8_t *const rows[OUTS])
{
    rows_switch(p, 0, p->n, out, mask, rows, NULL);
}

static void rows_panel(const Product *p, size_t out, __mmask16 mask,
                       const uint8_t *const rows[OUTS], Tile *panel)
{
    for (size_t b = 0; b < p->x->width / Q8_0_BLOCK; b++)
        tile_load(&panel[b], rows, b * Q8_0_BYTES);
    for (size_t j = 0; j < p->n; j += ROWS_MAX)
        rows_switch(p, j, p->n - j < ROWS_MAX ? p->n - j : ROWS_MAX, out, mask, rows, panel);
}

void product_q8_avx512vnni(const Product *p, size_t out_begin, size_t out_end, void *scratch)
{
    size_t row_bytes = dtype_row_bytes(DTYPE_Q8_0, p->w->ne[0]);
    const uint8_t *w = p->w->data;

    for (size_t out = out_begin; out < out_end; out += OUTS) {
        size_t n_outs = out_end - out < OUTS ? out_end - out : OUTS;
        const uint8_t *rows[OUTS];

        /* Past the last row the last one stands in; its outputs are masked off. */
        for (size_t i = 0; i < OUTS; i++)
            rows[i] = w + (out + (i < n_outs ? i : n_outs - 1)) * row_bytes;
        if (p->n <= ROWS_MAX)
            rows_direct(p, out, (__mmask16)((1u << n_outs) - 1), rows);
        else
            rows_panel(p, out, (__mmask16)((1u << n_outs) - 1), rows, scratch);
    }
}
