#pragma once

/* Kernels for AVX2 with FMA and F16C: contracts in engine/cpu/kernels.h. */

#include "engine/cpu/kernels.h"

void pack_q8_avx2(const float *x, size_t width, int8_t *q, const PackedNumbers *n);
void product_int8_avx2(const Product *p, size_t out_begin, size_t out_end, void *scratch);
void product_f32_avx2(const Product *p, size_t out_begin, size_t out_end, void *scratch);
void unpack_avx2(DType dtype, const void *row, size_t n, float *y);
void f16_from_f32_avx2(const float *x, size_t n, uint16_t *y);
void f32_from_f16_avx2(const uint16_t *x, size_t n, float *y);
void bf16_from_f32_avx2(const float *x, size_t n, uint16_t *y);
void rms_norm_avx2(const float *x, const float *w, float eps, size_t width, float *y);
void rope_avx2(float *x, size_t n_heads, size_t head_dim, const float *cos_sin);
void silu_mul_avx2(const float *a, const float *b, size_t n, float *y);
void add_avx2(float *y, const float *x, size_t n);
void attention_part_avx2(const AttentionRow *rows, size_t n_rows, size_t n_heads, size_t head_dim,
                         KvType kv, size_t begin, size_t end, AttentionPart *parts);
void attention_full_avx2(const float *q, const float *k, const float *v, size_t n, size_t stride,
                         size_t head_dim, size_t begin, size_t end, float *out);
void attention_pool_avx2(const float *x, size_t n, size_t width, const float *query, float *out);
void scan_q8_avx2(const uint8_t *rows, size_t n, size_t width, const int8_t *query, int32_t *out);
