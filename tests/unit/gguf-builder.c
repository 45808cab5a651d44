#include "tests/unit/gguf-builder.h"

#include "tests/test.h"

void bytes_put(Bytes *b, const void *data, size_t size)
{
    if (b->size + size > b->room) {
        b->room = 2 * (b->size + size);
        b->data = realloc(b->data, b->room);
        ASSERT(b->data);
    }
    if (size > 0)
        memcpy(b->data + b->size, data, size);
    b->size += size;
}

void bytes_u8(Bytes *b, uint8_t value)
{
    bytes_put(b, &value, sizeof value);
}

void bytes_u32(Bytes *b, uint32_t value)
{
    for (int i = 0; i < 4; i++)
        bytes_u8(b, (uint8_t)(value >> 8 * i));
}

void bytes_u64(Bytes *b, uint64_t value)
{
    bytes_u32(b, (uint32_t)value);
    bytes_u32(b, (uint32_t)(value >> 32));
}

void bytes_f32(Bytes *b, float value)
{
    uint32_t bits;

    memcpy(&bits, &value, sizeof bits);
    bytes_u32(b, bits);
}

void bytes_string(Bytes *b, uint64_t length, const char *text)
{
    bytes_u64(b, length);
    bytes_put(b, text, strlen(text));
}

void bytes_align(Bytes *b, size_t alignment)
{
    while (b->size % alignment != 0)
        bytes_u8(b, 0);
}

void bytes_free(Bytes *b)
{
    free(b->data);
    *b = (Bytes){0};
}

void *bytes_aligned(const uint8_t *data, size_t size)
{
    void *p = NULL;

    ASSERT(posix_memalign(&p, 64, size ? size : 1) == 0);
    if (size > 0)
        memcpy(p, data, size);
    return p;
}
