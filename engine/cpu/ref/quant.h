#pragma once

/* Quantised rows, run by run: what every other reading of a block is held to. */

#include "engine/base/quant.h"

/* value i = scales[i / 16] * q[i] + minimum */
typedef struct QuantRun {
    int8_t q[QUANT_RUN];
    float scales[2];
    float minimum;
} QuantRun;

/* Run `index` of a row of this type. */
void quant_run(DType dtype, const void *row, size_t index, QuantRun *ret_run);
/* Whether runs have minima, and whether their halves have different scales. */
bool quant_has_minimum(DType dtype);
bool quant_has_halves(DType dtype);
