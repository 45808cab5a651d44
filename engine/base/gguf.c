#include "engine/base/gguf.h"

#include <endian.h>
#include <errno.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* What is left to read, and what to say when it is wrong. Reads never pass `end`. */
typedef struct Reader {
    const uint8_t *start, *at, *end;
    char *error;
    size_t error_size;
} Reader;

/* clang-format off */
static const uint8_t type_sizes[_GGUF_TYPE_COUNT] = {
    [GGUF_U8] = 1,  [GGUF_I8] = 1,  [GGUF_U16] = 2, [GGUF_I16] = 2, [GGUF_U32] = 4, [GGUF_I32] = 4,
    [GGUF_F32] = 4, [GGUF_BOOL] = 1, [GGUF_U64] = 8, [GGUF_I64] = 8, [GGUF_F64] = 8,
};
/* clang-format on */

uint32_t gguf_load_u32(const void *p)
{
    uint32_t v;

    memcpy(&v, p, sizeof v);
    return le32toh(v);
}

uint64_t gguf_load_u64(const void *p)
{
    uint64_t v;

    memcpy(&v, p, sizeof v);
    return le64toh(v);
}

__attribute__((format(printf, 2, 3))) static void reader_say(const Reader *r, const char *format,
                                                             ...)
{
    va_list args;

    va_start(args, format);
    vsnprintf(r->error, r->error_size, format, args);
    va_end(args);
}

/* A macro, so that the compiler sees the error in it and knows the way on to be closed. */
#define reader_fail(r, error, ...) (reader_say(r, __VA_ARGS__), (error))

static size_t reader_left(const Reader *r)
{
    return (size_t)(r->end - r->at);
}

static int reader_ended(const Reader *r, const char *what)
{
    return reader_fail(r, -EBADMSG, "the file ends inside %s", what);
}

static int read_u32(Reader *r, const char *what, uint32_t *ret_value)
{
    if (reader_left(r) < 4)
        return reader_ended(r, what);
    *ret_value = gguf_load_u32(r->at);
    r->at += 4;
    return 0;
}

static int read_u64(Reader *r, const char *what, uint64_t *ret_value)
{
    if (reader_left(r) < 8)
        return reader_ended(r, what);
    *ret_value = gguf_load_u64(r->at);
    r->at += 8;
    return 0;
}

static int read_string(Reader *r, const char *what, const char **ret_data, size_t *ret_length)
{
    uint64_t length;
    int e = read_u64(r, what, &length);

    if (e < 0)
        return e;
    if (length > reader_left(r))
        return reader_fail(r, -EBADMSG, "%s claims a string of %llu bytes, %zu are left", what,
                           (unsigned long long)length, reader_left(r));
    *ret_data = (const char *)r->at;
    *ret_length = (size_t)length;
    r->at += length;
    return 0;
}

bool gguf_name_ok(const char *name, size_t length, size_t most)
{
    if (length == 0 || length > most)
        return false;
    for (size_t i = 0; i < length; i++)
        if (name[i] <= ' ' || name[i] > '~')
            return false;
    return true;
}

static int read_type(Reader *r, const char *what, GgufType *ret_type)
{
    uint32_t type;
    int e = read_u32(r, what, &type);

    if (e < 0)
        return e;
    if (type >= _GGUF_TYPE_COUNT)
        return reader_fail(r, -EBADMSG, "%s has the unknown type %u", what, type);
    *ret_type = (GgufType)type;
    return 0;
}

static int read_scalar(Reader *r, const char *what, GgufType type)
{
    if (reader_left(r) < type_sizes[type])
        return reader_ended(r, what);
    if (type == GGUF_BOOL && *r->at > 1)
        return reader_fail(r, -EBADMSG, "%s is a truth value of %u", what, *r->at);
    r->at += type_sizes[type];
    return 0;
}

static int read_string_array(Reader *r, const char *what, GgufKey *key)
{
    const uint8_t *first = r->at;

    /* An element takes 8 bytes at least, so the table is never larger than the file. */
    if (key->length > reader_left(r) / 8)
        return reader_fail(r, -EBADMSG, "%s claims %zu strings, the file has no room for them",
                           what, key->length);
    key->strings = calloc(key->length ? key->length : 1, sizeof *key->strings);
    if (!key->strings)
        return reader_fail(r, -ENOMEM, "no memory for %s", what);
    for (size_t i = 0; i < key->length; i++) {
        const char *data;
        size_t length;

        key->strings[i] = (size_t)(r->at - first);
        int e = read_string(r, what, &data, &length);
        if (e < 0)
            return e;
    }
    return 0;
}

