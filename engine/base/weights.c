#include "engine/base/weights.h"

#include <assert.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "engine/base/direct.h"
#include "engine/base/files.h"
#include "engine/base/folder.h"
#include "engine/base/gguf.h"
#include "engine/base/half.h"
#include "engine/base/hash.h"
#include "engine/base/sha256.h"

/* Open addressing over positions in one of the parser's tables. */
typedef struct NameTable {
    uint32_t *slots; /* position + 1; 0 is free */
    size_t mask;
} NameTable;

struct Weights {
    Files files; /* nothing of a file in the caller's memory */
    WeightsFile *parts;
    size_t n_parts;
    Gguf gguf;
    uint64_t seed;
    NameTable keys, tensors;
    char digest[65];
    bool bounded;
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

static int weights_parse(Weights *w, bool folder)
{
    int r = folder
                ? folder_parse(w->parts, w->n_parts, &w->gguf, w->error, sizeof w->error)
                : gguf_parse(w->parts->data, w->parts->size, &w->gguf, w->error, sizeof w->error);

    if (r < 0)
        return r;
    w->parts->used = w->parts->used || !folder;
    r = table_fill(w, &w->keys, key_name, w->gguf.n_keys, "key");
    if (r < 0)
        return r;
    return table_fill(w, &w->tensors, tensor_name, w->gguf.n_tensors, "tensor");
}

/* Takes the files; parts are theirs, or a copy of the caller's list. */
static int weights_new(Files *files, const WeightsFile *parts, size_t n_parts, bool folder,
                       Weights **ret_weights, char *ret_error)
{
    _cleanup_(weights_closep) Weights *w = calloc(1, sizeof *w);
    int r;

    if (!w) {
        files_close(files);
        snprintf(ret_error, WEIGHTS_ERROR_MAX, "no memory for a weight file");
        return -ENOMEM;
    }
    w->files = *files;
    w->n_parts = n_parts;
    w->seed = hash_seed();
    w->parts = calloc(n_parts + 1, sizeof *w->parts);
    if (!w->parts) {
        snprintf(ret_error, WEIGHTS_ERROR_MAX, "no memory for %zu files", n_parts);
        return -ENOMEM;
    }
    memcpy(w->parts, parts, n_parts * sizeof *parts);
    r = weights_parse(w, folder);
    if (r < 0) {
        memcpy(ret_error, w->error, WEIGHTS_ERROR_MAX);
        return r;
    }
    *ret_weights = steal_ptr(&w);
    return 0;
}

int weights_open(const char *path, Weights **ret_weights, char ret_error[WEIGHTS_ERROR_MAX])
{
    Files files;
    int r = files_open(path, &files, ret_error);

    return r < 0 ? r
                 : weights_new(&files, files.list, files.n, files.folder, ret_weights, ret_error);
}

int weights_open_memory(const void *data, size_t size, Weights **ret_weights,
                        char ret_error[WEIGHTS_ERROR_MAX])
{
    WeightsFile part = {"", data, size, false};

    assert((uintptr_t)data % 64 == 0);
    return weights_new(&(Files){0}, &part, 1, false, ret_weights, ret_error);
}

int weights_open_parts(const WeightsFile *parts, size_t n, Weights **ret_weights,
                       char ret_error[WEIGHTS_ERROR_MAX])
{
    return weights_new(&(Files){0}, parts, n, true, ret_weights, ret_error);
}

Weights *weights_close(Weights *w)
{
    if (!w)
        return NULL;
    gguf_deinit(&w->gguf);
    free(w->keys.slots);
    free(w->tensors.slots);
    free(w->parts);
    files_close(&w->files);
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

/* Halves and short floats to floats, once. */
static int tensor_widen(Weights *w, const char *name, const Tensor *t, Tensor *ret_tensor)
{
    size_t bytes = 2 * tensor_bytes(t), n = bytes / sizeof(float);
    const char *from = t->data;
    float *to;

    if (bytes > WEIGHTS_VECTOR_MAX)
        return weights_fail(w, -EFBIG, "tensor '%s' is %s and too large to be widened to F32", name,
                            dtype_name(t->dtype));
    to = gguf_own(&w->gguf, bytes);
    if (!to)
        return weights_fail(w, -ENOMEM, "no memory for tensor '%s'", name);
    for (size_t i = 0; i < n; i++)
        to[i] = t->dtype == DTYPE_F16 ? f16_load(from + 2 * i) : bf16_load(from + 2 * i);
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
    if (t.dtype == DTYPE_F16 || t.dtype == DTYPE_BF16)
        return tensor_widen(w, name, &t, ret_tensor);
    if (t.dtype != DTYPE_F32)
        return weights_fail(w, -EBADMSG, "tensor '%s' is %s, not F32, F16 or BF16", name,
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
    size_t size = 0;

    for (size_t i = 0; i < w->n_parts; i++)
        size += w->parts[i].used ? w->parts[i].size : 0;
    return size;
}

bool weights_locate(const Weights *w, const void *data, int *ret_fd, uint64_t *ret_offset)
{
    return files_locate(&w->files, data, ret_fd, ret_offset);
}

void weights_bound(Weights *w, WeightsRange *absent, size_t n)
{
    files_bound(&w->files, w->parts, absent, n);
    w->bounded = true;
}

/* A file that is not to be in memory, piece by piece. */
static int digest_bounded(const Weights *w, const WeightsFile *f, Sha256 *s)
{
    enum { PIECE = 1 << 20 };
    _cleanup_free_ char *piece = aligned_alloc(DIRECT_BLOCK_MAX, PIECE);
    DirectFile file;
    uint64_t offset;
    int64_t n = 0;
    int fd;

    if (!piece)
        return -ENOMEM;
    if (!weights_locate(w, f->data, &fd, &offset))
        return -EIO;
    int r = direct_open(fd, &file);
    if (r < 0)
        return r;
    for (uint64_t at = 0; n >= 0 && at < f->size; at += PIECE) {
        size_t want = f->size - at < PIECE ? f->size - at : PIECE;

        n = direct_read(&file, at, piece, PIECE);
        if (n >= 0 && (size_t)n < want)
            n = -EIO;
        if (n >= 0)
            sha256_add(s, piece, want);
    }
    direct_close(&file);
    return n < 0 ? (int)n : 0;
}

static void hex_print(const uint8_t digest[32], char ret_hex[65])
{
    for (int i = 0; i < 32; i++)
        snprintf(ret_hex + 2 * i, 3, "%02x", digest[i]);
}

static int digest_hex(const Weights *w, const WeightsFile *f, char ret_hex[65])
{
    uint8_t digest[32];
    Sha256 s;

    sha256_begin(&s);
    if (w->bounded) {
        int r = digest_bounded(w, f, &s);
        if (r < 0)
            return r;
    } else
        sha256_add(&s, f->data, f->size);
    sha256_end(&s, digest);
    hex_print(digest, ret_hex);
    return 0;
}

/* The lines that sha256sum prints for the files of a folder, and the digest of those. */
static int digest_folder(const Weights *w, char ret_hex[65])
{
    _cleanup_free_ char *lines = NULL;
    uint8_t digest[32];
    char hex[65];
    size_t room = 1, at = 0;

    for (size_t i = 0; i < w->n_parts; i++)
        room += 64 + 2 + strlen(w->parts[i].name) + 1;
    lines = malloc(room);
    if (!lines)
        return -ENOMEM;
    for (size_t i = 0; i < w->n_parts; i++)
        if (w->parts[i].used) {
            int r = digest_hex(w, &w->parts[i], hex);
            if (r < 0)
                return r;
            at += (size_t)sprintf(lines + at, "%s  %s\n", hex, w->parts[i].name);
        }
    sha256(lines, at, digest);
    hex_print(digest, ret_hex);
    return 0;
}

int weights_digest(Weights *w, char ret_hex[65])
{
    if (w->digest[0] == '\0') {
        char hex[65];
        int r = *w->parts->name ? digest_folder(w, hex) : digest_hex(w, w->parts, hex);

        if (r < 0)
            return r;
        memcpy(w->digest, hex, sizeof w->digest);
    }
    memcpy(ret_hex, w->digest, sizeof w->digest);
    return 0;
}
