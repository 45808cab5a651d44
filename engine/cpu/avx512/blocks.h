#pragma once

/* Tiles from the blocks of each type: engine/base/quant.h says how they lie. Integers without a
 * sign stay below 128, so that adding 128 sets a bit. */

#include "engine/cpu/avx512/tile.h"

inline_always __m512i load_pair(const uint8_t *low, const uint8_t *high)
{
    __m256i l = _mm256_loadu_si256((const void *)low), h = _mm256_loadu_si256((const void *)high);

    return _mm512_inserti64x4(_mm512_castsi256_si512(l), h, 1);
}

inline_always void load_q8_0(Tile *t, Rows rows, size_t index, Super *super)
{
    const __m512i low = _mm512_setr_epi64(0, 1, 8, 9, 4, 5, 12, 13);
    const __m512i high = _mm512_setr_epi64(2, 3, 10, 11, 6, 7, 14, 15);
    size_t at = index * Q8_0_BYTES;
    __m512i a[8], b[8];

    (void)super;
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
        t->w[i] = _mm512_xor_si512(t->w[i], bytes(0x80));
    t->scales = load_scales(rows, at);
}

inline_always void load_q4_0(Tile *t, Rows rows, size_t index, Super *super)
{
    size_t at = index * Q4_0_BYTES;
    __m512i v[4];

    (void)super;
    load_turned(v, rows, at + 2);
    for (int i = 0; i < 4; i++) {
        __m512i high = _mm512_and_si512(_mm512_srli_epi32(v[i], 4), bytes(15));

        t->w[i] = _mm512_add_epi8(_mm512_and_si512(v[i], bytes(15)), bytes(128 - 8));
        t->w[i + 4] = _mm512_add_epi8(high, bytes(128 - 8));
    }
    t->scales = load_scales(rows, at);
}

inline_always void load_q4_1(Tile *t, Rows rows, size_t index, Super *super)
{
    size_t at = index * Q4_1_BYTES;
    __m512i v[4], head[4];

    (void)super;
    load_turned(v, rows, at + 4);
    load_turned(head, rows, at);
    for (int i = 0; i < 4; i++) {
        t->w[i] = mask_or(v[i], bytes(15), bytes(128));
        t->w[i + 4] = mask_or(_mm512_srli_epi32(v[i], 4), bytes(15), bytes(128));
    }
    t->scales = halves_low(head[0]);
    t->extra = halves_high(head[0]);
}

/* Four bytes with 16 where the lowest four bits of a lane are set. */
inline_always __m512i spread_fifths(__m512i bits)
{
    const __m512i spread =
        _mm512_setr_epi32(0x00000000, 0x00000010, 0x00001000, 0x00001010, 0x00100000, 0x00100010,
                          0x00101000, 0x00101010, 0x10000000, 0x10000010, 0x10001000, 0x10001010,
                          0x10100000, 0x10100010, 0x10101000, 0x10101010);

    return _mm512_permutexvar_epi32(bits, spread);
}

inline_always void fifths_add(Tile *t, const __m512i v[4], __m512i fifths)
{
    for (int i = 0; i < 4; i++) {
        t->w[i] = mask_or(v[i], bytes(15), spread_fifths(_mm512_srli_epi32(fifths, 4 * i)));
        t->w[i + 4] = mask_or(_mm512_srli_epi32(v[i], 4), bytes(15),
                              spread_fifths(_mm512_srli_epi32(fifths, 4 * i + 16)));
    }
}

inline_always void load_q5_0(Tile *t, Rows rows, size_t index, Super *super)
{
    size_t at = index * Q5_0_BYTES;
    __m512i v[4], head[4];

    (void)super;
    load_turned(v, rows, at + 6);
    load_turned(head, rows, at);
    fifths_add(t, v,
               _mm512_or_si512(_mm512_srli_epi32(head[0], 16), _mm512_slli_epi32(head[1], 16)));
    for (int i = 0; i < 8; i++)
        t->w[i] = _mm512_add_epi8(t->w[i], bytes(128 - 16));
    t->scales = halves_low(head[0]);
}

inline_always void load_q5_1(Tile *t, Rows rows, size_t index, Super *super)
{
    size_t at = index * Q5_1_BYTES;
    __m512i v[4], head[4];

    (void)super;
    load_turned(v, rows, at + 8);
    load_turned(head, rows, at);
    fifths_add(t, v, head[1]);
    for (int i = 0; i < 8; i++)
        t->w[i] = _mm512_or_si512(t->w[i], bytes(128));
    t->scales = halves_low(head[0]);
    t->extra = halves_high(head[0]);
}

/* The head of Q4_K and Q5_K, which is a vector of four words: scales and minima of the runs as
 * bytes, those of runs 0-3 and 4-7 each in a register. */
inline_always void load_super_k(Super *s, Rows rows, size_t at)
{
    __m512i v[4], low, high;

    load_turned(v, rows, at);
    low = _mm512_and_si512(_mm512_srli_epi32(v[1], 2), bytes(0x30));
    high = _mm512_and_si512(_mm512_srli_epi32(v[2], 2), bytes(0x30));
    s->words[0] = _mm512_and_si512(v[1], bytes(63));
    s->words[1] = mask_or(v[3], bytes(15), low);
    s->words[2] = _mm512_and_si512(v[2], bytes(63));
    s->words[3] = mask_or(_mm512_srli_epi32(v[3], 4), bytes(15), high);
    s->scale = halves_low(v[0]);
    s->minimum = _mm512_sub_ps(_mm512_setzero_ps(), halves_high(v[0]));
}

