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

static float page_value(const void *page, size_t i, bool f16)
{
    return f16 ? f16_to_f32(((const uint16_t *)page)[i]) : ((const float *)page)[i];
}

void attention_part_ref(const AttentionRow *row, size_t n_heads, size_t head_dim, bool kv_f16,
                        size_t begin, size_t end, AttentionPart *parts)
{
    float scale = 1 / sqrtf((float)head_dim), k[ATTENTION_DIM_MAX], v[ATTENTION_DIM_MAX];

    for (size_t h = 0; h < n_heads; h++)
        parts[h] = (AttentionPart){.largest = -INFINITY};
    for (size_t t = begin; t < end; t++) {
        size_t page = t / KV_PAGE, i = t % KV_PAGE;
        float gate = row->log_gate && row->log_gate[page] ? row->log_gate[page][i] : 0;

        for (size_t d = 0; d < head_dim; d++) {
            k[d] = page_value(row->k_pages[page], d * KV_PAGE + i, kv_f16);
            v[d] = page_value(row->v_pages[page], i * head_dim + d, kv_f16);
        }
        for (size_t h = 0; h < n_heads; h++)
            part_add(&parts[h].largest, &parts[h].sum, parts[h].out, head_dim,
                     dot(row->q + h * head_dim, k, head_dim) * scale + gate, v);
    }
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
