#pragma once

/*
 * A percept model of a few kilobytes with random weights, built in memory as a GGUF file: what
 * the decoder's tests run, and what they damage. Everything follows from the seed.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define TINY_CONTEXT 128
#define TINY_MODEL   64
#define TINY_LAYERS  2
#define TINY_GROUPS  4
#define TINY_EXPERTS 10
#define TINY_CAP     5
#define TINY_VOCAB   264

/* One damage a file; NULL and 0 for none. */
typedef struct TinyOptions {
    uint64_t seed;
    const char *skip_tensor;    /* is left out */
    const char *reshape_tensor; /* gets one row too many */
    const char *retype_tensor;  /* F32 where Q8_0 belongs, and the reverse */
    const char *key;            /* gets this value instead */
    uint32_t value;
    const char *skip_key;
    const char *architecture;
    float gate_bias; /* of groups and experts: how many are active */
} TinyOptions;

/* Aligned as weights_open_memory() wants it; the caller frees it. */
void *tiny_build(const TinyOptions *options, size_t *ret_size);
