#include <math.h>
#include <string.h>

#include "engine/base/quant.h"
#include "engine/cpu/avx512/avx512.h"
#include "engine/cpu/avx512/vec.h"

/*
 * Attention over pages: all scores of a part first, then all weights, then the values, so that
 * nothing waits for the page before. Four queries share each key and value that is read and made
 * a float; keys of int8 are multiplied as they are. Sums run in two chains, over even and odd
 * columns or keys, so that a query alone has the same bits and keeps the multipliers busy.
 */

#define QUERIES 4 /* at once */
#define RUNS    (ATTENTION_DIM_MAX / QUANT_RUN)

/* A query head of a row, its scores and, when keys are int8, what it is as int8. */
typedef struct Query {
    const float *q;
    size_t end; /* keys that it sees */
    int8_t packed[ATTENTION_DIM_MAX];
    float scales[RUNS];
    int32_t offsets[RUNS];
    float scores[ATTENTION_PART];
} Query;

typedef struct Part {
    const AttentionRow *row; /* one of those that share the pages */
    size_t dim, begin, end;
    KvType kv;
} Part;

/* Sixteen values of a page; those of int8 without their scale. */
inline_always __m512 page_load(const void *page, size_t i, const KvType kv)
{
    if (kv == KV_F16)
        return _mm512_cvtph_ps(_mm256_loadu_si256((const void *)((const uint16_t *)page + i)));
    if (kv == KV_F32)
        return _mm512_loadu_ps((const float *)page + i);

    __m128i bytes = _mm_loadu_si128((const void *)((const int8_t *)page + i));

    return _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(bytes));
}

/* Into the second level, lest it push out what is in use. */
inline_always void fetch(const void *page, size_t at)
{
    _mm_prefetch((const char *)page + at, _MM_HINT_T1);
}

/* s[r][0 … 1] = dots of n queries with the 32 keys of a page. */
inline_always void page_dots(const Query *q, const int n, const void *page, const void *next,
                             size_t dim, const KvType kv, __m512 s[QUERIES][2])
{
    __m512 sums[QUERIES][2][2];

    for (int r = 0; r < n; r++)
        for (int i = 0; i < 4; i++)
            sums[r][i / 2][i % 2] = _mm512_setzero_ps();
    for (size_t d = 0; d < dim; d += 2) {
        for (size_t at = 0; at < (kv == KV_F16 ? 128 : 256); at += 64)
            fetch(next, d * KV_PAGE * (kv == KV_F16 ? 2 : 4) + at);
        for (size_t odd = 0; odd < 2; odd++) {
            __m512 k0 = page_load(page, (d + odd) * KV_PAGE, kv);
            __m512 k1 = page_load(page, (d + odd) * KV_PAGE + 16, kv);

            for (int r = 0; r < n; r++) {
                __m512 a = _mm512_set1_ps(q[r].q[d + odd]);

                sums[r][odd][0] = _mm512_fmadd_ps(a, k0, sums[r][odd][0]);
                sums[r][odd][1] = _mm512_fmadd_ps(a, k1, sums[r][odd][1]);
            }
        }
    }
    for (int r = 0; r < n; r++)
        for (int i = 0; i < 2; i++)
            s[r][i] = _mm512_add_ps(sums[r][0][i], sums[r][1][i]);
}

inline_always __m512 scales_load(const void *page, size_t dim, size_t run, size_t key)
{
    const uint16_t *scales = (const uint16_t *)((const int8_t *)page + KV_PAGE * dim);

    return _mm512_cvtph_ps(_mm256_loadu_si256((const void *)(scales + run * KV_PAGE + key)));
}

