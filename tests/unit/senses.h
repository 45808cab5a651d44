#pragma once

/*
 * The smallest model with all three encoders and what fusion needs, with random weights, built in
 * memory as a GGUF file. Everything follows from the seed.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define SENSES_MODEL   32
#define SENSES_POOL    2
#define SENSES_VOCAB   264
#define SENSES_CONTEXT 900

/* One damage a file; NULL for none. */
typedef struct SensesOptions {
    const char *skip_tensor;    /* is left out */
    const char *reshape_tensor; /* gets one row too many, or one value */
    const char *retype_tensor;  /* F32 where Q8_0 belongs, and the reverse */
    const char *skip_key;
    const char *key; /* gets this value instead, as u32 or the bits of an f32 */
    uint32_t value;
    bool zero_space; /* the image's projection into the space */
} SensesOptions;

/* Aligned as weights_open_memory() wants it; the caller frees it. */
void *senses_build(const SensesOptions *options, size_t *ret_size);
/* Names of all tensors and keys that encoders and fusion read: NULL past the last one. */
const char *senses_tensor(size_t index);
const char *senses_key(size_t index);
