#include "engine/cpu/avx2/avx2.h"

#include <math.h>
#include <string.h>

#include "engine/cpu/avx2/vec.h"
#include "engine/cpu/ref/ref.h"

inline_always __m256 magnitude(__m256 x)
{
    return _mm256_andnot_ps(_mm256_set1_ps(-0.0f), x);
}

/* To the nearest integer, halves away from zero: adding the number just below a half keeps what is
 * just below it there too. */
inline_always __m256i round_q8(__m256 x)
{
    __m256 sign = _mm256_and_ps(x, _mm256_set1_ps(-0.0f));

    return _mm256_cvttps_epi32(
        _mm256_add_ps(x, _mm256_or_ps(sign, _mm256_set1_ps(0x1.fffffep-2f))));
}

/* The sum of sixteen bytes: unsigned ones have an instruction for it, so each is moved up by
 * 128. */
inline_always int32_t sum_bytes(__m128i v)
{
    v = _mm_sad_epu8(_mm_xor_si128(v, _mm_set1_epi8((char)0x80)), _mm_setzero_si128());
    return _mm_cvtsi128_si32(v) + _mm_extract_epi32(v, 2) - 16 * 128;
}

void pack_q8_avx2(const float *x, size_t width, int8_t *q, const PackedNumbers *n)
{
    const __m256i order = _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7);

    for (size_t r = 0; r < width / QUANT_RUN; r++, x += QUANT_RUN, q += QUANT_RUN) {
        __m256 v[4], largest = _mm256_setzero_ps(), divisor;
        __m256i i32[4], i8;
        int32_t sum;
        float scale;

        for (int i = 0; i < 4; i++) {
            v[i] = _mm256_loadu_ps(x + 8 * i);
            largest = _mm256_max_ps(largest, magnitude(v[i]));
        }
        scale = max8(largest) / 127;
        n->scales[r] = _mm_cvtss_f32(_mm_cvtph_ps(_mm_cvtps_ph(_mm_set_ss(scale), 0)));
        /* x / infinity is 0, which is what a run of zeros is to give. */
        divisor = _mm256_set1_ps(scale > 0 ? scale : INFINITY);
        for (int i = 0; i < 4; i++)
            i32[i] = round_q8(_mm256_div_ps(v[i], divisor));
        i8 = _mm256_packs_epi16(_mm256_packs_epi32(i32[0], i32[1]),
                                _mm256_packs_epi32(i32[2], i32[3]));
        i8 = _mm256_permutevar8x32_epi32(i8, order);
        _mm256_storeu_si256((void *)q, i8);

        sum = sum_bytes(_mm256_castsi256_si128(i8));
        n->half_offsets[r] = -128 * sum;
        sum += sum_bytes(_mm256_extracti128_si256(i8, 1));
        n->offsets[r] = -128 * sum;
        n->sums[r] = n->scales[r] * (float)sum;
    }
}

void f16_from_f32_avx2(const float *x, size_t n, uint16_t *y)
{
    size_t i = 0;

    for (; i + 8 <= n; i += 8)
        _mm_storeu_si128((void *)(y + i), _mm256_cvtps_ph(_mm256_loadu_ps(x + i), 0));
    for (; i < n; i++)
        y[i] = _cvtss_sh(x[i], 0);
}

void f32_from_f16_avx2(const uint16_t *x, size_t n, float *y)
{
    size_t i = 0;

    for (; i + 8 <= n; i += 8)
        _mm256_storeu_ps(y + i, _mm256_cvtph_ps(_mm_loadu_si128((const void *)(x + i))));
    for (; i < n; i++)
        y[i] = _cvtsh_ss(x[i]);
}

/* Nearest even by adding half of the last place, less one unless that place is odd. */
inline_always __m128i bf16_eight(__m256 x)
{
    __m256i bits = _mm256_castps_si256(x), odd;

    odd = _mm256_and_si256(_mm256_srli_epi32(bits, 16), _mm256_set1_epi32(1));
    bits = _mm256_add_epi32(bits, _mm256_add_epi32(odd, _mm256_set1_epi32(0x7fff)));
    bits = _mm256_srli_epi32(bits, 16);
    bits = _mm256_permute4x64_epi64(_mm256_packus_epi32(bits, bits), 0x08);
    return _mm256_castsi256_si128(bits);
}

