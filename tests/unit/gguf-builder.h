#pragma once

/* Bytes of a GGUF file, put together one field at a time, so that tests can lie in any of them. */

#include <stddef.h>
#include <stdint.h>

typedef struct Bytes {
    uint8_t *data;
    size_t size, room;
} Bytes;

void bytes_put(Bytes *b, const void *data, size_t size);
void bytes_u8(Bytes *b, uint8_t value);
void bytes_u32(Bytes *b, uint32_t value);
void bytes_u64(Bytes *b, uint64_t value);
void bytes_f32(Bytes *b, float value);
/* A length field, which may differ from what follows, and the text. */
void bytes_string(Bytes *b, uint64_t length, const char *text);
void bytes_align(Bytes *b, size_t alignment);
void bytes_free(Bytes *b);

/* A copy aligned to 64 that ends where the heap block ends; caller frees. */
void *bytes_aligned(const uint8_t *data, size_t size);
