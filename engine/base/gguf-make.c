#include <endian.h>
#include <string.h>

#include "engine/base/folder.h"
#include "engine/base/half.h"

/* A key with room for `bytes` of its value, in one block behind the terminated name. */
static GgufKey *key_add(Gguf *g, const char *name, GgufType type, size_t bytes)
{
    size_t length = strlen(name);
    GgufKey *key;
    char *block;

    if (!g->keys && !(g->keys = calloc(GGUF_MADE_KEYS_MAX, sizeof *g->keys)))
        return NULL;
    if (g->n_keys == GGUF_MADE_KEYS_MAX || !(block = malloc(length + 1 + bytes)))
        return NULL;
    memcpy(block, name, length + 1);
    key = &g->keys[g->n_keys++];
    *key = (GgufKey){
        .name = block,
        .name_length = length,
        .type = type,
        .value = (uint8_t *)block + length + 1,
        .owned = block,
    };
    return key;
}

static uint8_t *key_value(const GgufKey *key)
{
    return (uint8_t *)key->owned + key->name_length + 1;
}

static int add_scalar(Gguf *g, const char *name, GgufType type, uint32_t bits, size_t bytes)
{
    GgufKey *key = key_add(g, name, type, bytes);

    if (!key)
        return -ENOMEM;
    bits = htole32(bits);
    memcpy(key_value(key), &bits, bytes);
    return 0;
}

int gguf_add_u32(Gguf *g, const char *name, uint32_t value)
{
    return add_scalar(g, name, GGUF_U32, value, 4);
}

int gguf_add_f32(Gguf *g, const char *name, float value)
{
    return add_scalar(g, name, GGUF_F32, f32_bits(value), 4);
}

int gguf_add_bool(Gguf *g, const char *name, bool value)
{
    return add_scalar(g, name, GGUF_BOOL, value, 1);
}

int gguf_add_string(Gguf *g, const char *name, WeightsString value)
{
    GgufKey *key = key_add(g, name, GGUF_STRING, value.length);

    if (!key)
        return -ENOMEM;
    memcpy(key_value(key), value.data, value.length);
    key->length = value.length;
    return 0;
}

int gguf_add_i32s(Gguf *g, const char *name, const int32_t *values, size_t n)
{
    GgufKey *key = key_add(g, name, GGUF_ARRAY, 4 * n);

    if (!key)
        return -ENOMEM;
    key->element_type = GGUF_I32;
    key->length = n;
    for (size_t i = 0; i < n; i++) {
        uint32_t bits = htole32((uint32_t)values[i]);

        memcpy(key_value(key) + 4 * i, &bits, 4);
    }
    return 0;
}

int gguf_add_strings(Gguf *g, const char *name, const WeightsString *values, size_t n)
{
    size_t bytes = 0, at = 0;
    GgufKey *key;

    for (size_t i = 0; i < n; i++)
        bytes += 8 + values[i].length;
    key = key_add(g, name, GGUF_ARRAY, bytes);
    if (!key)
        return -ENOMEM;
    key->element_type = GGUF_STRING;
    key->length = n;
    key->strings = calloc(n ? n : 1, sizeof *key->strings);
    if (!key->strings)
        return -ENOMEM;
    for (size_t i = 0; i < n; i++) {
        uint64_t length = htole64(values[i].length);

        key->strings[i] = at;
        memcpy(key_value(key) + at, &length, 8);
        memcpy(key_value(key) + at + 8, values[i].data, values[i].length);
        at += 8 + values[i].length;
    }
    return 0;
}

void *gguf_own(Gguf *g, size_t bytes)
{
    void **owned = realloc(g->owned, (g->n_owned + 1) * sizeof *owned), *block;

    if (!owned)
        return NULL;
    g->owned = owned;
    block = aligned_alloc(64, (bytes + 63) / 64 * 64);
    if (block)
        owned[g->n_owned++] = block;
    return block;
}
