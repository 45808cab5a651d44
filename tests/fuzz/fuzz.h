#pragma once

/* One entry for every fuzzer: libFuzzer calls it, and so does replay.c. */

#include <stddef.h>
#include <stdint.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
