#include "engine/cpu/ref/ref.h"

#include "engine/base/half.h"

/* What becomes of a sum: bias, scale, and where it goes. */
static void product_store(const Product *p, size_t j, size_t out, float sum)
{
    float *y = product_dst(p, j) + out;

    if (p->bias)
        sum += p->bias[out];
    if (p->scale)
        sum *= p->scale[j];
    *y = p->accumulate ? *y + sum : sum;
}

void product_q8_ref(const Product *p, size_t out_begin, size_t out_end, void *scratch)
{
    size_t n_blocks = p->x->width / Q8_0_BLOCK;

    (void)scratch;
    for (size_t j = 0; j < p->n; j++) {
        const int8_t *x = packed_row(p->x, product_src(p, j));
        const float *scales = packed_scales(p->x, x);

        for (size_t out = out_begin; out < out_end; out++) {
            const uint8_t *w = tensor_row(p->w, (int64_t)out);
            float sum = 0;

            for (size_t b = 0; b < n_blocks; b++, w += Q8_0_BYTES) {
                int32_t dot = 0;

                for (size_t i = 0; i < Q8_0_BLOCK; i++)
                    dot += x[b * Q8_0_BLOCK + i] * (int8_t)w[2 + i];
                sum += (float)dot * (f16_load(w) * scales[b]);
            }
            product_store(p, j, out, sum);
        }
    }
}

static void product_row(const Product *p, size_t out, const float *w)
{
    for (size_t j = 0; j < p->n; j++) {
        const float *x = p->x->x + product_src(p, j) * p->x->x_stride;
        float sum = 0;

        for (size_t i = 0; i < p->x->width; i++)
            sum += x[i] * w[i];
        product_store(p, j, out, sum);
    }
}

void product_q8_f32_ref(const Product *p, size_t out_begin, size_t out_end, void *scratch)
{
    for (size_t out = out_begin; out < out_end; out++) {
        unpack_q8_ref(tensor_row(p->w, (int64_t)out), p->x->width, scratch);
        product_row(p, out, scratch);
    }
}

void product_f32_ref(const Product *p, size_t out_begin, size_t out_end, void *scratch)
{
    (void)scratch;
    for (size_t out = out_begin; out < out_end; out++)
        product_row(p, out, tensor_row(p->w, (int64_t)out));
}
