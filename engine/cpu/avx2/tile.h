#pragma once

/*
 * Eight rows of quantised weights, run by run, turned over: each register holds the same four
 * values of all eight, as unsigned bytes, `zero` more than the integer. Tiles of AVX-512 are alike:
 * engine/cpu/avx512/tile.h.
 */

#include <string.h>

#include "engine/base/quant.h"
#include "engine/cpu/avx2/vec.h"
#include "engine/cpu/kernels.h"

#define LANES 8

typedef struct Rows {
    const uint8_t *base;
    size_t stride;
} Rows;

typedef struct Tile {
    __m256i w[8];
    __m256 scales;         /* of a run, or of its first half */
    __m256 extra;          /* scales of the second half, or minima */
    __m256i magnitudes[8]; /* with TILE_SIGNED */
} Tile;

typedef struct Super {
    __m256i words[4];
    __m256 scale, minimum;
} Super;

/* Bytes of Q8_0 have no room for an offset: magnitudes are the unsigned side there, and the signs
 * of w go to the activations. */
typedef enum TileKind { TILE_PLAIN, TILE_MINIMUM, TILE_HALVES, TILE_SIGNED } TileKind;

/* `chain` pairs of products of bytes add up to less than 2^15. */
typedef struct Format {
    void (*load)(Tile *t, Rows rows, size_t index, Super *super);
    TileKind kind;
    size_t runs;
    int zero, chain;
} Format;

inline_always const uint8_t *row_at(Rows rows, size_t i)
{
    return rows.base + i / 4 * 4 * rows.stride + i % 4 * rows.stride;
}

/* out[i] = bytes at + 4 i … at + 4 i + 3 of the eight rows, row j in lane j. */
inline_always void load_turned(__m256i out[4], Rows rows, size_t at)
{
    __m256i a[4], b[4];

    for (size_t i = 0; i < 4; i++) {
        __m128i low = _mm_loadu_si128((const void *)(row_at(rows, i) + at));
        __m128i high = _mm_loadu_si128((const void *)(row_at(rows, i + 4) + at));

        a[i] = _mm256_inserti128_si256(_mm256_castsi128_si256(low), high, 1);
    }
    for (size_t i = 0; i < 4; i += 2) {
        b[i] = _mm256_unpacklo_epi32(a[i], a[i + 1]);
        b[i + 1] = _mm256_unpackhi_epi32(a[i], a[i + 1]);
    }
    for (size_t i = 0; i < 2; i++) {
        out[2 * i] = _mm256_unpacklo_epi64(b[i], b[i + 2]);
        out[2 * i + 1] = _mm256_unpackhi_epi64(b[i], b[i + 2]);
    }
}

/* Halves in the lower parts of the lanes. */
inline_always __m256 halves_low(__m256i v)
{
    v = _mm256_and_si256(v, _mm256_set1_epi32(0xffff));
    v = _mm256_permute4x64_epi64(_mm256_packus_epi32(v, v), 0x08);
    return _mm256_cvtph_ps(_mm256_castsi256_si128(v));
}

inline_always __m256 halves_high(__m256i v)
{
    return halves_low(_mm256_srli_epi32(v, 16));
}

/* The halves at `at` of the eight rows. */
inline_always __m256 load_scales(Rows rows, size_t at)
{
    uint16_t s[8];

    for (size_t i = 0; i < 8; i++)
        memcpy(&s[i], row_at(rows, i) + at, sizeof s[i]);
    return _mm256_cvtph_ps(_mm_loadu_si128((const void *)s));
}

inline_always __m256i bytes(uint8_t b)
{
    return _mm256_set1_epi8((char)b);
}

inline_always __m256i nibbles_low(__m256i v)
{
    return _mm256_and_si256(v, bytes(15));
}

inline_always __m256i nibbles_high(__m256i v)
{
    return _mm256_and_si256(_mm256_srli_epi32(v, 4), bytes(15));
}
