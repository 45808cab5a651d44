#pragma once

/*
 * Tensors: a view of typed numbers in memory that somebody else owns.
 *
 * Dimensions are stored innermost first, as in the GGUF specification: a matrix [out, in] has
 * ne[0] = in and ne[1] = out, and its rows are contiguous. A view never frees its data.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define TENSOR_DIMS 4

/* What the blocks of the quantised types look like: engine/base/quant.h. */
typedef enum DType {
    DTYPE_F32,
    DTYPE_F16,
    DTYPE_BF16,
    DTYPE_Q8_0,
    DTYPE_Q4_0,
    DTYPE_Q4_1,
    DTYPE_Q5_0,
    DTYPE_Q5_1,
    DTYPE_Q4_K,
    DTYPE_Q5_K,
    DTYPE_Q6_K,
    _DTYPE_COUNT,
} DType;

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
/* A block of integers with scales, not one number after another. */
bool dtype_is_quantised(DType dtype);
/* The type that a GGUF file numbers so; false for one that is not read. */
bool dtype_from_gguf(uint32_t number, DType *ret_dtype);

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
