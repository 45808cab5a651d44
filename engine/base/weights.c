#include "engine/base/weights.h"

#include <assert.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "engine/base/gguf.h"
#include "engine/base/half.h"
#include "engine/base/hash.h"
#include "engine/base/sha256.h"

/* Open addressing over positions in one of the parser's tables. */
typedef struct NameTable {
    uint32_t *slots; /* position + 1; 0 is free */
    size_t mask;
} NameTable;

/* Tensors in another form than the file's, which live as long as the weights. */
typedef struct Owned {
    struct Owned *next;
    void *data;
} Owned;

struct Weights {
    const void *data;
    size_t size;
    void *map; /* NULL: the caller's memory */
    Gguf gguf;
    uint64_t seed;
    NameTable keys, tensors;
    Owned *owned;
    char digest[65];
    char error[WEIGHTS_ERROR_MAX];
};

static WeightsString key_name(const Weights *w, size_t i)
{
    return (WeightsString){w->gguf.keys[i].name, w->gguf.keys[i].name_length};
}

static WeightsString tensor_name(const Weights *w, size_t i)
{
    return (WeightsString){w->gguf.tensors[i].name, strlen(w->gguf.tensors[i].name)};
}

typedef WeightsString (*NameAt)(const Weights *w, size_t i);

/* The slot that holds `name`, or the free one where it belongs. */
static uint32_t *table_slot(const Weights *w, const NameTable *table, NameAt name_at,
                            WeightsString name)
{
    for (size_t i = hash_bytes(w->seed, name.data, name.length);; i++) {
        uint32_t *slot = &table->slots[i & table->mask];
        WeightsString other;

        if (*slot == 0)
            return slot;
        other = name_at(w, *slot - 1);
        if (other.length == name.length && memcmp(other.data, name.data, name.length) == 0)
            return slot;
    }
}

static int table_fill(Weights *w, NameTable *table, NameAt name_at, size_t n, const char *what)
{
    size_t slots = hash_slots(n);

    table->slots = calloc(slots, sizeof *table->slots);
    if (!table->slots)
        return weights_fail(w, -ENOMEM, "no memory for the table of names");
    table->mask = slots - 1;
    for (size_t i = 0; i < n; i++) {
        WeightsString name = name_at(w, i);
        uint32_t *slot = table_slot(w, table, name_at, name);

        if (*slot != 0)
            return weights_fail(w, -EBADMSG, "%s '%.*s' occurs twice", what, (int)name.length,
                                name.data);
        *slot = (uint32_t)i + 1;
    }
    return 0;
}

static int weights_parse(Weights *w)
{
    int r = gguf_parse(w->data, w->size, &w->gguf, w->error, sizeof w->error);

    if (r < 0)
        return r;
    r = table_fill(w, &w->keys, key_name, w->gguf.n_keys, "key");
    if (r < 0)
        return r;
    return table_fill(w, &w->tensors, tensor_name, w->gguf.n_tensors, "tensor");
}

/* Takes the mapping. */
static int weights_new(const void *data, size_t size, void *map, Weights **ret_weights,
                       char *ret_error)
{
    _cleanup_(weights_closep) Weights *w = calloc(1, sizeof *w);
    int r;

    if (!w) {
        if (map)
            munmap(map, size);
        snprintf(ret_error, WEIGHTS_ERROR_MAX, "no memory for a weight file");
        return -ENOMEM;
    }
    w->data = data;
    w->size = size;
    w->map = map;
    w->seed = hash_seed();
    r = weights_parse(w);
    if (r < 0) {
        memcpy(ret_error, w->error, WEIGHTS_ERROR_MAX);
        return r;
    }
    *ret_weights = steal_ptr(&w);
    return 0;
}

__attribute__((format(printf, 3, 4))) static int open_failed(char *ret_error, int error,
                                                             const char *format, ...)
{
    va_list args;

    va_start(args, format);
    vsnprintf(ret_error, WEIGHTS_ERROR_MAX, format, args);
    va_end(args);
    return error;
}

