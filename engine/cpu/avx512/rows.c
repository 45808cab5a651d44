#include "engine/cpu/avx512/avx512.h"

#include <math.h>

#include "engine/cpu/avx512/vec.h"

/* x / scale to the nearest integer, halves away from zero: adding the number just below a half
 * keeps what is just below it there too. */
inline_always __m512i round_q8(__m512 x)
{
    __m512 sign = _mm512_and_ps(x, _mm512_set1_ps(-0.0f));

    return _mm512_cvttps_epi32(
        _mm512_add_ps(x, _mm512_or_ps(sign, _mm512_set1_ps(0x1.fffffep-2f))));
}

/* The sum of sixteen bytes: unsigned ones have an instruction for it, so each is moved up by
 * 128. */
inline_always int32_t sum_bytes(__m128i v)
{
    v = _mm_sad_epu8(_mm_xor_si128(v, _mm_set1_epi8((char)0x80)), _mm_setzero_si128());
    return _mm_cvtsi128_si32(v) + _mm_extract_epi32(v, 2) - 16 * 128;
}

void pack_q8_avx512(const float *x, size_t width, int8_t *q, const PackedNumbers *n)
{
    for (size_t r = 0; r < width / QUANT_RUN; r++, x += QUANT_RUN, q += QUANT_RUN) {
        __m512 v[2] = {_mm512_loadu_ps(x), _mm512_loadu_ps(x + 16)}, divisor;
        __m128i low, high;
        int32_t sum;
        float scale;

        scale = _mm512_reduce_max_ps(_mm512_max_ps(_mm512_abs_ps(v[0]), _mm512_abs_ps(v[1]))) / 127;
        n->scales[r] = _mm_cvtss_f32(_mm_cvtph_ps(_mm_cvtps_ph(_mm_set_ss(scale), 0)));
        /* x / infinity is 0, which is what a run of zeros is to give. */
        divisor = _mm512_set1_ps(scale > 0 ? scale : INFINITY);
        low = _mm512_cvtsepi32_epi8(round_q8(_mm512_div_ps(v[0], divisor)));
        high = _mm512_cvtsepi32_epi8(round_q8(_mm512_div_ps(v[1], divisor)));
        _mm_storeu_si128((void *)q, low);
        _mm_storeu_si128((void *)(q + 16), high);

        sum = sum_bytes(low);
        n->half_offsets[r] = -128 * sum;
        sum += sum_bytes(high);
        n->offsets[r] = -128 * sum;
        n->sums[r] = n->scales[r] * (float)sum;
    }
}

void rms_norm_avx512(const float *x, const float *w, float eps, size_t width, float *y)
{
    __m512 sums[2] = {_mm512_setzero_ps(), _mm512_setzero_ps()}, factor;
    __mmask16 tail = tail16(width % 16);
    size_t i = 0;

    for (; i + 32 <= width; i += 32)
        for (size_t j = 0; j < 2; j++) {
            __m512 v = _mm512_loadu_ps(x + i + 16 * j);

            sums[j] = _mm512_fmadd_ps(v, v, sums[j]);
        }
    for (; i < width; i += 16) {
        __m512 v = _mm512_maskz_loadu_ps(i + 16 <= width ? 0xffff : tail, x + i);

        sums[0] = _mm512_fmadd_ps(v, v, sums[0]);
    }
    factor = _mm512_set1_ps(
        1 / sqrtf(_mm512_reduce_add_ps(_mm512_add_ps(sums[0], sums[1])) / (float)width + eps));

    for (i = 0; i < width; i += 16) {
        __mmask16 there = i + 16 <= width ? 0xffff : tail;
        __m512 v = _mm512_mul_ps(_mm512_maskz_loadu_ps(there, x + i), factor);

        if (w)
            v = _mm512_mul_ps(v, _mm512_maskz_loadu_ps(there, w + i));
        _mm512_mask_storeu_ps(y + i, there, v);
    }
}

void silu_mul_avx512(const float *a, const float *b, size_t n, float *y)
{
    for (size_t i = 0; i < n; i += 16) {
        __mmask16 there = i + 16 <= n ? 0xffff : tail16(n % 16);
        __m512 x = _mm512_maskz_loadu_ps(there, a + i);
        __m512 e = exp16(_mm512_sub_ps(_mm512_setzero_ps(), x));

        x = _mm512_div_ps(x, _mm512_add_ps(_mm512_set1_ps(1), e));
        if (b)
            x = _mm512_mul_ps(x, _mm512_maskz_loadu_ps(there, b + i));
        _mm512_mask_storeu_ps(y + i, there, x);
    }
}
