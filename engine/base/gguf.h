#pragma once

/*
 * The parser of GGUF files, below weights.h: bytes in, checked tables of keys and tensors out.
 * Nothing is copied but names; strings and data stay views into the bytes.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "engine/base/tensor.h"

/* Ceilings, far above any model: what a stranger's file may make us allocate is bounded by its own
 * size, and these bound the time spent on it. */
#define GGUF_KEYS_MAX        65536
#define GGUF_TENSORS_MAX     65536
#define GGUF_KEY_LENGTH_MAX  1024
#define GGUF_NAME_LENGTH_MAX 127
#define GGUF_ARRAY_DEPTH_MAX 4
#define GGUF_ALIGNMENT_MAX   65536

typedef enum GgufType {
    GGUF_U8,
    GGUF_I8,
    GGUF_U16,
    GGUF_I16,
    GGUF_U32,
    GGUF_I32,
    GGUF_F32,
    GGUF_BOOL,
    GGUF_STRING,
    GGUF_ARRAY,
    GGUF_U64,
    GGUF_I64,
    GGUF_F64,
    _GGUF_TYPE_COUNT,
} GgufType;

typedef struct GgufKey {
    const char *name; /* not terminated */
    size_t name_length;
    GgufType type, element_type;
    const uint8_t *value; /* a string's or array's first content byte */
    size_t length;        /* bytes of a string, elements of an array */
    size_t *strings;      /* arrays of strings: where each one's length field lies, from value */
    void *owned;          /* what value lies in, where it is not the file */
} GgufKey;

typedef struct GgufTensor {
    char *name;
    Tensor tensor;
    const void **experts; /* [ne[2]]: slabs that do not follow each other; tensor.data is NULL */
} GgufTensor;

typedef struct Gguf {
    GgufKey *keys;
    size_t n_keys;
    GgufTensor *tensors;
    size_t n_tensors;
    void **owned; /* what data lies in, where it is not the file */
    size_t n_owned;
} Gguf;

/* Fills ret_gguf; borrows data until gguf_deinit(). Errors as in weights_open(), sentence in
 * error. */
int gguf_parse(const void *data, size_t size, Gguf *ret_gguf, char *error, size_t error_size);
void gguf_deinit(Gguf *gguf);

/* Names go into messages and files: 1 to `most` of visible ASCII without blanks. */
bool gguf_name_ok(const char *name, size_t length, size_t most);
/* Unaligned little-endian numbers. */
uint32_t gguf_load_u32(const void *p);
uint64_t gguf_load_u64(const void *p);
