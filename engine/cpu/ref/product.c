#include "engine/cpu/ref/ref.h"

#include "engine/base/half.h"
#include "engine/cpu/ref/quant.h"

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

/* sum += run of w * run of x */
static float run_add(float sum, const QuantRun *w, const int8_t *x, float scale, float x_sum,
                     size_t n_halves)
{
    for (size_t half = 0; half < n_halves; half++) {
        size_t length = QUANT_RUN / n_halves;
        int32_t dot = 0;

        for (size_t i = half * length; i < (half + 1) * length; i++)
            dot += x[i] * w->q[i];
        sum += (float)dot * (w->scales[half] * scale);
    }
    return sum + w->minimum * x_sum;
}

static float row_dot(const Product *p, size_t j, const void *w)
{
    const int8_t *x = packed_row(p->x, product_src(p, j));
    size_t n_halves = quant_has_halves(p->w->dtype) ? 2 : 1;
    float sum = 0;

    for (size_t r = 0; r < p->x->width / QUANT_RUN; r++) {
        QuantRun run;

        quant_run(p->w->dtype, w, r, &run);
        sum = run_add(sum, &run, x + r * QUANT_RUN, packed_scales(p->x, x)[r],
                      packed_sums(p->x, x)[r], n_halves);
    }
    return sum;
}

void product_int8_ref(const Product *p, size_t out_begin, size_t out_end, void *scratch)
{
    (void)scratch;
    for (size_t j = 0; j < p->n; j++)
        for (size_t out = out_begin; out < out_end; out++)
            product_store(p, j, out, row_dot(p, j, tensor_row(p->w, (int64_t)out)));
}

void product_f32_ref(const Product *p, size_t out_begin, size_t out_end, void *scratch)
{
    float *w = scratch;

    for (size_t out = out_begin; out < out_end; out++) {
        unpack_ref(p->w->dtype, tensor_row(p->w, (int64_t)out), p->x->width, w);
        for (size_t j = 0; j < p->n; j++) {
            const float *x = p->x->x + product_src(p, j) * p->x->x_stride;
            float sum = 0;

            for (size_t i = 0; i < p->x->width; i++)
                sum += x[i] * w[i];
            product_store(p, j, out, sum);
        }
    }
}

void product_bf16_ref(const Product *p, size_t out_begin, size_t out_end, void *scratch)
{
    (void)scratch;
    for (size_t out = out_begin; out < out_end; out++) {
        const uint8_t *w = tensor_row(p->w, (int64_t)out);

        for (size_t j = 0; j < p->n; j++) {
            const uint16_t *x = p->x->bf16 + product_src(p, j) * packed_bf16_stride(p->x->width);
            float sum = 0;

            for (size_t i = 0; i < p->x->width; i++)
                sum += bf16_load(&x[i]) * bf16_load(w + 2 * i);
            product_store(p, j, out, sum);
        }
    }
}
