#include "engine/cpu/avx2/avx2.h"
#include "engine/cpu/avx2/vec.h"

/* Sums of the eight lanes of four vectors. */
inline_always __m128i sums4(__m256i a, __m256i b, __m256i c, __m256i d)
{
    __m256i s = _mm256_hadd_epi32(_mm256_hadd_epi32(a, b), _mm256_hadd_epi32(c, d));

    return _mm_add_epi32(_mm256_castsi256_si128(s), _mm256_extracti128_si256(s, 1));
}

/* The query in 16 bits, and what it counts for the 128 that rows were moved up by. */
static int32_t query_widen(const int8_t *query, size_t width, int16_t *wide)
{
    int32_t sum = 0;

    for (size_t k = 0; k < width; k++) {
        wide[k] = query[k];
        sum += query[k];
    }
    return 128 * sum;
}

/* One row's products, in eight lanes; pairs of them may not fit 16 bits, so bytes are widened
 * first. Rows are read to their end, one after the other: memory is what a search waits for. */
inline_always __m256i row_lanes(const uint8_t *row, size_t width, const int16_t *query)
{
    __m256i sum = _mm256_setzero_si256();

    for (size_t k = 0; k < width; k += 16) {
        __m256i wide = _mm256_cvtepu8_epi16(_mm_loadu_si128((const void *)(row + k)));
        __m256i q = _mm256_loadu_si256((const void *)(query + k));
        sum = _mm256_add_epi32(sum, _mm256_madd_epi16(wide, q));
    }
    return sum;
}

void scan_q8_avx2(const uint8_t *rows, size_t n, size_t width, const int8_t *query, int32_t *out)
{
    int16_t wide[SCAN_WIDTH_MAX];
    int32_t offset = query_widen(query, width, wide);
    size_t i = 0;

    for (; i + 4 <= n; i += 4) {
        const uint8_t *row = rows + i * width;
        __m256i sum[4];

        for (size_t j = 0; j < 4; j++)
            sum[j] = row_lanes(row + j * width, width, wide);
        _mm_storeu_si128((void *)(out + i), _mm_sub_epi32(sums4(sum[0], sum[1], sum[2], sum[3]),
                                                          _mm_set1_epi32(offset)));
    }
    for (; i < n; i++) {
        __m256i sum = row_lanes(rows + i * width, width, wide);

        out[i] = _mm_cvtsi128_si32(sums4(sum, sum, sum, sum)) - offset;
    }
}
