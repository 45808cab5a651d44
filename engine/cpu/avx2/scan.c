#include "engine/cpu/avx2/avx2.h"
#include "engine/cpu/avx2/vec.h"

/* Sums of the eight lanes of four vectors. */
inline_always __m128i sums4(__m256i a, __m256i b, __m256i c, __m256i d)
{
    __m256i s = _mm256_hadd_epi32(_mm256_hadd_epi32(a, b), _mm256_hadd_epi32(c, d));

    return _mm_add_epi32(_mm256_castsi256_si128(s), _mm256_extracti128_si256(s, 1));
}

/* Products of unsigned and signed bytes may not fit 16 bits in pairs, so both are widened first. */
inline_always __m256i add_products(__m256i sum, const uint8_t *row, __m256i query)
{
    __m256i wide = _mm256_cvtepu8_epi16(_mm_loadu_si128((const void *)row));

    return _mm256_add_epi32(sum, _mm256_madd_epi16(wide, query));
}

inline_always __m256i widen(const int8_t *query)
{
    return _mm256_cvtepi8_epi16(_mm_loadu_si128((const void *)query));
}

static int32_t query_sum(const int8_t *query, size_t width)
{
    int32_t sum = 0;

    for (size_t k = 0; k < width; k++)
        sum += query[k];
    return sum;
}

void scan_q8_avx2(const uint8_t *rows, size_t n, size_t width, const int8_t *query, int32_t *out)
{
    int32_t offset = 128 * query_sum(query, width);
    size_t i = 0;

    for (; i + 4 <= n; i += 4) {
        const uint8_t *row = rows + i * width;
        __m256i sum[4] = {0};

        for (size_t k = 0; k < width; k += 16) {
            __m256i q = widen(query + k);
            for (size_t j = 0; j < 4; j++)
                sum[j] = add_products(sum[j], row + j * width + k, q);
        }
        _mm_storeu_si128((void *)(out + i), _mm_sub_epi32(sums4(sum[0], sum[1], sum[2], sum[3]),
                                                          _mm_set1_epi32(offset)));
    }
    for (; i < n; i++) {
        __m256i sum = _mm256_setzero_si256();

        for (size_t k = 0; k < width; k += 16)
            sum = add_products(sum, rows + i * width + k, widen(query + k));
        out[i] = _mm_cvtsi128_si32(sums4(sum, sum, sum, sum)) - offset;
    }
}