int weights_open(const char *path, Weights **ret_weights, char ret_error[WEIGHTS_ERROR_MAX])
{
    _cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    struct stat st;
    void *map;

    if (fd < 0 || fstat(fd, &st) < 0) {
        int error = errno;
        return open_failed(ret_error, -error, "cannot open the weight file: %s", strerror(error));
    }
    if (!S_ISREG(st.st_mode))
        return open_failed(ret_error, -EBADMSG, "the weight file is not a regular file");
    if (st.st_size == 0)
        return open_failed(ret_error, -EBADMSG, "the weight file is empty");
    if ((uint64_t)st.st_size > PTRDIFF_MAX)
        return open_failed(ret_error, -EFBIG, "the weight file is too large for this machine");

    map = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_SHARED, fd, 0);
    if (map == MAP_FAILED) {
        int error = errno;
        return open_failed(ret_error, -error, "cannot map the weight file: %s", strerror(error));
    }
    return weights_new(map, (size_t)st.st_size, map, ret_weights, ret_error);
}

int weights_open_memory(const void *data, size_t size, Weights **ret_weights,
                        char ret_error[WEIGHTS_ERROR_MAX])
{
    assert((uintptr_t)data % 64 == 0);
    return weights_new(data, size, NULL, ret_weights, ret_error);
}

Weights *weights_close(Weights *w)
{
    if (!w)
        return NULL;
    for (Owned *o = w->owned, *next; o; o = next) {
        next = o->next;
        free(o->data);
        free(o);
    }
    gguf_deinit(&w->gguf);
    free(w->keys.slots);
    free(w->tensors.slots);
    if (w->map)
        munmap(w->map, w->size);
    free(w);
    return NULL;
}

static const GgufKey *key_find(const Weights *w, const char *key)
{
    uint32_t slot = *table_slot(w, &w->keys, key_name, (WeightsString){key, strlen(key)});

    return slot ? &w->gguf.keys[slot - 1] : NULL;
}

int weights_get_u32(const Weights *w, const char *key, uint32_t *ret_value)
{
    const GgufKey *k = key_find(w, key);
    uint64_t value;

    if (!k)
        return -ENOENT;
    switch (k->type) {
    case GGUF_U8:
        value = *k->value;
        break;
    case GGUF_U16:
        value = (uint64_t)k->value[0] | (uint64_t)k->value[1] << 8;
        break;
    case GGUF_U32:
        value = gguf_load_u32(k->value);
        break;
    case GGUF_I32:
        value = (uint64_t)(int64_t)(int32_t)gguf_load_u32(k->value);
        break;
    case GGUF_U64:
    case GGUF_I64:
        value = gguf_load_u64(k->value);
        break;
    default:
        return -EBADMSG;
    }
    if (value > UINT32_MAX) /* negative ones too */
        return -EBADMSG;
    *ret_value = (uint32_t)value;
    return 0;
}

int weights_get_f32(const Weights *w, const char *key, float *ret_value)
{
    const GgufKey *k = key_find(w, key);

    if (!k)
        return -ENOENT;
    if (k->type != GGUF_F32)
        return -EBADMSG;
    *ret_value = f32_from_bits(gguf_load_u32(k->value));
    return 0;
}

int weights_get_bool(const Weights *w, const char *key, bool *ret_value)
{
    const GgufKey *k = key_find(w, key);

    if (!k)
        return -ENOENT;
    if (k->type != GGUF_BOOL)
        return -EBADMSG;
    *ret_value = *k->value != 0;
    return 0;
}

int weights_get_string(const Weights *w, const char *key, WeightsString *ret_value)
{
    const GgufKey *k = key_find(w, key);

    if (!k)
        return -ENOENT;
    if (k->type != GGUF_STRING)
        return -EBADMSG;
    *ret_value = (WeightsString){(const char *)k->value, k->length};
    return 0;
}

