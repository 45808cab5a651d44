#pragma once

/*
 * A small checkasm: every kernel of every table is held against the reference, on random input that
 * one printed seed reproduces, in buffers with guard bytes, and timed with --bench.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "engine/cpu/kernels.h"
#include "tests/test.h"

/* Random input. Floats are mostly of ordinary size, now and then zero or tiny. */
void random_start(uint64_t seed);
/* How many turns a check is to make of so many: fewer when time is short, under an emulator. */
extern int turns_share;
int turns(int all);
uint32_t random_u32(void);
size_t random_below(size_t n);
/* One of `count` sizes, or now and then any up to the last. */
size_t random_size(const size_t *sizes, size_t count);
float random_float(void);
void random_floats(float *x, size_t n);
/* n_rows rows of weights: any integers, scales of ordinary size and some subnormal, as files may
 * hold. */
void random_weights(DType dtype, void *rows, size_t n_rows, size_t width);
/* The quantised types, one after another, up to _DTYPE_COUNT. */
DType next_quantised(DType dtype);

/* Memory whose start is `misalign` bytes past a multiple of 64 and whose neighbourhood is poisoned;
 * its content is poisoned too. guarded_free() stops the test when a neighbour was written. */
void *guarded_new(size_t size, size_t misalign);
void guarded_free(void *p);
/* The same without guards but ending where the heap block ends: a sanitizer sees reads past it. */
void *exact_new(size_t size);

/* |got - ref| / |ref| over all n, for floats; then bit by bit. */
void expect_near(const float *ref, const float *got, size_t n, double tolerance);
void expect_same(const void *ref, const void *got, size_t size);

/* What a kernel's run has to do at least, for its floor: operations of the named kind, and
 * bytes that it must read, over and over from the same memory. */
typedef struct BenchWork {
    double f32_macs, int8_macs, bf16_macs, bytes;
} BenchWork;

typedef void (*BenchFunc)(void *userdata);
/* Times func and prints: nanoseconds, ratio to the reference's time of the same case, and
 * which share of the time the floor explains. */
void bench_case(const Kernels *k, const char *name, BenchWork work, BenchFunc func, void *userdata);

typedef struct KernelCheck {
    const char *name;
    size_t offset; /* of the kernel in Kernels */
    void (*check)(const Kernels *ref, const Kernels *k);
    void (*bench)(const Kernels *k);
} KernelCheck;

extern const KernelCheck product_checks[], rows_checks[], attention_checks[], scan_checks[];

/* floor.c: what this machine does at best, measured once. Names of the highest instruction set. */
double floor_f32_macs(void);    /* per ns */
double floor_int8_macs(void);   /* per ns */
double floor_bf16_macs(void);   /* per ns */
double floor_bytes(size_t set); /* per ns, read again and again from `set` bytes */
