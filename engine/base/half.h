#pragma once

/* IEEE 754 half precision and bfloat16, the upper half of a float, to and from float, round to
 * nearest even, without hardware for it. */

#include <stdint.h>
#include <string.h>

static inline float f32_from_bits(uint32_t bits)
{
    float f;

    memcpy(&f, &bits, sizeof f);
    return f;
}

static inline uint32_t f32_bits(float f)
{
    uint32_t bits;

    memcpy(&bits, &f, sizeof bits);
    return bits;
}

static inline float f16_to_f32(uint16_t h)
{
    uint32_t sign = (uint32_t)(h & 0x8000) << 16, magnitude = h & 0x7fff;

    if (magnitude >= 0x7c00) /* infinity, NaN */
        return f32_from_bits(sign | 0x7f800000 | (magnitude & 0x3ff) << 13);
    if (magnitude < 0x400) /* zero and subnormals: units of 2^-24 */
        return f32_from_bits(sign | f32_bits((float)magnitude * 0x1p-24f));
    return f32_from_bits(sign | ((magnitude << 13) + (112u << 23)));
}

static inline uint16_t f32_to_f16(float f)
{
    uint32_t bits = f32_bits(f), magnitude = bits & 0x7fffffff;
    uint16_t sign = (uint16_t)(bits >> 16 & 0x8000);

    if (magnitude > 0x7f800000) /* NaN stays a (quiet) NaN */
        return sign | 0x7e00 | (uint16_t)(magnitude >> 13 & 0x3ff);
    if (magnitude >= 0x477ff000) /* rounds to 65536 or more */
        return sign | 0x7c00;
    if (magnitude < 0x38800000) /* below 2^-14: adding 0.5 rounds to units of 2^-24 */
        return sign | (uint16_t)(f32_bits(f32_from_bits(magnitude) + 0.5f) - 0x3f000000);
    return sign | (uint16_t)((magnitude - (112u << 23) + 0xfff + (magnitude >> 13 & 1)) >> 13);
}

/* A half anywhere in memory: weight files align nothing below a tensor. */
static inline float f16_load(const void *p)
{
    uint16_t h;

    memcpy(&h, p, sizeof h);
    return f16_to_f32(h);
}

static inline uint16_t f32_to_bf16(float f)
{
    uint32_t bits = f32_bits(f);

    if ((bits & 0x7fffffff) > 0x7f800000) /* NaN stays a (quiet) NaN */
        return (uint16_t)(bits >> 16 | 0x40);
    return (uint16_t)((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}

static inline float bf16_load(const void *p)
{
    uint16_t h;

    memcpy(&h, p, sizeof h);
    return f32_from_bits((uint32_t)h << 16);
}