void bf16_from_f32_avx2(const float *x, size_t n, uint16_t *y)
{
    size_t i = 0;

    for (; i + 8 <= n; i += 8)
        _mm_storeu_si128((void *)(y + i), bf16_eight(_mm256_loadu_ps(x + i)));
    bf16_from_f32_ref(x + i, n - i, y + i);
}

void rms_norm_avx2(const float *x, const float *w, float eps, size_t width, float *y)
{
    __m256 sums[2] = {_mm256_setzero_ps(), _mm256_setzero_ps()}, factor;
    __m256i tail = tail_mask(width % 8);
    size_t i = 0;

    for (; i + 16 <= width; i += 16)
        for (int j = 0; j < 2; j++) {
            __m256 v = _mm256_loadu_ps(x + i + 8 * j);

            sums[j] = _mm256_fmadd_ps(v, v, sums[j]);
        }
    for (; i < width; i += 8) {
        __m256 v = i + 8 <= width ? _mm256_loadu_ps(x + i) : _mm256_maskload_ps(x + i, tail);

        sums[0] = _mm256_fmadd_ps(v, v, sums[0]);
    }
    factor = _mm256_set1_ps(1 / sqrtf(sum8(_mm256_add_ps(sums[0], sums[1])) / (float)width + eps));

    for (i = 0; i + 8 <= width; i += 8) {
        __m256 v = _mm256_mul_ps(_mm256_loadu_ps(x + i), factor);

        _mm256_storeu_ps(y + i, w ? _mm256_mul_ps(v, _mm256_loadu_ps(w + i)) : v);
    }
    if (i < width) {
        __m256 v = _mm256_mul_ps(_mm256_maskload_ps(x + i, tail), factor);

        _mm256_maskstore_ps(y + i, tail, w ? _mm256_mul_ps(v, _mm256_maskload_ps(w + i, tail)) : v);
    }
}

void rope_avx2(float *x, size_t n_heads, size_t head_dim, const float *cos_sin)
{
    size_t half = head_dim / 2;

    for (size_t h = 0; h < n_heads; h++, x += head_dim) {
        size_t j = 0;

        for (; j + 8 <= half; j += 8) {
            __m256 a = _mm256_loadu_ps(x + j), b = _mm256_loadu_ps(x + j + half);
            __m256 c = _mm256_loadu_ps(cos_sin + j), s = _mm256_loadu_ps(cos_sin + j + half);

            _mm256_storeu_ps(x + j, _mm256_fmsub_ps(a, c, _mm256_mul_ps(b, s)));
            _mm256_storeu_ps(x + j + half, _mm256_fmadd_ps(b, c, _mm256_mul_ps(a, s)));
        }
        for (; j < half; j++) {
            float a = x[j], b = x[j + half];

            x[j] = a * cos_sin[j] - b * cos_sin[j + half];
            x[j + half] = b * cos_sin[j] + a * cos_sin[j + half];
        }
    }
}

inline_always __m256 silu8(__m256 x)
{
    __m256 e = exp8(_mm256_sub_ps(_mm256_setzero_ps(), x));

    return _mm256_div_ps(x, _mm256_add_ps(_mm256_set1_ps(1), e));
}

void silu_mul_avx2(const float *a, const float *b, size_t n, float *y)
{
    __m256i tail = tail_mask(n % 8);
    size_t i = 0;

    for (; i + 8 <= n; i += 8) {
        __m256 v = silu8(_mm256_loadu_ps(a + i));

        _mm256_storeu_ps(y + i, b ? _mm256_mul_ps(v, _mm256_loadu_ps(b + i)) : v);
    }
    if (i < n) {
        __m256 v = silu8(_mm256_maskload_ps(a + i, tail));

        _mm256_maskstore_ps(y + i, tail, b ? _mm256_mul_ps(v, _mm256_maskload_ps(b + i, tail)) : v);
    }
}

void add_avx2(float *y, const float *x, size_t n)
{
    size_t i = 0;

    for (; i + 8 <= n; i += 8)
        _mm256_storeu_ps(y + i, _mm256_add_ps(_mm256_loadu_ps(y + i), _mm256_loadu_ps(x + i)));
    for (; i < n; i++)
        y[i] += x[i];
}