inline_always __m512 byte_floats(__m512i words, size_t i)
{
    __m512i byte = _mm512_srl_epi32(words, _mm_cvtsi32_si128((int)(8 * i)));

    return _mm512_cvtepi32_ps(_mm512_and_si512(byte, _mm512_set1_epi32(0xff)));
}

/* Scales and minima of two runs, the index-th pair of a super-block. */
inline_always void super_k_scales(Tile t[2], const Super *s, size_t index)
{
    for (size_t i = 0; i < 2; i++) {
        size_t byte = index % 2 * 2 + i;

        t[i].scales = _mm512_mul_ps(s->scale, byte_floats(s->words[index / 2], byte));
        t[i].extra = _mm512_mul_ps(s->minimum, byte_floats(s->words[2 + index / 2], byte));
    }
}

inline_always void load_q4_k(Tile t[2], Rows rows, size_t index, Super *super)
{
    size_t at = index / 4 * Q4_K_BYTES, pair = index % 4;

    if (pair == 0)
        load_super_k(super, rows, at);
    for (size_t half = 0; half < 2; half++) {
        __m512i v[4];

        load_turned(v, rows, at + Q4_K_NIBBLES + pair * QUANT_RUN + half * 16);
        for (size_t i = 0; i < 4; i++) {
            t[0].w[4 * half + i] = mask_or(v[i], bytes(15), bytes(128));
            t[1].w[4 * half + i] = mask_or(_mm512_srli_epi32(v[i], 4), bytes(15), bytes(128));
        }
    }
    super_k_scales(t, super, pair);
}

inline_always void load_q5_k(Tile t[2], Rows rows, size_t index, Super *super)
{
    size_t at = index / 4 * Q5_K_BYTES, pair = index % 4;
    /* The pair's fifth bits are moved to bits 4 and 5 of their bytes. */
    __m128i down = _mm_cvtsi32_si128(pair == 3 ? 2 : 0);
    __m128i up = _mm_cvtsi32_si128(pair < 2 ? 4 - 2 * (int)pair : 0);

    if (pair == 0)
        load_super_k(super, rows, at);
    for (size_t half = 0; half < 2; half++) {
        __m512i v[4], fifths[4];

        load_turned(v, rows, at + Q5_K_NIBBLES + pair * QUANT_RUN + half * 16);
        load_turned(fifths, rows, at + Q5_K_FIFTHS + half * 16);
        for (size_t i = 0; i < 4; i++) {
            __m512i f = _mm512_sll_epi32(_mm512_srl_epi32(fifths[i], down), up);
            __m512i low = mask_or(f, bytes(16), bytes(128));
            __m512i high = mask_or(_mm512_srli_epi32(f, 1), bytes(16), bytes(128));

            t[0].w[4 * half + i] = mask_or(v[i], bytes(15), low);
            t[1].w[4 * half + i] = mask_or(_mm512_srli_epi32(v[i], 4), bytes(15), high);
        }
    }
    super_k_scales(t, super, pair);
}

/* Scales of the four runs of a half of a super-block: eight int8, two words. */
inline_always void super_6_scales(Tile t[4], Rows rows, size_t at, size_t half)
{
    __m512 scale = load_scales(rows, at + Q6_K_SCALE);
    __m512i v[4];

    load_turned(v, rows, at + Q6_K_SCALES);
    for (size_t i = 0; i < 4; i++) {
        __m512i words = _mm512_slli_epi32(v[2 * half + i / 2], i % 2 ? 0 : 16);
        __m512i first = _mm512_srai_epi32(_mm512_slli_epi32(words, 8), 24);

        t[i].scales = _mm512_mul_ps(scale, _mm512_cvtepi32_ps(first));
        t[i].extra = _mm512_mul_ps(scale, _mm512_cvtepi32_ps(_mm512_srai_epi32(words, 24)));
    }
}

inline_always void load_q6_k(Tile t[4], Rows rows, size_t index, Super *super)
{
    size_t at = index / 2 * Q6_K_BYTES, half = index % 2;

    (void)super;
    for (size_t q = 0; q < 2; q++) {
        __m512i a[4], b[4], upper[4];

        load_turned(a, rows, at + half * 64 + q * 16);
        load_turned(b, rows, at + half * 64 + 32 + q * 16);
        load_turned(upper, rows, at + Q6_K_UPPER + half * 32 + q * 16);
        for (size_t i = 0; i < 4; i++) {
            __m512i u = upper[i], w[4];

            w[0] = _mm512_and_si512(_mm512_slli_epi32(u, 4), bytes(0x30));
            w[1] = _mm512_and_si512(_mm512_slli_epi32(u, 2), bytes(0x30));
            w[2] = _mm512_and_si512(u, bytes(0x30));
            w[3] = _mm512_and_si512(_mm512_srli_epi32(u, 2), bytes(0x30));
            w[0] = mask_or(a[i], bytes(15), w[0]);
            w[1] = mask_or(b[i], bytes(15), w[1]);
            w[2] = mask_or(_mm512_srli_epi32(a[i], 4), bytes(15), w[2]);
            w[3] = mask_or(_mm512_srli_epi32(b[i], 4), bytes(15), w[3]);
            for (size_t r = 0; r < 4; r++)
                t[r].w[4 * q + i] = _mm512_add_epi8(w[r], bytes(128 - 32));
        }
    }
    super_6_scales(t, rows, at, half);
}