/* The same with keys of int8, four columns of sixteen keys to a register. */
inline_always void page_dots_q8(const Query *q, const int n, const void *page, const void *next,
                                size_t dim, __m512 s[QUERIES][2])
{
    for (int r = 0; r < n; r++)
        s[r][0] = s[r][1] = _mm512_setzero_ps();
    for (size_t run = 0; run < dim / QUANT_RUN; run++)
        for (size_t i = 0; i < 2; i++) {
            const int8_t *k = (const int8_t *)page + run * QUANT_RUN * KV_PAGE + i * 64;
            __m512 scales = scales_load(page, dim, run, i * 16);
            __m512i w[8];

            for (size_t j = 0; j < 8; j++) {
                w[j] = _mm512_loadu_si512(k + j * 4 * KV_PAGE);
                w[j] = _mm512_xor_si512(w[j], _mm512_set1_epi8((char)0x80));
                fetch(next, (run * 16 + i * 8 + j) * 64);
            }
            for (int r = 0; r < n; r++) {
                __m512i dots = _mm512_set1_epi32(q[r].offsets[run]);

                for (size_t j = 0; j < 8; j++) {
                    int32_t four;

                    memcpy(&four, q[r].packed + run * QUANT_RUN + 4 * j, sizeof four);
                    dots = _mm512_dpbusd_epi32(dots, w[j], _mm512_set1_epi32(four));
                }
                s[r][i] = _mm512_fmadd_ps(_mm512_cvtepi32_ps(dots),
                                          _mm512_mul_ps(scales, _mm512_set1_ps(q[r].scales[run])),
                                          s[r][i]);
            }
        }
}

inline_always void part_scores(const Part *p, Query *q, const int n, size_t end, const KvType kv)
{
    __m512 scale = _mm512_set1_ps(1 / sqrtf((float)p->dim)), s[QUERIES][2];

    for (size_t t = p->begin; t < end; t += KV_PAGE) {
        size_t page = t / KV_PAGE, after = t + KV_PAGE < end ? page + 1 : page;
        const void *keys = p->row->k_pages[page], *next = p->row->k_pages[after];
        const float *gates = p->row->log_gate ? p->row->log_gate[page] : NULL;

        if (kv == KV_Q8)
            page_dots_q8(q, n, keys, next, p->dim, s);
        else
            page_dots(q, n, keys, next, p->dim, kv, s);
        for (int r = 0; r < n; r++)
            for (size_t i = 0; i < 2; i++) {
                s[r][i] = _mm512_mul_ps(s[r][i], scale);
                if (gates)
                    s[r][i] = _mm512_add_ps(s[r][i], _mm512_loadu_ps(gates + 16 * i));
                _mm512_storeu_ps(q[r].scores + (t - p->begin) + 16 * i, s[r][i]);
            }
    }
}

/* Scores [n] become weights, zero from n to `end`, and part gets their sum. */
static void part_softmax(float *scores, size_t n, size_t end, AttentionPart *part)
{
    __m512 most = _mm512_set1_ps(-INFINITY), total = _mm512_setzero_ps(), largest;

    for (size_t i = n; i < end; i++)
        scores[i] = -INFINITY;
    for (size_t i = 0; i < n; i += 16)
        most = _mm512_max_ps(most, _mm512_loadu_ps(scores + i));
    part->largest = _mm512_reduce_max_ps(most);
    largest = _mm512_set1_ps(part->largest);
    for (size_t i = 0; i < end; i += 16) {
        __m512 v = exp16(_mm512_sub_ps(_mm512_loadu_ps(scores + i), largest));

        total = _mm512_add_ps(total, v);
        _mm512_storeu_ps(scores + i, v);
    }
    part->sum = _mm512_reduce_add_ps(total);
}

/* Sums of weighted values, over even and odd keys. */
typedef __m512 Sums[2][ATTENTION_DIM_MAX / 16];

/* sums += weighted rows of a page, columns d … d + 16 c - 1; n and c are known when compiled. */
inline_always void page_values(Query *q, const int n, size_t at, const void *page, const void *next,
                               size_t dim, size_t d, const int c, const KvType kv, Sums *sums)
{
    float weights[QUERIES][KV_PAGE];
    __m512 a[QUERIES][2][2];

    for (int r = 0; r < n; r++) {
        for (size_t i = 0; i < KV_PAGE; i += 16) {
            __m512 w = _mm512_loadu_ps(q[r].scores + at + i);

            if (kv == KV_Q8)
                w = _mm512_mul_ps(w, scales_load(page, dim, d / QUANT_RUN, i));
            _mm512_storeu_ps(weights[r] + i, w);
        }
        for (int i = 0; i < 2 * c; i++)
            a[r][i / c][i % c] = sums[r][i / c][d / 16 + (size_t)(i % c)];
    }
    for (size_t key = 0; key < KV_PAGE; key += 2)
        for (size_t odd = 0; odd < 2; odd++) {
            size_t first = (key + odd) * dim + d;

            fetch(next, first * (kv == KV_Q8 ? 1 : kv == KV_F16 ? 2 : 4));
            for (int i = 0; i < c; i++) {
                __m512 v = page_load(page, first + 16 * (size_t)i, kv);

                for (int r = 0; r < n; r++)
                    a[r][odd][i] =
                        _mm512_fmadd_ps(_mm512_set1_ps(weights[r][key + odd]), v, a[r][odd][i]);
            }
        }
    for (int r = 0; r < n; r++)
        for (int i = 0; i < 2 * c; i++)
            sums[r][i / c][d / 16 + (size_t)(i % c)] = a[r][i / c][i % c];
}

