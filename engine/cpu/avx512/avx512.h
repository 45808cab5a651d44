#pragma once

/* Kernels for AVX-512 and AVX-512 VNNI: contracts in engine/cpu/kernels.h. */

#include "engine/cpu/kernels.h"

void product_q8_avx512vnni(const Product *p, size_t out_begin, size_t out_end, void *scratch);
void attention_full_avx512(const float *q, const float *k, const float *v, size_t n, size_t stride,
                           size_t head_dim, size_t begin, size_t end, float *out);
