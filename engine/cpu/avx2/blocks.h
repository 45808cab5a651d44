#pragma once

/* Tiles from the blocks of each type: engine/base/quant.h says how they lie. */

#include "engine/cpu/avx2/tile.h"

inline_always void load_q8_0(Tile *t, Rows rows, size_t index, Super *super)
{
    size_t at = index * Q8_0_BYTES;

    (void)super;
    load_turned(t->w, rows, at + 2);
    load_turned(t->w + 4, rows, at + 18);
    for (int i = 0; i < 8; i++)
        t->magnitudes[i] = _mm256_abs_epi8(t->w[i]);
    t->scales = load_scales(rows, at);
}

inline_always void load_q4_0(Tile *t, Rows rows, size_t index, Super *super)
{
    size_t at = index * Q4_0_BYTES;
    __m256i v[4];

    (void)super;
    load_turned(v, rows, at + 2);
    for (int i = 0; i < 4; i++) {
        t->w[i] = nibbles_low(v[i]);
        t->w[i + 4] = nibbles_high(v[i]);
    }
    t->scales = load_scales(rows, at);
}

inline_always void load_q4_1(Tile *t, Rows rows, size_t index, Super *super)
{
    size_t at = index * Q4_1_BYTES;
    __m256i v[4], head[4];

    (void)super;
    load_turned(v, rows, at + 4);
    load_turned(head, rows, at);
    for (int i = 0; i < 4; i++) {
        t->w[i] = nibbles_low(v[i]);
        t->w[i + 4] = nibbles_high(v[i]);
    }
    t->scales = halves_low(head[0]);
    t->extra = halves_high(head[0]);
}

/* Four bytes with 16 where the lowest four bits of a lane are set: bit i times 2^7i lands in byte
 * i, and what else the product makes is masked off. */
inline_always __m256i spread_fifths(__m256i bits)
{
    bits = _mm256_and_si256(bits, _mm256_set1_epi32(15));
    bits = _mm256_mullo_epi32(bits, _mm256_set1_epi32(1 << 4 | 1 << 11 | 1 << 18 | 1 << 25));
    return _mm256_and_si256(bits, bytes(16));
}

inline_always void fifths_add(Tile *t, const __m256i v[4], __m256i fifths)
{
    for (int i = 0; i < 4; i++) {
        __m256i low = spread_fifths(_mm256_srli_epi32(fifths, 4 * i));
        __m256i high = spread_fifths(_mm256_srli_epi32(fifths, 4 * i + 16));

        t->w[i] = _mm256_or_si256(nibbles_low(v[i]), low);
        t->w[i + 4] = _mm256_or_si256(nibbles_high(v[i]), high);
    }
}

inline_always void load_q5_0(Tile *t, Rows rows, size_t index, Super *super)
{
    size_t at = index * Q5_0_BYTES;
    __m256i v[4], head[4];

    (void)super;
    load_turned(v, rows, at + 6);
    load_turned(head, rows, at);
    fifths_add(t, v,
               _mm256_or_si256(_mm256_srli_epi32(head[0], 16), _mm256_slli_epi32(head[1], 16)));
    t->scales = halves_low(head[0]);
}

inline_always void load_q5_1(Tile *t, Rows rows, size_t index, Super *super)
{
    size_t at = index * Q5_1_BYTES;
    __m256i v[4], head[4];

    (void)super;
    load_turned(v, rows, at + 8);
    load_turned(head, rows, at);
    fifths_add(t, v, head[1]);
    t->scales = halves_low(head[0]);
    t->extra = halves_high(head[0]);
}

inline_always void load_super_k(Super *s, Rows rows, size_t at)
{
    __m256i v[4], low, high;

    load_turned(v, rows, at);
    low = _mm256_and_si256(_mm256_srli_epi32(v[1], 2), bytes(0x30));
    high = _mm256_and_si256(_mm256_srli_epi32(v[2], 2), bytes(0x30));
    s->words[0] = _mm256_and_si256(v[1], bytes(63));
    s->words[1] = _mm256_or_si256(nibbles_low(v[3]), low);
    s->words[2] = _mm256_and_si256(v[2], bytes(63));
    s->words[3] = _mm256_or_si256(nibbles_high(v[3]), high);
    s->scale = halves_low(v[0]);
    s->minimum = _mm256_sub_ps(_mm256_setzero_ps(), halves_high(v[0]));
}