int weights_get_strings(const Weights *w, const char *key, size_t *ret_count)
{
    const GgufKey *k = key_find(w, key);

    if (!k)
        return -ENOENT;
    if (!k->strings)
        return -EBADMSG;
    *ret_count = k->length;
    return 0;
}

int weights_string_at(const Weights *w, const char *key, size_t index, WeightsString *ret_value)
{
    const GgufKey *k = key_find(w, key);
    const uint8_t *element;

    if (!k)
        return -ENOENT;
    if (!k->strings || index >= k->length)
        return -EBADMSG;
    element = k->value + k->strings[index];
    *ret_value = (WeightsString){(const char *)element + 8, (size_t)gguf_load_u64(element)};
    return 0;
}

int weights_array_length(const Weights *w, const char *key, size_t *ret_count)
{
    const GgufKey *k = key_find(w, key);

    if (!k)
        return -ENOENT;
    if (k->type != GGUF_ARRAY)
        return -EBADMSG;
    *ret_count = k->length;
    return 0;
}

int weights_get_i32s(const Weights *w, const char *key, int32_t *ret_values, size_t count)
{
    const GgufKey *k = key_find(w, key);

    if (!k)
        return -ENOENT;
    if (k->type != GGUF_ARRAY || (k->element_type != GGUF_I32 && k->element_type != GGUF_U32) ||
        k->length != count)
        return -EBADMSG;
    for (size_t i = 0; i < count; i++)
        ret_values[i] = (int32_t)gguf_load_u32(k->value + 4 * i);
    return 0;
}

int weights_get_f32s(const Weights *w, const char *key, float *ret_values, size_t count)
{
    const GgufKey *k = key_find(w, key);

    if (!k)
        return -ENOENT;
    if (k->type != GGUF_ARRAY || k->element_type != GGUF_F32 || k->length != count)
        return -EBADMSG;
    for (size_t i = 0; i < count; i++)
        ret_values[i] = f32_from_bits(gguf_load_u32(k->value + 4 * i));
    return 0;
}

static const GgufTensor *tensor_find(const Weights *w, const char *name)
{
    uint32_t slot = *table_slot(w, &w->tensors, tensor_name, (WeightsString){name, strlen(name)});

    return slot ? &w->gguf.tensors[slot - 1] : NULL;
}

const Tensor *weights_find(const Weights *w, const char *name)
{
    const GgufTensor *entry = tensor_find(w, name);

    return entry && !entry->experts ? &entry->tensor : NULL;
}

static int shape_check(Weights *w, const char *name, const Tensor *t, uint32_t n_dims,
                       const int64_t *ne)
{
    assert(n_dims <= TENSOR_DIMS);
    if (t->n_dims != n_dims)
        return weights_fail(w, -EBADMSG, "tensor '%s' has %u dimensions, not %u", name, t->n_dims,
                            n_dims);
    for (uint32_t i = 0; i < n_dims; i++)
        if (ne[i] != 0 && t->ne[i] != ne[i])
            return weights_fail(w, -EBADMSG,
                                "tensor '%s' has %lld values in dimension %u, not %lld", name,
                                (long long)t->ne[i], i, (long long)ne[i]);
    return 0;
}

int weights_need_matrix(Weights *w, const char *name, uint32_t n_dims, const int64_t *ne,
                        Tensor *ret_tensor)
{
    const Tensor *t = weights_find(w, name);
    int r;

    if (!t)
        return weights_fail(w, -ENOENT, "tensor '%s' is missing", name);
    r = shape_check(w, name, t, n_dims, ne);
    if (r < 0)
        return r;
    *ret_tensor = *t;
    return 0;
}

int weights_need(Weights *w, const char *name, DType dtype, uint32_t n_dims, const int64_t *ne,
                 Tensor *ret_tensor)
{
    const Tensor *t = weights_find(w, name);

    if (t && t->dtype != dtype)
        return weights_fail(w, -EBADMSG, "tensor '%s' is %s, not %s", name, dtype_name(t->dtype),
                            dtype_name(dtype));
    return weights_need_matrix(w, name, n_dims, ne, ret_tensor);
}

