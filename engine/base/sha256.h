#pragma once

/* SHA-256 (FIPS 180-4), of bytes in memory or piece by piece. */

#include <stddef.h>
#include <stdint.h>

#define SHA256_BLOCK 64

typedef struct Sha256 {
    uint32_t state[8];
    uint64_t size;
    uint8_t rest[SHA256_BLOCK]; /* what is not a whole block yet */
    size_t n_rest;
} Sha256;

void sha256_begin(Sha256 *s);
void sha256_add(Sha256 *s, const void *data, size_t size);
void sha256_end(Sha256 *s, uint8_t ret_digest[32]);
void sha256(const void *data, size_t size, uint8_t ret_digest[32]);
