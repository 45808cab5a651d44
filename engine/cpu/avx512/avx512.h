#pragma once

/* Kernels for AVX-512 and AVX-512 VNNI: contracts in engine/cpu/kernels.h. */

#include "engine/cpu/kernels.h"

void pack_q8_avx512(const float *x, size_t width, int8_t *q, const PackedNumbers *n);
void product_int8_avx512vnni(const Product *p, size_t out_begin, size_t out_end, void *scratch);
/* A part of it: p has one row of x. */
void product_q8_0_one(const Product *p, size_t out_begin, size_t out_end, void *scratch);
void product_bf16_avx512bf16(const Product *p, size_t out_begin, size_t out_end, void *scratch);
void product_f32_avx512(const Product *p, size_t out_begin, size_t out_end, void *scratch);
void rms_norm_avx512(const float *x, const float *w, float eps, size_t width, float *y);
void silu_mul_avx512(const float *a, const float *b, size_t n, float *y);
void attention_part_avx512vnni(const AttentionRow *rows, size_t n_rows, size_t n_heads,
                               size_t head_dim, KvType kv, size_t begin, size_t end,
                               AttentionPart *parts);
void attention_full_avx512(const float *q, const float *k, const float *v, size_t n, size_t stride,
                           size_t head_dim, size_t begin, size_t end, float *out);
void scan_q8_avx512vnni(const uint8_t *rows, size_t n, size_t width, const int8_t *query,
                        int32_t *out);
