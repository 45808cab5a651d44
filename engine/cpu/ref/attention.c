#include "engine/cpu/ref/ref.h"

#include <math.h>
#include <string.h>

#include "engine/base/half.h"

static float dot(const float *a, const float *b, size_t n)
{
    float sum = 0;

    for (size_t i = 0; i < n; i++)
        sum += a[i] * b[i];
    return sum;
}

/* Takes one key with its score: sums so far shrink when a larger score appears. */
static void part_add(float *largest, float *sum, float *out, size_t n, float score, const float *v)
{
    float new_largest = fmaxf(*largest, score);
    float keep = expf(*largest - new_largest), weight = expf(score - new_largest);

    *largest = new_largest;
    *sum = *sum * keep + weight;
    for (size_t i = 0; i < n; i++)
        out[i] = out[i] * keep + weight * v[i];
}

/* Number `column` of key or value `key` of a page: kernels.h says where it lies. */
static float page_value(const void *page, bool keys, size_t key, size_t column, size_t dim,
                        KvType kv)
{
    size_t i = keys ? column * KV_PAGE + key : key * dim + column;

    if (kv == KV_F32)
        return ((const float *)page)[i];
    if (kv == KV_F16)
        return f16_to_f32(((const uint16_t *)page)[i]);

    const int8_t *q = page;

    if (keys)
        i = (column / 4 * KV_PAGE + key) * 4 + column % 4;
    return (float)q[i] * f16_load(q + KV_PAGE * dim + (column / QUANT_RUN * KV_PAGE + key) * 2);
}

/* A query as it meets keys of int8: rounded, and a float again. */
static void query_round(const float *q, size_t dim, float *rounded)
{
    int8_t bytes[ATTENTION_DIM_MAX];
    float scales[ATTENTION_DIM_MAX / QUANT_RUN], sums[ATTENTION_DIM_MAX / QUANT_RUN];
    int32_t offsets[2][ATTENTION_DIM_MAX / QUANT_RUN];
    PackedNumbers numbers = {scales, offsets[0], offsets[1], sums};

    pack_q8_ref(q, dim, bytes, &numbers);
    for (size_t d = 0; d < dim; d++)
        rounded[d] = (float)bytes[d] * scales[d / QUANT_RUN];
}

static void row_part(const AttentionRow *row, const float *query, size_t dim, KvType kv,
                     size_t begin, size_t end, AttentionPart *part)
{
    float k[ATTENTION_DIM_MAX], v[ATTENTION_DIM_MAX], q[ATTENTION_DIM_MAX];

    memcpy(q, query, dim * sizeof *q);
    if (kv == KV_Q8)
        query_round(query, dim, q);
    *part = (AttentionPart){.largest = -INFINITY};
    for (size_t t = begin; t < end && t < row->length; t++) {
        size_t page = t / KV_PAGE, i = t % KV_PAGE;
        float gate = row->log_gate && row->log_gate[page] ? row->log_gate[page][i] : 0;

        for (size_t d = 0; d < dim; d++) {
            k[d] = page_value(row->k_pages[page], true, i, d, dim, kv);
            v[d] = page_value(row->v_pages[page], false, i, d, dim, kv);
        }
        part_add(&part->largest, &part->sum, part->out, dim,
                 dot(q, k, dim) / sqrtf((float)dim) + gate, v);
    }
}

void attention_part_ref(const AttentionRow *rows, size_t n_rows, size_t n_heads, size_t head_dim,
                        KvType kv, size_t begin, size_t end, AttentionPart *parts)
{
    for (size_t j = 0; j < n_rows; j++)
        for (size_t h = 0; h < n_heads; h++)
            row_part(&rows[j], rows[j].q + h * head_dim, head_dim, kv, begin, end,
                     &parts[j * n_heads + h]);
}

void attention_full_ref(const float *q, const float *k, const float *v, size_t n, size_t stride,
                        size_t head_dim, size_t begin, size_t end, float *out)
{
    float scale = 1 / sqrtf((float)head_dim);

    for (size_t i = begin; i < end; i++) {
        AttentionPart part = {.largest = -INFINITY};

        for (size_t t = 0; t < n; t++)
            part_add(&part.largest, &part.sum, part.out, head_dim,
                     dot(q + i * stride, k + t * stride, head_dim) * scale, v + t * stride);
        attention_finish(&part, head_dim, out + i * stride);
    }
}

void attention_pool_ref(const float *x, size_t n, size_t width, const float *query, float *out)
{
    float scale = 1 / sqrtf((float)width), largest = -INFINITY, sum = 0;

    memset(out, 0, width * sizeof *out);
    for (size_t t = 0; t < n; t++)
        part_add(&largest, &sum, out, width, dot(query, x + t * width, width) * scale,
                 x + t * width);
    for (size_t i = 0; i < width; i++)
        out[i] /= sum;
}
