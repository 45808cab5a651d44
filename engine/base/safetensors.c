#include "engine/base/safetensors.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/base/gguf.h"
#include "engine/base/json.h"

/* The data behind the header, and what to say when something is wrong. */
typedef struct Reader {
    const uint8_t *data;
    uint64_t size;
    char *error;
    size_t error_size;
} Reader;

#define reader_fail(r, error_number, ...)                                                          \
    (snprintf((r)->error, (r)->error_size, __VA_ARGS__), (error_number))

typedef struct FileType {
    const char *name;
    uint8_t bytes;
    bool readable;
    DType dtype;
} FileType;

static const FileType file_types[] = {
    {"F32", 4, true, DTYPE_F32},     {"F16", 2, true, DTYPE_F16},
    {"BF16", 2, true, DTYPE_BF16},   {.name = "BOOL", .bytes = 1},
    {.name = "U8", .bytes = 1},      {.name = "I8", .bytes = 1},
    {.name = "F8_E5M2", .bytes = 1}, {.name = "F8_E4M3", .bytes = 1},
    {.name = "F8_E8M0", .bytes = 1}, {.name = "I16", .bytes = 2},
    {.name = "U16", .bytes = 2},     {.name = "I32", .bytes = 4},
    {.name = "U32", .bytes = 4},     {.name = "F64", .bytes = 8},
    {.name = "I64", .bytes = 8},     {.name = "U64", .bytes = 8},
};

static int read_type(const Reader *r, const char *name, const JsonNode *node,
                     const FileType **ret_type)
{
    if (!json_is(node, JSON_STRING))
        return reader_fail(r, -EBADMSG, "tensor '%s' has no type", name);
    for (size_t i = 0; i < sizeof file_types / sizeof *file_types; i++)
        if (json_is_text(node, file_types[i].name)) {
            *ret_type = &file_types[i];
            return 0;
        }
    return reader_fail(r, -ENOTSUP, "tensor '%s' has the unknown type '%.*s'", name,
                       node->count < 16 ? (int)node->count : 16, node->text);
}

/* Dimensions come outermost first. One without any is a single number. */
static int read_shape(const Reader *r, const char *name, const JsonNode *node, SafeTensor *tensor,
                      uint64_t *ret_count)
{
    Tensor *t = &tensor->tensor;
    uint64_t count = 1, ne;
    uint32_t at;

    if (!json_is(node, JSON_ARRAY))
        return reader_fail(r, -EBADMSG, "tensor '%s' has no shape", name);
    if (node->count > SAFETENSORS_DIMS_MAX)
        return reader_fail(r, -EFBIG, "tensor '%s' has %u dimensions", name, node->count);
    if (node->count > TENSOR_DIMS)
        tensor->foreign = "of too many dimensions";
    *t = (Tensor){.n_dims = node->count ? node->count : 1, .ne = {1, 1, 1, 1}};

    at = node->count;
    for (const JsonNode *n = json_first(node); n < json_end(node); n = json_next(n)) {
        if (json_unsigned(n, INT64_MAX / 8, &ne) < 0 || ne == 0 ||
            __builtin_mul_overflow(count, ne, &count) || count > INT64_MAX / 8)
            return reader_fail(r, -EBADMSG, "tensor '%s' has an impossible shape", name);
        if (--at < TENSOR_DIMS)
            t->ne[at] = (int64_t)ne;
    }
    *ret_count = count;
    return 0;
}

static int read_offsets(const Reader *r, const JsonNode *node, SafeTensor *tensor)
{
    const char *name = tensor->name;
    uint64_t begin, end;

    if (!json_is(node, JSON_ARRAY) || node->count != 2 ||
        json_unsigned(node + 1, INT64_MAX, &begin) < 0 ||
        json_unsigned(node + 2, INT64_MAX, &end) < 0)
        return reader_fail(r, -EBADMSG, "tensor '%s' has no two data_offsets", name);
    if (begin > end || end > r->size)
        return reader_fail(r, -EBADMSG, "tensor '%s' reaches past the end of the file", name);
    if (end - begin != tensor->bytes)
        return reader_fail(r, -EBADMSG, "tensor '%s' has %llu bytes, its type and shape need %llu",
                           name, (unsigned long long)(end - begin),
                           (unsigned long long)tensor->bytes);
    tensor->tensor.data = r->data + begin;
    return 0;
}

static int read_tensor(const Reader *r, const JsonNode *node, SafeTensor *tensor)
{
    const FileType *type = NULL;
    const char *name = tensor->name;
    uint64_t count;
    int e;

    if (!json_is(node, JSON_OBJECT) || node->count != 3)
        return reader_fail(r, -EBADMSG, "tensor '%s' is not dtype, shape and data_offsets", name);
    e = read_type(r, name, json_get(node, "dtype"), &type);
    if (e == 0)
        e = read_shape(r, name, json_get(node, "shape"), tensor, &count);
    if (e < 0)
        return e;
    tensor->bytes = count * type->bytes;
    e = read_offsets(r, json_get(node, "data_offsets"), tensor);
    if (e < 0)
        return e;
    if (!type->readable)
        tensor->foreign = type->name;
    else if ((uintptr_t)tensor->tensor.data % type->bytes != 0)
        return reader_fail(r, -ENOTSUP,
                           "tensor '%s' is not aligned for %s: write the file anew with a current "
                           "safetensors library",
                           name, type->name);
    tensor->tensor.dtype = type->dtype;
    return 0;
}