inline_always __m256 byte_floats(__m256i words, size_t i)
{
    __m256i byte = _mm256_srl_epi32(words, _mm_cvtsi32_si128((int)(8 * i)));

    return _mm256_cvtepi32_ps(_mm256_and_si256(byte, _mm256_set1_epi32(0xff)));
}

inline_always void super_k_scales(Tile t[2], const Super *s, size_t index)
{
    for (size_t i = 0; i < 2; i++) {
        size_t byte = index % 2 * 2 + i;

        t[i].scales = _mm256_mul_ps(s->scale, byte_floats(s->words[index / 2], byte));
        t[i].extra = _mm256_mul_ps(s->minimum, byte_floats(s->words[2 + index / 2], byte));
    }
}

inline_always void load_q4_k(Tile t[2], Rows rows, size_t index, Super *super)
{
    size_t at = index / 4 * Q4_K_BYTES, pair = index % 4;

    if (pair == 0)
        load_super_k(super, rows, at);
    for (size_t half = 0; half < 2; half++) {
        __m256i v[4];

        load_turned(v, rows, at + Q4_K_NIBBLES + pair * QUANT_RUN + half * 16);
        for (size_t i = 0; i < 4; i++) {
            t[0].w[4 * half + i] = nibbles_low(v[i]);
            t[1].w[4 * half + i] = nibbles_high(v[i]);
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
        __m256i v[4], fifths[4];

        load_turned(v, rows, at + Q5_K_NIBBLES + pair * QUANT_RUN + half * 16);
        load_turned(fifths, rows, at + Q5_K_FIFTHS + half * 16);
        for (size_t i = 0; i < 4; i++) {
            __m256i f = _mm256_sll_epi32(_mm256_srl_epi32(fifths[i], down), up);
            __m256i low = _mm256_and_si256(f, bytes(16));
            __m256i high = _mm256_and_si256(_mm256_srli_epi32(f, 1), bytes(16));

            t[0].w[4 * half + i] = _mm256_or_si256(nibbles_low(v[i]), low);
            t[1].w[4 * half + i] = _mm256_or_si256(nibbles_high(v[i]), high);
        }
    }
    super_k_scales(t, super, pair);
}

/* Scales of the four runs of a half of a super-block: eight int8, two words. */
inline_always void super_6_scales(Tile t[4], Rows rows, size_t at, size_t half)
{
    __m256 scale = load_scales(rows, at + Q6_K_SCALE);
    __m256i v[4];

    load_turned(v, rows, at + Q6_K_SCALES);
    for (size_t i = 0; i < 4; i++) {
        __m256i words = _mm256_slli_epi32(v[2 * half + i / 2], i % 2 ? 0 : 16);
        __m256i first = _mm256_srai_epi32(_mm256_slli_epi32(words, 8), 24);

        t[i].scales = _mm256_mul_ps(scale, _mm256_cvtepi32_ps(first));
        t[i].extra = _mm256_mul_ps(scale, _mm256_cvtepi32_ps(_mm256_srai_epi32(words, 24)));
    }
}

inline_always void load_q6_k(Tile t[4], Rows rows, size_t index, Super *super)
{
    size_t at = index / 2 * Q6_K_BYTES, half = index % 2;

    (void)super;
    for (size_t q = 0; q < 2; q++) {
        __m256i a[4], b[4], upper[4];

        load_turned(a, rows, at + half * 64 + q * 16);
        load_turned(b, rows, at + half * 64 + 32 + q * 16);
        load_turned(upper, rows, at + Q6_K_UPPER + half * 32 + q * 16);
        for (size_t i = 0; i < 4; i++) {
            const __m256i pair = bytes(0x30);
            __m256i u = upper[i], top[4];

            top[0] = _mm256_and_si256(_mm256_slli_epi32(u, 4), pair);
            top[1] = _mm256_and_si256(_mm256_slli_epi32(u, 2), pair);
            top[2] = _mm256_and_si256(u, pair);
            top[3] = _mm256_and_si256(_mm256_srli_epi32(u, 2), pair);
            t[0].w[4 * q + i] = _mm256_or_si256(nibbles_low(a[i]), top[0]);
            t[1].w[4 * q + i] = _mm256_or_si256(nibbles_low(b[i]), top[1]);
            t[2].w[4 * q + i] = _mm256_or_si256(nibbles_high(a[i]), top[2]);
            t[3].w[4 * q + i] = _mm256_or_si256(nibbles_high(b[i]), top[3]);
        }
    }
    super_6_scales(t, rows, at, half);
}
