#include "engine/cpu/avx512/avx512.h"
#include "engine/cpu/avx512/product.h"

/* Products of Q8_0 with a single row of x: dots row by row, summed across lanes, for turning a run
 * over costs more than it saves. */

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

static void row_multiply(const Product *p, size_t out, __mmask16 mask, Rows rows)
{
    const int8_t *x = packed_row(p->x, product_src(p, 0));
    const float *scales = packed_scales(p->x, x);
    const int32_t *offsets = packed_offsets(p->x, x);
    __m512 sum = _mm512_setzero_ps();
    Cursor c = cursor_at(rows);

    for (size_t r = 0; r < p->x->width / QUANT_RUN; r++) {
        fetch_ahead(rows, r, Q8_0_BYTES);
        sum = dots_add(sum, cursor_dots(&c, x + r * QUANT_RUN, offsets[r]), cursor_scales(&c),
                       scales[r]);
        cursor_next(&c);
    }
    store(p, 0, out, mask, sum);
}

void product_q8_0_one(const Product *p, size_t out_begin, size_t out_end, void *scratch)
{
    for (size_t out = out_begin; out < out_end; out += OUTS) {
        size_t n_outs = out_end - out < OUTS ? out_end - out : OUTS;

        row_multiply(p, out, tail16(n_outs), rows_init(p, out, n_outs, scratch));
    }
}
