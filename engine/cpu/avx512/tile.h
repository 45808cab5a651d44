#pragma once

/*
 * Sixteen rows of quantised weights, run by run, turned over: each register holds the same four
 * values of all sixteen, as unsigned bytes, the integer plus 128. Four values of an activation row,
 * broadcast, then meet sixteen outputs in one instruction, and no sum ever crosses lanes.
 */

#include <string.h>

#include "engine/base/quant.h"
#include "engine/cpu/avx512/vec.h"
#include "engine/cpu/kernels.h"

#define OUTS PRODUCT_OUTS

/* Sixteen rows of weights. */
typedef struct Rows {
    const uint8_t *base;
    size_t stride;
} Rows;

/* A run of them. */
typedef struct Tile {
    __m512i w[8];
    __m512 scales; /* of a run, or of its first half */
    __m512 extra;  /* scales of the second half, or minima */
} Tile;

/* What the runs of a super-block have in common, kept from one load to the next. */
typedef struct Super {
    __m512i words[4]; /* scales of the runs, four to a register, then minima */
    __m512 scale, minimum;
} Super;

/* What goes with the scales, known when compiled. */
typedef enum TileKind { TILE_PLAIN, TILE_MINIMUM, TILE_HALVES } TileKind;

/* How a type becomes tiles: load() makes `runs` of them at once, those of the index-th group, and
 * is called for the groups of a row in order. */
typedef struct Format {
    void (*load)(Tile *t, Rows rows, size_t index, Super *super);
    TileKind kind;
    size_t runs;
    size_t group_bytes; /* on average, for fetching ahead */
} Format;

/* Multiples of four rows and the rest apart: two registers and the addressing modes make them. */
inline_always const uint8_t *row_at(Rows rows, size_t i)
{
    return rows.base + i / 4 * 4 * rows.stride + i % 4 * rows.stride;
}

inline_always __m512i load_quad(Rows rows, size_t i, size_t at)
{
    __m512i v = _mm512_castsi128_si512(_mm_loadu_si128((const void *)(row_at(rows, i) + at)));

    v = _mm512_inserti32x4(v, _mm_loadu_si128((const void *)(row_at(rows, i + 4) + at)), 1);
    v = _mm512_inserti32x4(v, _mm_loadu_si128((const void *)(row_at(rows, i + 8) + at)), 2);
    return _mm512_inserti32x4(v, _mm_loadu_si128((const void *)(row_at(rows, i + 12) + at)), 3);
}

/* out[i] = bytes at + 4 i … at + 4 i + 3 of the sixteen rows, row j in lane j. */
inline_always void load_turned(__m512i out[4], Rows rows, size_t at)
{
    __m512i a[4], b[4];

    for (size_t i = 0; i < 4; i++)
        a[i] = load_quad(rows, i, at);
    for (size_t i = 0; i < 4; i += 2) {
        b[i] = _mm512_unpacklo_epi32(a[i], a[i + 1]);
        b[i + 1] = _mm512_unpackhi_epi32(a[i], a[i + 1]);
    }
    for (size_t i = 0; i < 2; i++) {
        out[2 * i] = _mm512_unpacklo_epi64(b[i], b[i + 2]);
        out[2 * i + 1] = _mm512_unpackhi_epi64(b[i], b[i + 2]);
    }
}

/* Halves in the lower parts of the lanes. */
inline_always __m512 halves_low(__m512i v)
{
    return _mm512_cvtph_ps(_mm512_cvtepi32_epi16(v));
}

inline_always __m512 halves_high(__m512i v)
{
    return halves_low(_mm512_srli_epi32(v, 16));
}

inline_always __m128i scales_eight(Rows rows, size_t first, size_t at)
{
    short s[8];

    for (size_t i = 0; i < 8; i++)
        memcpy(&s[i], row_at(rows, first + i) + at, sizeof s[i]);
    return _mm_setr_epi16(s[0], s[1], s[2], s[3], s[4], s[5], s[6], s[7]);
}

/* The halves at `at` of the sixteen rows. */
inline_always __m512 load_scales(Rows rows, size_t at)
{
    return _mm512_cvtph_ps(_mm256_setr_m128i(scales_eight(rows, 0, at), scales_eight(rows, 8, at)));
}

inline_always __m512i bytes(uint8_t b)
{
    return _mm512_set1_epi8((char)b);
}

/* (v & mask) | top */
inline_always __m512i mask_or(__m512i v, __m512i mask, __m512i top)
{
    return _mm512_ternarylogic_epi32(v, mask, top, 0xea);
}
