#pragma once

/*
 * The inner loop of a search: one query against many rows of int8. It belongs to the kernels, but
 * needs no back end: the vector index calls it on threads of its own.
 */

#include <stddef.h>
#include <stdint.h>

#define SCAN_WIDTH_MAX 1024

/* out [n] = for each row the sum of (row[k] - 128) * query[k]. rows [n, width]; width a multiple of
 * 64, at most SCAN_WIDTH_MAX; n may be 0. Exact. */
typedef void (*ScanFunc)(const uint8_t *rows, size_t n, size_t width, const int8_t *query,
                         int32_t *out);

/* For the features of this machine that mask leaves; 0: all of them. */
ScanFunc scan_kernel(unsigned mask);
