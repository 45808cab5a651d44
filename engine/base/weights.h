#pragma once

/*
 * Weight files, mapped read-only, their keys and tensors found by name: a GGUF file, or a folder as
 * model authors publish it, with config.json, tokenizer.json and safetensors, which is shown under
 * the keys and names that its GGUF file would have (engine/base/folder.h).
 *
 * Every count, offset, string and product in the file is checked when it is opened; afterwards a
 * tensor's data is known to lie inside the mapping. Errors carry a sentence for the developer that
 * names the tensor or key. Format: the GGUF specification, version 3 (2 is read as well). Files are
 * replaced by rename, never written in place: a mapped file that shrinks would end the process.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "engine/base/cleanup.h"
#include "engine/base/tensor.h"

typedef struct Weights Weights;

#define WEIGHTS_ERROR_MAX 256

/* A string inside the mapping: not terminated. */
typedef struct WeightsString {
    const char *data;
    size_t length;
} WeightsString;

/* Opens and checks a file or folder. On failure returns -ENOENT, -EBADMSG (not a sound file),
 * -ENOTSUP (a version or type that is not known), -EFBIG (more keys or tensors than any model
 * has), -ENOMEM or another errno, and writes a sentence to ret_error. */
int weights_open(const char *path, Weights **ret_weights, char ret_error[WEIGHTS_ERROR_MAX]);
/* The same over memory, aligned to 64 bytes, that the caller keeps alive and unchanged. */
int weights_open_memory(const void *data, size_t size, Weights **ret_weights,
                        char ret_error[WEIGHTS_ERROR_MAX]);
/* A folder's files in the caller's memory, aligned to 8, kept alive with their names. */
typedef struct WeightsFile {
    const char *name;
    const void *data;
    size_t size;
    bool used; /* the model needs it */
} WeightsFile;
int weights_open_parts(const WeightsFile *parts, size_t n, Weights **ret_weights,
                       char ret_error[WEIGHTS_ERROR_MAX]);
Weights *weights_close(Weights *w);
DEFINE_CLEANUP(Weights *, weights_close);

/* Keys. -ENOENT when missing, -EBADMSG when of another type or out of range. Integers of any width
 * are read as u32 when the value fits. */
int weights_get_u32(const Weights *w, const char *key, uint32_t *ret_value);
int weights_get_f32(const Weights *w, const char *key, float *ret_value);
int weights_get_bool(const Weights *w, const char *key, bool *ret_value);
int weights_get_string(const Weights *w, const char *key, WeightsString *ret_value);
/* Arrays of strings: how many, and one of them. -EBADMSG also when index is past the end. */
int weights_get_strings(const Weights *w, const char *key, size_t *ret_count);
int weights_string_at(const Weights *w, const char *key, size_t index, WeightsString *ret_value);
/* Elements of an array of any type. */
int weights_array_length(const Weights *w, const char *key, size_t *ret_count);
/* Copies an array of i32 or u32 that has exactly `count` elements. */
int weights_get_i32s(const Weights *w, const char *key, int32_t *ret_values, size_t count);
/* The same of f32. */
int weights_get_f32s(const Weights *w, const char *key, float *ret_values, size_t count);

/* A tensor by name; NULL when missing, and for experts that do not lie in one piece. */
const Tensor *weights_find(const Weights *w, const char *name);
/* A tensor that must be there with this type and shape (0 = any): -ENOENT or -EBADMSG
 * otherwise; the sentence is kept in the weights and read by weights_error(). ne has n_dims
 * entries, innermost first. */
int weights_need(Weights *w, const char *name, DType dtype, uint32_t n_dims, const int64_t *ne,
                 Tensor *ret_tensor);
/* The same with any type. */
int weights_need_matrix(Weights *w, const char *name, uint32_t n_dims, const int64_t *ne,
                        Tensor *ret_tensor);
/* The same as F32: F16 and BF16 are widened into memory that the weights own, of at most this
 * many bytes. For vectors and routers. */
#define WEIGHTS_VECTOR_MAX (64u << 20)
int weights_need_vector(Weights *w, const char *name, uint32_t n_dims, const int64_t *ne,
                        Tensor *ret_tensor);
/* Matrices of one shape that belong together, however they lie in the file, under the name
 * that GGUF has for all of them ("blk.0.ffn_gate_exps.weight"): ne [in, out, n], as above, and
 * n matrices [out, in] of any type. */
int weights_need_experts(Weights *w, const char *name, const int64_t ne[3], Tensor *ret_experts);
const char *weights_error(const Weights *w);
/* Keeps a sentence for weights_error() and returns `error`: for readers above this layer that
 * refuse a key's value. */
int weights_fail(Weights *w, int error, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

size_t weights_tensor_count(const Weights *w);
/* In the order of the file. The name is terminated and lives as long as the weights. */
const char *weights_tensor_at(const Weights *w, size_t index, Tensor *ret_tensor);
/* Of all files that are used. */
size_t weights_file_size(const Weights *w);
/* Where the byte at `data` lies: a descriptor that the weights keep, and the offset in its file.
 * false when it is not in a file. */
bool weights_locate(const Weights *w, const void *data, int *ret_fd, uint64_t *ret_offset);
/* A piece of a mapping. */
typedef struct WeightsRange {
    const char *begin, *end;
} WeightsRange;
/* From now on of the files only what is outside of these ranges, which are put in order, lies in
 * memory; and what reads a whole file, the digest, leaves none of it there. A page of a range that
 * is touched is read alone. */
void weights_bound(Weights *w, WeightsRange *absent, size_t n);
/* SHA-256 of the file as 64 hex digits and a NUL; of a folder, what `sha256sum FILES | sha256sum`
 * says of its files in the order of their names. Computed on first use; -ENOMEM, -EIO. */
int weights_digest(Weights *w, char ret_hex[65]);
