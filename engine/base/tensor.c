#include "engine/base/tensor.h"

#include <assert.h>

#include "engine/base/quant.h"

static const struct {
    const char *name;
    uint16_t block, bytes;
    uint32_t gguf; /* its number in that format */
} dtypes[_DTYPE_COUNT] = {
    [DTYPE_F32] = {"F32", 1, 4, 0},
    [DTYPE_F16] = {"F16", 1, 2, 1},
    [DTYPE_BF16] = {"BF16", 1, 2, 30},
    [DTYPE_Q8_0] = {"Q8_0", Q8_0_BLOCK, Q8_0_BYTES, 8},
    [DTYPE_Q4_0] = {"Q4_0", QUANT_RUN, Q4_0_BYTES, 2},
    [DTYPE_Q4_1] = {"Q4_1", QUANT_RUN, Q4_1_BYTES, 3},
    [DTYPE_Q5_0] = {"Q5_0", QUANT_RUN, Q5_0_BYTES, 6},
    [DTYPE_Q5_1] = {"Q5_1", QUANT_RUN, Q5_1_BYTES, 7},
    [DTYPE_Q4_K] = {"Q4_K", QUANT_SUPER, Q4_K_BYTES, 12},
    [DTYPE_Q5_K] = {"Q5_K", QUANT_SUPER, Q5_K_BYTES, 13},
    [DTYPE_Q6_K] = {"Q6_K", QUANT_SUPER, Q6_K_BYTES, 14},
};

size_t dtype_row_bytes(DType dtype, int64_t n)
{
    assert(dtype < _DTYPE_COUNT && n % dtypes[dtype].block == 0);
    return (size_t)(n / dtypes[dtype].block) * dtypes[dtype].bytes;
}

int64_t dtype_block_length(DType dtype)
{
    assert(dtype < _DTYPE_COUNT);
    return dtypes[dtype].block;
}

const char *dtype_name(DType dtype)
{
    assert(dtype < _DTYPE_COUNT);
    return dtypes[dtype].name;
}

bool dtype_is_quantised(DType dtype)
{
    return dtype_block_length(dtype) > 1;
}

bool dtype_from_gguf(uint32_t number, DType *ret_dtype)
{
    for (unsigned i = 0; i < _DTYPE_COUNT; i++)
        if (dtypes[i].gguf == number) {
            *ret_dtype = (DType)i;
            return true;
        }
    return false;
}
