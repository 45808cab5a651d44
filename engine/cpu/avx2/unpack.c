#include <string.h>

#include "engine/base/quant.h"
#include "engine/cpu/avx2/avx2.h"
#include "engine/cpu/avx2/vec.h"
#include "engine/cpu/ref/ref.h"

inline_always float load_half(const uint8_t *p)
{
    uint16_t half;

    memcpy(&half, p, sizeof half);
    return _cvtsh_ss(half);
}

static void unpack_q8_0(const uint8_t *block, size_t n, float *y)
{
    for (; n > 0; n -= Q8_0_BLOCK, block += Q8_0_BYTES, y += Q8_0_BLOCK) {
        __m256 scale = _mm256_set1_ps(load_half(block));

        for (int i = 0; i < 4; i++) {
            __m256i q = _mm256_cvtepi8_epi32(_mm_loadl_epi64((const void *)(block + 2 + 8 * i)));

            _mm256_storeu_ps(y + 8 * i, _mm256_mul_ps(scale, _mm256_cvtepi32_ps(q)));
        }
    }
}

static void unpack_bf16(const uint8_t *row, size_t n, float *y)
{
    size_t i = 0;

    for (; i + 8 <= n; i += 8) {
        __m256i v = _mm256_cvtepu16_epi32(_mm_loadu_si128((const void *)(row + 2 * i)));

        _mm256_storeu_ps(y + i, _mm256_castsi256_ps(_mm256_slli_epi32(v, 16)));
    }
    unpack_ref(DTYPE_BF16, row + 2 * i, n - i, y + i);
}

/* A file aligns its tensors, not their rows, and f32_from_f16() wants whole halves. */
static void unpack_f16(const uint8_t *row, size_t n, float *y)
{
    size_t i = 0;

    for (; i + 8 <= n; i += 8)
        _mm256_storeu_ps(y + i, _mm256_cvtph_ps(_mm_loadu_si128((const void *)(row + 2 * i))));
    unpack_ref(DTYPE_F16, row + 2 * i, n - i, y + i);
}

/* The other types are unpacked for single rows of embeddings and where f32 products are asked for,
 * for their exactness. */
void unpack_avx2(DType dtype, const void *row, size_t n, float *y)
{
    if (dtype == DTYPE_Q8_0)
        unpack_q8_0(row, n, y);
    else if (dtype == DTYPE_BF16)
        unpack_bf16(row, n, y);
    else if (dtype == DTYPE_F16)
        unpack_f16(row, n, y);
    else
        unpack_ref(dtype, row, n, y);
}
