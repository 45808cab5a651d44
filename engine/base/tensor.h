#pragma once

/*
 * Tensors: a view of typed numbers in memory that somebody else owns.
 *
 * Dimensions are stored innermost first, as in the GGUF specification: a matrix [out, in] has
 * ne[0] = in and ne[1] = out, and its rows are contiguous. A view never frees its data.
 */

#include <stddef.h>
#include <stdint.h>

#define TENSOR_DIMS 4

typedef enum DType {
    DTYPE_F32,
    DTYPE_F16,
    DTYPE_BF16,
    DTYPE_Q8_0, /* blocks of 32: f16 scale, then 32 int8; 34 bytes */
    _DTYPE_COUNT,
} DType;

#define Q8_0_BLOCK 32
#define Q8_0_BYTES 34

typedef struct Tensor {
    const void *data;
    DType dtype;
    uint32_t n_dims;
    int64_t ne[TENSOR_DIMS]; /* unused dimensions are 1 */
} Tensor;

/* Bytes of a row of n values; n must be a multiple of the type's block. */
size_t dtype_row_bytes(DType dtype, int64_t n);
int64_t dtype_block_length(DType dtype);
const char *dtype_name(DType dtype);

/* Row r, counted over all slabs: the view [ne[1], ne[0]] that starts there. */
static inline const void *tensor_row(const Tensor *t, int64_t row)
{
    return (const char *)t->data + (size_t)row * dtype_row_bytes(t->dtype, t->ne[0]);
}

/* The matrix at index i of the third dimension. */
static inline Tensor tensor_slab(const Tensor *t, int64_t i)
{
    Tensor s = {tensor_row(t, i * t->ne[1]), t->dtype, 2, {t->ne[0], t->ne[1], 1, 1}};
    return s;
}

/* Rows [first, first + n) of a matrix. */
static inline Tensor tensor_rows(const Tensor *t, int64_t first, int64_t n)
{
    Tensor s = {tensor_row(t, first), t->dtype, 2, {t->ne[0], n, 1, 1}};
    return s;
}

static inline size_t tensor_bytes(const Tensor *t)
{
    return dtype_row_bytes(t->dtype, t->ne[0]) * (size_t)(t->ne[1] * t->ne[2] * t->ne[3]);
}
