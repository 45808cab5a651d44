#include "engine/cpu/ref/ref.h"

#include <math.h>
#include <string.h>

#include "engine/base/half.h"

/* Half away from zero, without the double rounding of x + 0.5. */
static int8_t round_q8(float x)
{
    float whole = truncf(x);

    if (fabsf(x - whole) >= 0.5f)
        whole += copysignf(1, x);
    return (int8_t)fminf(fmaxf(whole, -127), 127);
}

void pack_q8_ref(const float *x, size_t width, int8_t *q, const PackedNumbers *n)
{
    for (size_t r = 0; r < width / QUANT_RUN; r++, x += QUANT_RUN, q += QUANT_RUN) {
        float largest = 0, scale;
        int32_t sums[2] = {0, 0};

        for (size_t i = 0; i < QUANT_RUN; i++)
            largest = fmaxf(largest, fabsf(x[i]));
        scale = largest / 127;
        for (size_t i = 0; i < QUANT_RUN; i++) {
            q[i] = scale > 0 ? round_q8(x[i] / scale) : 0;
            sums[i / 16] += q[i];
        }
        n->scales[r] = f16_to_f32(f32_to_f16(scale));
        n->offsets[r] = -128 * (sums[0] + sums[1]);
        n->half_offsets[r] = -128 * sums[0];
        n->sums[r] = n->scales[r] * (float)(sums[0] + sums[1]);
    }
}

void f16_from_f32_ref(const float *x, size_t n, uint16_t *y)
{
    for (size_t i = 0; i < n; i++)
        y[i] = f32_to_f16(x[i]);
}

void f32_from_f16_ref(const uint16_t *x, size_t n, float *y)
{
    for (size_t i = 0; i < n; i++)
        y[i] = f16_to_f32(x[i]);
}

void bf16_from_f32_ref(const float *x, size_t n, uint16_t *y)
{
    for (size_t i = 0; i < n; i++)
        y[i] = f32_to_bf16(x[i]);
}

void rms_norm_ref(const float *x, const float *w, float eps, size_t width, float *y)
{
    float sum = 0, factor;

    for (size_t i = 0; i < width; i++)
        sum += x[i] * x[i];
    factor = 1 / sqrtf(sum / (float)width + eps);
    for (size_t i = 0; i < width; i++)
        y[i] = x[i] * factor * (w ? w[i] : 1);
}

void rope_ref(float *x, size_t n_heads, size_t head_dim, const float *cos_sin)
{
    size_t half = head_dim / 2;

    for (size_t h = 0; h < n_heads; h++, x += head_dim)
        for (size_t j = 0; j < half; j++) {
            float a = x[j], b = x[j + half];

            x[j] = a * cos_sin[j] - b * cos_sin[j + half];
            x[j + half] = b * cos_sin[j] + a * cos_sin[j + half];
        }
}

void silu_mul_ref(const float *a, const float *b, size_t n, float *y)
{
    for (size_t i = 0; i < n; i++)
        y[i] = a[i] / (1 + expf(-a[i])) * (b ? b[i] : 1);
}

void add_ref(float *y, const float *x, size_t n)
{
    for (size_t i = 0; i < n; i++)
        y[i] += x[i];
}