inline_always void part_values(const Part *p, Query *q, const int n, size_t end, const KvType kv,
                               AttentionPart *const *parts)
{
    Sums sums[QUERIES];
    size_t d;

    for (int r = 0; r < n; r++)
        for (size_t i = 0; i < 2 * (p->dim / 16); i++)
            sums[r][i % 2][i / 2] = _mm512_setzero_ps();
    for (size_t t = p->begin; t < end; t += KV_PAGE) {
        size_t page = t / KV_PAGE, after = t + KV_PAGE < end ? page + 1 : page;
        const void *values = p->row->v_pages[page], *next = p->row->v_pages[after];

        for (d = 0; d + 32 <= p->dim; d += 32)
            page_values(q, n, t - p->begin, values, next, p->dim, d, 2, kv, sums);
        if (d < p->dim)
            page_values(q, n, t - p->begin, values, next, p->dim, d, 1, kv, sums);
    }
    for (int r = 0; r < n; r++)
        for (size_t i = 0; i < p->dim / 16; i++)
            _mm512_storeu_ps(parts[r]->out + 16 * i, _mm512_add_ps(sums[r][0][i], sums[r][1][i]));
}

inline_always void queries_run(const Part *p, Query *q, const int n, AttentionPart *const *parts,
                               const KvType kv)
{
    size_t end = q[n - 1].end; /* the longest */

    part_scores(p, q, n, end, kv);
    end = (end - p->begin + KV_PAGE - 1) / KV_PAGE * KV_PAGE;
    for (int r = 0; r < n; r++)
        part_softmax(q[r].scores, q[r].end - p->begin, end, parts[r]);
    part_values(p, q, n, p->begin + end, kv, parts);
}

static void queries_switch(const Part *p, Query *q, size_t n, AttentionPart *const *parts,
                           const KvType kv)
{
    if (n == QUERIES)
        queries_run(p, q, QUERIES, parts, kv);
    else
        for (size_t i = 0; i < n; i++)
            queries_run(p, q + i, 1, parts + i, kv);
}

static void query_init(Query *query, const AttentionRow *row, const float *q, const Part *p)
{
    float sums[RUNS];
    int32_t halves[RUNS];
    PackedNumbers numbers = {query->scales, query->offsets, halves, sums};

    query->q = q;
    query->end = row->length < p->end ? row->length : p->end;
    if (p->kv == KV_Q8)
        pack_q8_avx512(q, p->dim, query->packed, &numbers);
}

void attention_part_avx512vnni(const AttentionRow *rows, size_t n_rows, size_t n_heads,
                               size_t head_dim, KvType kv, size_t begin, size_t end,
                               AttentionPart *parts)
{
    Part p = {rows, head_dim, begin, end, kv};
    AttentionPart *into[QUERIES];
    Query q[QUERIES];

    for (size_t i = 0; i < n_rows * n_heads; i += QUERIES) {
        size_t n = n_rows * n_heads - i < QUERIES ? n_rows * n_heads - i : QUERIES;

        for (size_t r = 0; r < n; r++) {
            const AttentionRow *row = &rows[(i + r) / n_heads];

            query_init(&q[r], row, row->q + (i + r) % n_heads * head_dim, &p);
            into[r] = &parts[i + r];
        }
        if (kv == KV_Q8)
            queries_switch(&p, q, n, into, KV_Q8);
        else if (kv == KV_F16)
            queries_switch(&p, q, n, into, KV_F16);
        else
            queries_switch(&p, q, n, into, KV_F32);
    }
}
