#pragma once

/* SHA-256 (FIPS 180-4) of bytes in memory. */

#include <stddef.h>
#include <stdint.h>

void sha256(const void *data, size_t size, uint8_t ret_digest[32]);
