#pragma once

/*
 * The parser of safetensors files: a length, a header in JSON, the tensors' bytes. Below weights.h:
 * bytes in, a checked table out. Data stays a view into the bytes. Format: the safetensors
 * specification; files of old writers whose tensors begin at addresses that their types do not
 * allow are refused.
 */

#include <stddef.h>
#include <stdint.h>

#include "engine/base/tensor.h"

/* Ceilings, beside those of json.h. */
#define SAFETENSORS_TENSORS_MAX     65536
#define SAFETENSORS_NAME_LENGTH_MAX 255
#define SAFETENSORS_DIMS_MAX        8

typedef struct SafeTensor {
    const char *name; /* terminated */
    Tensor tensor;
    uint64_t bytes;
    const char *foreign; /* a type, or a reason, for which its numbers are not read; of `tensor`
                            only data counts then. NULL: F32, F16 or BF16 */
} SafeTensor;

typedef struct Safetensors {
    SafeTensor *tensors; /* in the order of their bytes */
    size_t n;
    char *names;
} Safetensors;

/* Borrows data, aligned to 8, until safetensors_deinit(). Errors as in weights_open(), sentence in
 * error. Every byte after the header belongs to exactly one tensor. */
int safetensors_parse(const void *data, size_t size, Safetensors *ret_file, char *error,
                      size_t error_size);
void safetensors_deinit(Safetensors *file);