/* Arrays in arrays are allowed by the format and used by nobody here: checked and passed over. */
static int skip_array(Reader *r, const char *what, GgufType type, uint64_t count, int depth)
{
    if (type != GGUF_ARRAY && type != GGUF_STRING && type != GGUF_BOOL) {
        if (count > reader_left(r) / type_sizes[type])
            return reader_fail(r, -EBADMSG,
                               "%s claims %llu elements, the file has no room for them", what,
                               (unsigned long long)count);
        r->at += count * type_sizes[type];
        return 0;
    }
    if (depth > GGUF_ARRAY_DEPTH_MAX)
        return reader_fail(r, -EBADMSG, "%s is nested more than %d deep", what,
                           GGUF_ARRAY_DEPTH_MAX);
    /* Every turn reads a byte at least, so a false count ends with the file. */
    for (uint64_t i = 0; i < count; i++) {
        const char *data;
        size_t length;
        GgufType inner;
        uint64_t inner_count;
        int e;

        if (type == GGUF_STRING)
            e = read_string(r, what, &data, &length);
        else if (type == GGUF_BOOL)
            e = read_scalar(r, what, type);
        else {
            e = read_type(r, what, &inner);
            if (e == 0)
                e = read_u64(r, what, &inner_count);
            if (e == 0)
                e = skip_array(r, what, inner, inner_count, depth + 1);
        }
        if (e < 0)
            return e;
    }
    return 0;
}

static int read_array(Reader *r, const char *what, GgufKey *key)
{
    uint64_t count = 0;
    int e = read_type(r, what, &key->element_type);

    if (e == 0)
        e = read_u64(r, what, &count);
    if (e < 0)
        return e;
    /* An element takes a byte at least. */
    if (count > reader_left(r))
        return reader_fail(r, -EBADMSG, "%s claims %llu elements, the file has no room for them",
                           what, (unsigned long long)count);
    key->length = (size_t)count;
    key->value = r->at;
    if (key->element_type == GGUF_STRING)
        return read_string_array(r, what, key);
    return skip_array(r, what, key->element_type, count, 1);
}

static int read_key(Reader *r, GgufKey *key)
{
    char what[64] = "a key";
    const char *data;
    int e = read_string(r, what, &key->name, &key->name_length);

    if (e < 0)
        return e;
    if (!gguf_name_ok(key->name, key->name_length, GGUF_KEY_LENGTH_MAX))
        return reader_fail(r, -EBADMSG, "a key's name is empty, too long or not plain text");
    snprintf(what, sizeof what, "key '%.*s'", (int)key->name_length, key->name);

    e = read_type(r, what, &key->type);
    if (e < 0)
        return e;
    if (key->type == GGUF_ARRAY)
        return read_array(r, what, key);
    if (key->type == GGUF_STRING) {
        e = read_string(r, what, &data, &key->length);
        if (e == 0)
            key->value = (const uint8_t *)data;
        return e;
    }
    key->value = r->at;
    return read_scalar(r, what, key->type);
}

/* Number of values of a tensor; false when it is empty or does not fit. */
static bool shape_count(const Tensor *t, uint64_t *ret_count)
{
    uint64_t count = 1;

    for (int i = 0; i < TENSOR_DIMS; i++)
        if (t->ne[i] <= 0 || __builtin_mul_overflow(count, (uint64_t)t->ne[i], &count))
            return false;
    *ret_count = count;
    return count <= INT64_MAX / 8;
}

static int read_dtype(Reader *r, const char *what, DType *ret_dtype)
{
    uint32_t type;
    int e = read_u32(r, what, &type);

    if (e < 0)
        return e;
    if (!dtype_from_gguf(type, ret_dtype))
        return reader_fail(r, -ENOTSUP,
                           "%s has the type %u; F32, F16, BF16, Q8_0, Q4_0, Q4_1, Q5_0, Q5_1, "
                           "Q4_K, Q5_K and Q6_K are read",
                           what, type);
    return 0;
}

