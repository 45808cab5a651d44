#include "engine/cpu/avx512/avx512.h"
#include "engine/cpu/avx512/vec.h"

/* The lanes of a and b added up in pairs within each 128 bits: a's two sums, then b's. */
inline_always __m512i pair_sums(__m512i a, __m512i b)
{
    return _mm512_add_epi32(_mm512_unpacklo_epi32(a, b), _mm512_unpackhi_epi32(a, b));
}

/* Sums of the sixteen lanes of four vectors. */
inline_always __m128i sums4(__m512i a, __m512i b, __m512i c, __m512i d)
{
    __m512i ab = pair_sums(a, b), cd = pair_sums(c, d);
    __m512i s = _mm512_add_epi32(_mm512_unpacklo_epi64(ab, cd), _mm512_unpackhi_epi64(ab, cd));
    __m256i half = _mm256_add_epi32(_mm512_castsi512_si256(s), _mm512_extracti64x4_epi64(s, 1));

    return _mm_add_epi32(_mm256_castsi256_si128(half), _mm256_extracti128_si256(half, 1));
}

/* What the rows were moved up by counts 128 times the query's sum. */
static int32_t query_sum(const int8_t *query, size_t width)
{
    int32_t sum = 0;

    for (size_t k = 0; k < width; k++)
        sum += query[k];
    return sum;
}

/* One row's products, in sixteen lanes. Rows are read to their end, one after the other: memory is
 * what a search waits for, and it gives most to a single stream. */
inline_always __m512i row_lanes(const uint8_t *row, size_t width, const int8_t *query)
{
    __m512i sum = _mm512_setzero_si512();

    for (size_t k = 0; k < width; k += 64) {
        sum = _mm512_dpbusd_epi32(sum, _mm512_loadu_si512(row + k), _mm512_loadu_si512(query + k));
    }
    return sum;
}

void scan_q8_avx512vnni(const uint8_t *rows, size_t n, size_t width, const int8_t *query,
                        int32_t *out)
{
    int32_t offset = 128 * query_sum(query, width);
    size_t i = 0;

    for (; i + 4 <= n; i += 4) {
        const uint8_t *row = rows + i * width;
        __m512i sum[4];

        for (size_t j = 0; j < 4; j++)
            sum[j] = row_lanes(row + j * width, width, query);
        _mm_storeu_si128((void *)(out + i), _mm_sub_epi32(sums4(sum[0], sum[1], sum[2], sum[3]),
                                                          _mm_set1_epi32(offset)));
    }
    for (; i < n; i++)
        out[i] = _mm512_reduce_add_epi32(row_lanes(rows + i * width, width, query)) - offset;
}
