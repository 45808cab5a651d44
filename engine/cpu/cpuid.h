#pragma once

/*
 * What the processor can do, as far as kernels care, and masks of it that programs and tests set.
 */

#include <stddef.h>

typedef enum CpuFeature {
    CPU_PLAIN = 1 << 0,  /* always there: the reference kernels */
    CPU_AVX2 = 1 << 1,   /* with FMA and F16C */
    CPU_AVX512 = 1 << 2, /* F, BW, DQ and VL */
    CPU_VNNI = 1 << 3,   /* AVX-512 VNNI */
    CPU_BF16 = 1 << 4,   /* AVX-512 BF16 */
    CPU_ALL = (1 << 5) - 1,
} CpuFeature;

/* Features of this machine. Each one implies those before it. */
unsigned cpu_features(void);

/* The mask that a name stands for: "plain", "avx2", "avx512", "avx512vnni", "avx512bf16", or
 * "native" for 0, which backend_cpu_open() takes as all there is. -EINVAL for another name. */
int cpu_mask_parse(const char *name, unsigned *ret_mask);
/* The name of the highest feature in a mask. */
const char *cpu_mask_name(unsigned mask);
