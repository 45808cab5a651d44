#include "engine/base/tensor.h"

#include <assert.h>

static const struct {
    const char *name;
    uint8_t block, bytes;
} dtypes[_DTYPE_COUNT] = {
    [DTYPE_F32] = {"F32", 1, 4},
    [DTYPE_F16] = {"F16", 1, 2},
    [DTYPE_BF16] = {"BF16", 1, 2},
    [DTYPE_Q8_0] = {"Q8_0", Q8_0_BLOCK, Q8_0_BYTES},
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