/* Leaves the offset from the start of the data in tensor.data; data_place() makes it a pointer. */
static int read_tensor(Reader *r, GgufTensor *tensor)
{
    char what[sizeof "tensor ''" + GGUF_NAME_LENGTH_MAX] = "a tensor";
    Tensor *t = &tensor->tensor;
    const char *name;
    size_t length;
    uint64_t count, offset;
    int e = read_string(r, what, &name, &length);

    if (e < 0)
        return e;
    if (!gguf_name_ok(name, length, GGUF_NAME_LENGTH_MAX))
        return reader_fail(r, -EBADMSG, "a tensor's name is empty, too long or not plain text");
    tensor->name = malloc(length + 1);
    if (!tensor->name)
        return reader_fail(r, -ENOMEM, "no memory for a tensor's name");
    memcpy(tensor->name, name, length);
    tensor->name[length] = '\0';
    snprintf(what, sizeof what, "tensor '%s'", tensor->name);

    e = read_u32(r, what, &t->n_dims);
    if (e < 0)
        return e;
    if (t->n_dims < 1 || t->n_dims > TENSOR_DIMS)
        return reader_fail(r, -EBADMSG, "%s has %u dimensions", what, t->n_dims);
    for (uint32_t i = 0; i < TENSOR_DIMS; i++) {
        uint64_t ne = 1;

        if (i < t->n_dims && (e = read_u64(r, what, &ne)) < 0)
            return e;
        t->ne[i] = (int64_t)ne;
    }
    e = read_dtype(r, what, &t->dtype);
    if (e == 0)
        e = read_u64(r, what, &offset);
    if (e < 0)
        return e;
    if (!shape_count(t, &count))
        return reader_fail(r, -EBADMSG, "%s has an impossible shape", what);
    if (t->ne[0] % dtype_block_length(t->dtype) != 0)
        return reader_fail(r, -EBADMSG, "%s is %s with rows of %lld values, not a multiple of %lld",
                           what, dtype_name(t->dtype), (long long)t->ne[0],
                           (long long)dtype_block_length(t->dtype));
    t->data = (const void *)(uintptr_t)offset;
    return 0;
}

static int key_alignment(Reader *r, const Gguf *gguf, size_t *ret_alignment)
{
    static const char name[] = "general.alignment";
    uint32_t alignment = 32; /* the format's default */

    for (size_t i = 0; i < gguf->n_keys; i++) {
        const GgufKey *key = &gguf->keys[i];

        if (key->name_length != sizeof name - 1 || memcmp(key->name, name, sizeof name - 1) != 0)
            continue;
        if (key->type != GGUF_U32)
            return reader_fail(r, -EBADMSG, "key '%s' is not a u32", name);
        alignment = gguf_load_u32(key->value);
        if (alignment < 8 || alignment > GGUF_ALIGNMENT_MAX || (alignment & (alignment - 1)) != 0)
            return reader_fail(r, -EBADMSG, "key '%s' is %u, not a power of two from 8 to %d", name,
                               alignment, GGUF_ALIGNMENT_MAX);
    }
    *ret_alignment = alignment;
    return 0;
}

static int compare_data(const void *a, const void *b)
{
    const Tensor *x = &(*(const GgufTensor *const *)a)->tensor;
    const Tensor *y = &(*(const GgufTensor *const *)b)->tensor;

    return (uintptr_t)x->data < (uintptr_t)y->data ? -1 : (uintptr_t)x->data > (uintptr_t)y->data;
}

/* No byte belongs to two tensors. */
static int check_overlap(const Reader *r, Gguf *gguf)
{
    GgufTensor **sorted = calloc(gguf->n_tensors + 1, sizeof *sorted);
    int e = 0;

    if (!sorted)
        return reader_fail(r, -ENOMEM, "no memory for the tensor table");
    for (size_t i = 0; i < gguf->n_tensors; i++)
        sorted[i] = &gguf->tensors[i];
    qsort(sorted, gguf->n_tensors, sizeof *sorted, compare_data);
    for (size_t i = 1; i < gguf->n_tensors && e == 0; i++) {
        const Tensor *before = &sorted[i - 1]->tensor;

        if ((const char *)before->data + tensor_bytes(before) >
            (const char *)sorted[i]->tensor.data)
            e = reader_fail(r, -EBADMSG, "tensors '%s' and '%s' overlap", sorted[i - 1]->name,
                            sorted[i]->name);
    }
    free(sorted);
    return e;
}

