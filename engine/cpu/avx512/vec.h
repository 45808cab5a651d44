#pragma once

/* Sixteen floats at a time: what several kernels of this folder share. */

#include <immintrin.h>
#include <stddef.h>
#include <stdint.h>

#define inline_always static inline __attribute__((always_inline))

/* Lanes below n; n at most 16. */
inline_always __mmask16 tail16(size_t n)
{
    return (__mmask16)((1u << n) - 1);
}

/* As exp8() of the AVX2 kernels: 0 below -87. */
inline_always __m512 exp16(__m512 x)
{
    __mmask16 there = _mm512_cmp_ps_mask(x, _mm512_set1_ps(-87), _CMP_GE_OQ);
    __m512 n, r, p;

    x = _mm512_min_ps(x, _mm512_set1_ps(87));
    n = _mm512_roundscale_ps(_mm512_mul_ps(x, _mm512_set1_ps(0x1.715476p+0f)),
                             _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
    r = _mm512_fnmadd_ps(n, _mm512_set1_ps(0x1.62e4p-1f), x);
    r = _mm512_fnmadd_ps(n, _mm512_set1_ps(0x1.7f7d1cp-20f), r);
    p = _mm512_set1_ps(0.00139411085f);
    p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(0.0083751264f));
    p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(0.0416663529f));
    p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(0.166664155f));
    p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(0.5f));
    p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(1));
    p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(1));
    return _mm512_maskz_scalef_ps(there, p, n);
}

/* Lane i = the sum of v[i]; each sum in the same order wherever its vector stands. */
inline_always __m128 floats_sum4(const __m512 v[4])
{
    __m512 a = _mm512_add_ps(_mm512_unpacklo_ps(v[0], v[1]), _mm512_unpackhi_ps(v[0], v[1]));
    __m512 b = _mm512_add_ps(_mm512_unpacklo_ps(v[2], v[3]), _mm512_unpackhi_ps(v[2], v[3]));
    __m512 c = _mm512_add_ps(_mm512_shuffle_ps(a, b, 0x44), _mm512_shuffle_ps(a, b, 0xee));
    __m256 d = _mm256_add_ps(_mm512_castps512_ps256(c), _mm512_extractf32x8_ps(c, 1));

    return _mm_add_ps(_mm256_castps256_ps128(d), _mm256_extractf128_ps(d, 1));
}