/* Memory that lives as long as the weights; NULL when there is none. */
static void *owned_new(Weights *w, size_t bytes)
{
    Owned *o = malloc(sizeof *o);

    if (!o)
        return NULL;
    o->data = aligned_alloc(64, (bytes + 63) / 64 * 64);
    if (!o->data) {
        free(o);
        return NULL;
    }
    o->next = w->owned;
    w->owned = o;
    return o->data;
}

/* Halves to floats, once. */
static int tensor_widen(Weights *w, const char *name, const Tensor *t, Tensor *ret_tensor)
{
    size_t bytes = 2 * tensor_bytes(t), n = bytes / sizeof(float);
    const char *from = t->data;
    float *to;

    if (bytes > WEIGHTS_VECTOR_MAX)
        return weights_fail(w, -EFBIG, "tensor '%s' is %s and too large to be widened to F32", name,
                            dtype_name(t->dtype));
    to = owned_new(w, bytes);
    if (!to)
        return weights_fail(w, -ENOMEM, "no memory for tensor '%s'", name);
    for (size_t i = 0; i < n; i++)
        to[i] = f16_load(from + 2 * i);
    *ret_tensor = *t;
    ret_tensor->dtype = DTYPE_F32;
    ret_tensor->data = to;
    return 0;
}

int weights_need_vector(Weights *w, const char *name, uint32_t n_dims, const int64_t *ne,
                        Tensor *ret_tensor)
{
    Tensor t;
    int r = weights_need_matrix(w, name, n_dims, ne, &t);

    if (r < 0)
        return r;
    if (t.dtype == DTYPE_F16)
        return tensor_widen(w, name, &t, ret_tensor);
    if (t.dtype != DTYPE_F32)
        return weights_fail(w, -EBADMSG, "tensor '%s' is %s, not F32 or F16", name,
                            dtype_name(t.dtype));
    *ret_tensor = t;
    return 0;
}

int weights_need_experts(Weights *w, const char *name, const int64_t ne[3], Tensor *ret_experts)
{
    const GgufTensor *entry = tensor_find(w, name);
    int r;

    if (!entry)
        return weights_fail(w, -ENOENT, "tensor '%s' is missing", name);
    r = shape_check(w, name, &entry->tensor, 3, ne);
    if (r < 0)
        return r;
    for (int64_t i = 0; i < entry->tensor.ne[2]; i++) {
        Tensor whole = entry->tensor;

        if (entry->experts) {
            whole.ne[2] = 1;
            whole.data = entry->experts[i];
            ret_experts[i] = tensor_slab(&whole, 0);
        } else
            ret_experts[i] = tensor_slab(&whole, i);
    }
    return 0;
}

const char *weights_error(const Weights *w)
{
    return w->error;
}

int weights_fail(Weights *w, int error, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    vsnprintf(w->error, sizeof w->error, format, args);
    va_end(args);
    return error;
}

size_t weights_tensor_count(const Weights *w)
{
    return w->gguf.n_tensors;
}

const char *weights_tensor_at(const Weights *w, size_t index, Tensor *ret_tensor)
{
    assert(index < w->gguf.n_tensors);
    *ret_tensor = w->gguf.tensors[index].tensor;
    return w->gguf.tensors[index].name;
}

size_t weights_file_size(const Weights *w)
{
    return w->size;
}

int weights_digest(Weights *w, char ret_hex[65])
{
    if (w->digest[0] == '\0') {
        uint8_t digest[32];

        sha256(w->data, w->size, digest);
        for (int i = 0; i < 32; i++)
            snprintf(w->digest + 2 * i, 3, "%02x", digest[i]);
    }
    memcpy(ret_hex, w->digest, sizeof w->digest);
    return 0;
}
