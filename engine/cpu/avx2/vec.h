#pragma once

/* Eight floats at a time: what several kernels of this folder share. */

#include <immintrin.h>
#include <stddef.h>
#include <stdint.h>

#define inline_always static inline __attribute__((always_inline))

/* Lanes below n, for the loads and stores of a tail; n at most 8. */
inline_always __m256i tail_mask(size_t n)
{
    static const int32_t lanes[16] = {-1, -1, -1, -1, -1, -1, -1, -1};

    return _mm256_loadu_si256((const void *)(lanes + 8 - n));
}

/* (0 + 4 + 2 + 6) + (1 + 5 + 3 + 7), in this order. */
inline_always float sum8(__m256 v)
{
    __m128 s = _mm_add_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1));

    s = _mm_add_ps(s, _mm_movehl_ps(s, s));
    return _mm_cvtss_f32(_mm_add_ss(s, _mm_movehdup_ps(s)));
}

inline_always float max8(__m256 v)
{
    __m128 s = _mm_max_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1));

    s = _mm_max_ps(s, _mm_movehl_ps(s, s));
    return _mm_cvtss_f32(_mm_max_ss(s, _mm_movehdup_ps(s)));
}

/* e^x within 2 units of the last place up to x = 87, where it stays; 0 below -87, where it
 * would leave the normal numbers. x = n ln 2 + r with |r| <= ln 2 / 2; the polynomial
 * interpolates e^r at seven Chebyshev nodes. */
inline_always __m256 exp8(__m256 x)
{
    __m256 there = _mm256_cmp_ps(x, _mm256_set1_ps(-87), _CMP_GE_OQ), n, r, p;
    __m256i power;

    x = _mm256_min_ps(_mm256_max_ps(x, _mm256_set1_ps(-87)), _mm256_set1_ps(87));
    n = _mm256_round_ps(_mm256_mul_ps(x, _mm256_set1_ps(0x1.715476p+0f)),
                        _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
    /* ln 2 in two parts, the first short enough that n times it is exact. */
    r = _mm256_fnmadd_ps(n, _mm256_set1_ps(0x1.62e4p-1f), x);
    r = _mm256_fnmadd_ps(n, _mm256_set1_ps(0x1.7f7d1cp-20f), r);
    p = _mm256_set1_ps(0.00139411085f);
    p = _mm256_fmadd_ps(p, r, _mm256_set1_ps(0.0083751264f));
    p = _mm256_fmadd_ps(p, r, _mm256_set1_ps(0.0416663529f));
    p = _mm256_fmadd_ps(p, r, _mm256_set1_ps(0.166664155f));
    p = _mm256_fmadd_ps(p, r, _mm256_set1_ps(0.5f));
    p = _mm256_fmadd_ps(p, r, _mm256_set1_ps(1));
    p = _mm256_fmadd_ps(p, r, _mm256_set1_ps(1));
    power = _mm256_slli_epi32(_mm256_add_epi32(_mm256_cvtps_epi32(n), _mm256_set1_epi32(127)), 23);
    return _mm256_and_ps(there, _mm256_mul_ps(p, _mm256_castsi256_ps(power)));
}

/* v[i] = lane i of each of the eight. */
inline_always void transpose8(__m256 v[8])
{
    __m256 a[8], b[8];

    for (int i = 0; i < 8; i += 2) {
        a[i] = _mm256_unpacklo_ps(v[i], v[i + 1]);
        a[i + 1] = _mm256_unpackhi_ps(v[i], v[i + 1]);
    }
    for (int i = 0; i < 8; i += 4) {
        b[i] = _mm256_shuffle_ps(a[i], a[i + 2], 0x44);
        b[i + 1] = _mm256_shuffle_ps(a[i], a[i + 2], 0xee);
        b[i + 2] = _mm256_shuffle_ps(a[i + 1], a[i + 3], 0x44);
        b[i + 3] = _mm256_shuffle_ps(a[i + 1], a[i + 3], 0xee);
    }
    for (int i = 0; i < 4; i++) {
        v[i] = _mm256_permute2f128_ps(b[i], b[i + 4], 0x20);
        v[i + 4] = _mm256_permute2f128_ps(b[i], b[i + 4], 0x31);
    }
}