static bool is_metadata(const JsonNode *name)
{
    return json_is_text(name, "__metadata__");
}

/* All names in one block, and how many there are. */
static int read_names(const Reader *r, const JsonNode *root, Safetensors *file)
{
    size_t n = 0, bytes = 0;
    char *at;

    for (const JsonNode *name = json_first(root); name < json_end(root);
         name = json_next(name + 1)) {
        if (is_metadata(name))
            continue;
        if (!gguf_name_ok(name->text, name->count, SAFETENSORS_NAME_LENGTH_MAX))
            return reader_fail(r, -EBADMSG, "a tensor's name is empty, too long or not plain text");
        n++;
        bytes += name->count + 1;
    }
    if (n > SAFETENSORS_TENSORS_MAX)
        return reader_fail(r, -EFBIG, "%zu tensors; at most %d are read", n,
                           SAFETENSORS_TENSORS_MAX);
    file->tensors = calloc(n + 1, sizeof *file->tensors);
    file->names = at = malloc(bytes + 1);
    if (!file->tensors || !file->names)
        return reader_fail(r, -ENOMEM, "no memory for %zu tensors", n);
    for (const JsonNode *name = json_first(root); name < json_end(root);
         name = json_next(name + 1)) {
        if (is_metadata(name))
            continue;
        file->tensors[file->n++].name = memcpy(at, name->text, name->count);
        at[name->count] = '\0';
        at += name->count + 1;
    }
    return 0;
}

static int compare_data(const void *a, const void *b)
{
    const SafeTensor *x = a, *y = b;

    return x->tensor.data < y->tensor.data ? -1 : x->tensor.data > y->tensor.data;
}

/* The tensors in the order of their bytes, one beginning where the other ends. */
static int check_places(const Reader *r, Safetensors *file)
{
    const uint8_t *at = r->data;

    qsort(file->tensors, file->n, sizeof *file->tensors, compare_data);
    for (size_t i = 0; i < file->n; i++) {
        const SafeTensor *t = &file->tensors[i];
        const uint8_t *begin = t->tensor.data;

        if (begin < at)
            return reader_fail(r, -EBADMSG, "tensors '%s' and '%s' overlap", t[-1].name, t->name);
        if (begin > at)
            return reader_fail(r, -EBADMSG, "%zu bytes before tensor '%s' belong to none",
                               (size_t)(begin - at), t->name);
        at += t->bytes;
    }
    if (at < r->data + r->size)
        return reader_fail(r, -EBADMSG, "%zu bytes at the end of the file belong to no tensor",
                           (size_t)(r->data + r->size - at));
    return 0;
}

static int read_header(const Reader *r, const JsonNode *root, Safetensors *file)
{
    size_t i = 0;
    int e;

    if (!json_is(root, JSON_OBJECT))
        return reader_fail(r, -EBADMSG, "the header is not an object");
    e = read_names(r, root, file);
    for (const JsonNode *name = json_first(root); e == 0 && name < json_end(root);
         name = json_next(name + 1))
        if (!is_metadata(name))
            e = read_tensor(r, name + 1, &file->tensors[i++]);
    return e < 0 ? e : check_places(r, file);
}

int safetensors_parse(const void *data, size_t size, Safetensors *ret_file, char *error,
                      size_t error_size)
{
    Reader r = {.error = error, .error_size = error_size};
    _cleanup_(json_freep) Json *header = NULL;
    Safetensors file = {0};
    char sentence[160] = "";
    uint64_t length;
    int e;

    if (size < 8)
        return reader_fail(&r, -EBADMSG, "not a safetensors file: it has %zu bytes", size);
    length = gguf_load_u64(data);
    if (length > size - 8)
        return reader_fail(&r, -EBADMSG,
                           "not a safetensors file, or cut off: a header of %llu "
                           "bytes, %zu are left",
                           (unsigned long long)length, size - 8);
    if (length > JSON_SIZE_MAX)
        return reader_fail(&r, -EFBIG, "a header of %llu bytes; at most %u are read",
                           (unsigned long long)length, JSON_SIZE_MAX);
    e = json_parse((const char *)data + 8, (size_t)length, &header, sentence, sizeof sentence);
    if (e < 0)
        return reader_fail(&r, e, "the header: %s", sentence);
    r.data = (const uint8_t *)data + 8 + length;
    r.size = size - 8 - length;
    e = read_header(&r, json_root(header), &file);
    if (e < 0) {
        safetensors_deinit(&file);
        return e;
    }
    *ret_file = file;
    return 0;
}

void safetensors_deinit(Safetensors *file)
{
    free(file->tensors);
    free(file->names);
    *file = (Safetensors){0};
}