/* Offsets become pointers, known to be inside the file. */
static int data_place(Reader *r, Gguf *gguf)
{
    size_t alignment, start = (size_t)(r->at - r->start), size = (size_t)(r->end - r->start);
    int e = key_alignment(r, gguf, &alignment);

    if (e < 0)
        return e;
    start = (start + alignment - 1) / alignment * alignment;
    if (start > size && gguf->n_tensors > 0)
        return reader_ended(r, "the tensor table");

    for (size_t i = 0; i < gguf->n_tensors; i++) {
        Tensor *t = &gguf->tensors[i].tensor;
        uint64_t offset = (uintptr_t)t->data;

        if (offset % alignment != 0)
            return reader_fail(r, -EBADMSG, "tensor '%s' begins at %llu, not a multiple of %zu",
                               gguf->tensors[i].name, (unsigned long long)offset, alignment);
        if (offset > size - start || tensor_bytes(t) > size - start - offset)
            return reader_fail(r, -EBADMSG, "tensor '%s' reaches past the end of the file",
                               gguf->tensors[i].name);
        t->data = r->start + start + offset;
    }
    return check_overlap(r, gguf);
}

static int read_header(Reader *r, uint64_t *ret_tensors, uint64_t *ret_keys)
{
    uint32_t version;
    int e;

    if (reader_left(r) < 4 || memcmp(r->at, "GGUF", 4) != 0)
        return reader_fail(r, -EBADMSG, "not a GGUF file");
    r->at += 4;
    e = read_u32(r, "the header", &version);
    if (e < 0)
        return e;
    if (version != 2 && version != 3)
        return reader_fail(r, -ENOTSUP, "GGUF version %u%s; versions 2 and 3 are read", version,
                           version << 16 != 0 && version >> 16 == 0 ? "" : " (big-endian?)");
    e = read_u64(r, "the header", ret_tensors);
    if (e == 0)
        e = read_u64(r, "the header", ret_keys);
    if (e < 0)
        return e;
    if (*ret_tensors > GGUF_TENSORS_MAX || *ret_keys > GGUF_KEYS_MAX)
        return reader_fail(r, -EFBIG, "%llu tensors and %llu keys; at most %d and %d are read",
                           (unsigned long long)*ret_tensors, (unsigned long long)*ret_keys,
                           GGUF_TENSORS_MAX, GGUF_KEYS_MAX);
    /* The least each can take, so that a short file cannot ask for large tables. */
    if (*ret_keys > reader_left(r) / 13 || *ret_tensors > reader_left(r) / 32)
        return reader_fail(r, -EBADMSG, "the file is too short for %llu tensors and %llu keys",
                           (unsigned long long)*ret_tensors, (unsigned long long)*ret_keys);
    return 0;
}

static int parse_tables(Reader *r, Gguf *gguf)
{
    uint64_t n_tensors, n_keys;
    int e = read_header(r, &n_tensors, &n_keys);

    if (e < 0)
        return e;
    gguf->keys = calloc(n_keys + 1, sizeof *gguf->keys);
    gguf->tensors = calloc(n_tensors + 1, sizeof *gguf->tensors);
    if (!gguf->keys || !gguf->tensors)
        return reader_fail(r, -ENOMEM, "no memory for the tables of keys and tensors");
    while (gguf->n_keys < n_keys)
        if ((e = read_key(r, &gguf->keys[gguf->n_keys++])) < 0)
            return e;
    while (gguf->n_tensors < n_tensors)
        if ((e = read_tensor(r, &gguf->tensors[gguf->n_tensors++])) < 0)
            return e;
    return data_place(r, gguf);
}

int gguf_parse(const void *data, size_t size, Gguf *ret_gguf, char *error, size_t error_size)
{
    Reader r = {data, data, (const uint8_t *)data + size, error, error_size};
    Gguf gguf = {0};
    int e = parse_tables(&r, &gguf);

    if (e < 0) {
        gguf_deinit(&gguf);
        return e;
    }
    *ret_gguf = gguf;
    return 0;
}

void gguf_deinit(Gguf *gguf)
{
    for (size_t i = 0; i < gguf->n_keys; i++) {
        free(gguf->keys[i].strings);
        free(gguf->keys[i].owned);
    }
    for (size_t i = 0; i < gguf->n_tensors; i++) {
        free(gguf->tensors[i].name);
        free(gguf->tensors[i].experts);
    }
    for (size_t i = 0; i < gguf->n_owned; i++)
        free(gguf->owned[i]);
    free(gguf->owned);
    free(gguf->keys);
    free(gguf->tensors);
    *gguf = (Gguf){0};
}
