#include "engine/cpu/ref/quant.h"

#include <assert.h>
#include <string.h>

#include "engine/base/half.h"
#include "engine/cpu/ref/ref.h"

bool quant_has_minimum(DType dtype)
{
    return dtype == DTYPE_Q4_1 || dtype == DTYPE_Q5_1 || dtype == DTYPE_Q4_K || dtype == DTYPE_Q5_K;
}

bool quant_has_halves(DType dtype)
{
    return dtype == DTYPE_Q6_K;
}

static void run_q8_0(const uint8_t *block, QuantRun *run)
{
    run->scales[0] = run->scales[1] = f16_load(block);
    memcpy(run->q, block + 2, QUANT_RUN);
}

/* Nibbles, topped by `fifths` when there are any, less `zero`. */
static void run_nibbles(const uint8_t *nibbles, uint32_t fifths, int zero, QuantRun *run)
{
    for (int i = 0; i < QUANT_RUN; i++) {
        int low = i < 16 ? nibbles[i] & 15 : nibbles[i - 16] >> 4;

        run->q[i] = (int8_t)(low + (int)(fifths >> i & 1) * 16 - zero);
    }
}

static uint32_t load_u32(const uint8_t *p)
{
    return (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

/* Q4_0, Q4_1, Q5_0 and Q5_1: scale, minimum, fifth bits, nibbles, as far as there. */
static void run_simple(DType dtype, const uint8_t *block, QuantRun *run)
{
    bool minimum = quant_has_minimum(dtype), fifth = dtype == DTYPE_Q5_0 || dtype == DTYPE_Q5_1;
    const uint8_t *at = block + (minimum ? 4 : 2);

    run->scales[0] = run->scales[1] = f16_load(block);
    run->minimum = minimum ? f16_load(block + 2) : 0;
    run_nibbles(at + (fifth ? 4 : 0), fifth ? load_u32(at) : 0, minimum ? 0 : fifth ? 16 : 8, run);
}

static void k_scales(const uint8_t *block, size_t r, QuantRun *run)
{
    const uint8_t *s = block + QUANT_K_SCALES;
    int scale = r < 4 ? s[r] & 63 : (s[r + 4] & 15) | s[r - 4] >> 6 << 4;
    int minimum = r < 4 ? s[r + 4] & 63 : s[r + 4] >> 4 | s[r] >> 6 << 4;

    run->scales[0] = run->scales[1] = f16_load(block) * (float)scale;
    run->minimum = -(f16_load(block + 2) * (float)minimum);
}

static void run_q4_k(const uint8_t *block, size_t r, QuantRun *run)
{
    const uint8_t *nibbles = block + Q4_K_NIBBLES + r / 2 * QUANT_RUN;

    k_scales(block, r, run);
    for (int i = 0; i < QUANT_RUN; i++)
        run->q[i] = (int8_t)(nibbles[i] >> r % 2 * 4 & 15);
}

static void run_q5_k(const uint8_t *block, size_t r, QuantRun *run)
{
    const uint8_t *nibbles = block + Q5_K_NIBBLES + r / 2 * QUANT_RUN;

    k_scales(block, r, run);
    for (int i = 0; i < QUANT_RUN; i++)
        run->q[i] =
            (int8_t)((nibbles[i] >> r % 2 * 4 & 15) | (block[Q5_K_FIFTHS + i] >> r & 1) << 4);
}

static void run_q6_k(const uint8_t *block, size_t r, QuantRun *run)
{
    size_t half = r / 4, in_half = r % 4;
    const uint8_t *nibbles = block + half * 64 + in_half % 2 * QUANT_RUN;
    const uint8_t *upper = block + Q6_K_UPPER + half * QUANT_RUN;

    for (size_t i = 0; i < 2; i++)
        run->scales[i] =
            f16_load(block + Q6_K_SCALE) * (float)(int8_t)block[Q6_K_SCALES + 2 * r + i];
    for (int i = 0; i < QUANT_RUN; i++)
        run->q[i] =
            (int8_t)(((nibbles[i] >> in_half / 2 * 4 & 15) | (upper[i] >> 2 * in_half & 3) << 4) -
                     32);
}

void quant_run(DType dtype, const void *row, size_t index, QuantRun *ret_run)
{
    size_t runs = (size_t)dtype_block_length(dtype) / QUANT_RUN, r = index % runs;
    const uint8_t *block =
        (const uint8_t *)row + index / runs * dtype_row_bytes(dtype, dtype_block_length(dtype));

    assert(dtype_is_quantised(dtype));
    ret_run->minimum = 0;
    if (dtype == DTYPE_Q8_0)
        run_q8_0(block, ret_run);
    else if (dtype == DTYPE_Q4_K)
        run_q4_k(block, r, ret_run);
    else if (dtype == DTYPE_Q5_K)
        run_q5_k(block, r, ret_run);
    else if (dtype == DTYPE_Q6_K)
        run_q6_k(block, r, ret_run);
    else
        run_simple(dtype, block, ret_run);
}

static void unpack_quant(DType dtype, const void *row, size_t n, float *y)
{
    for (size_t r = 0; r < n / QUANT_RUN; r++, y += QUANT_RUN) {
        QuantRun run;

        quant_run(dtype, row, r, &run);
        for (int i = 0; i < QUANT_RUN; i++) {
            y[i] = run.scales[i / 16] * (float)run.q[i];
            if (quant_has_minimum(dtype)) /* adding 0 would make 0 of -0 */
                y[i] += run.minimum;
        }
    }
}

void unpack_ref(DType dtype, const void *row, size_t n, float *y)
{
    if (dtype_is_quantised(dtype))
        unpack_quant(dtype, row, n, y);
    else if (dtype == DTYPE_F32)
        memcpy(y, row, n * sizeof *y);
    else
        for (size_t i = 0; i < n; i++) {
            const uint8_t *p = (const uint8_t *)row + 2 * i;

            y[i] = dtype == DTYPE_F16 ? f16_load(p) : bf16_load(p);
        }
}
