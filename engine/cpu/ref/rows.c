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

void pack_q8_ref(const float *x, size_t width, int8_t *q, float *scales, int32_t *offsets)
{
    for (size_t b = 0; b < width / Q8_0_BLOCK; b++) {
        float largest = 0, scale;
        int32_t sum = 0;

        for (size_t i = 0; i < Q8_0_BLOCK; i++)
            largest = fmaxf(largest, fabsf(x[b * Q8_0_BLOCK + i]));
        scale = largest / 127;
        for (size_t i = 0; i < Q8_0_BLOCK; i++) {
            q[b * Q8_0_BLOCK + i] = scale > 0 ? round_q8(x[b * Q8_0_BLOCK + i] / scale) : 0;
            sum += q[b * Q8_0_BLOCK + i];
        }
        scales[b] = f16_to_f32(f32_to_f16(scale));
        offsets[b] = -128 * sum;
    }
}

void unpack_q8_ref(const void *row, size_t n, float *y)
{
    for (size_t b = 0; b < n / Q8_0_BLOCK; b++) {
        const uint8_t *block = (const uint8_t *)row + b * Q8_0_BYTES;
        float scale = f16_load(block);

        for (size_t i = 0; i < Q8_0_BLOCK; i++)
            y[b * Q8_0_BLOCK + i] = scale * (int8_t)block[2 + i];
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
