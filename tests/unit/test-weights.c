#include "engine/base/weights.h"

#include <stdbool.h>

#include "tests/test.h"
#include "tests/unit/gguf-builder.h"

/* GGUF types of values. */
enum { U8 = 0, U32 = 4, I32 = 5, F32 = 6, BOOL = 7, STRING = 8, ARRAY = 9, U64 = 10 };

/* Where a file may lie: a field that is not zero stands in for the honest value. */
typedef struct Lie {
    const char *name;
    int error;
    const char *says; /* part of the sentence */

    const char *magic;
    uint32_t version;
    uint64_t n_tensors, n_keys;
    uint64_t key_length;     /* length field of the first key's name */
    const char *key_name;    /* the second key's name */
    uint32_t value_type;     /* of the first key */
    uint64_t string_length;  /* length field of a string value */
    uint64_t strings_count;  /* of the array of strings */
    uint64_t strings_length; /* length field of its last string */
    uint64_t numbers_count;  /* of the array of i32 */
    uint32_t numbers_type;
    uint32_t depth; /* of arrays in arrays */
    uint8_t truth;
    uint32_t alignment, alignment_type;
    const char *tensor_name; /* the second tensor's */
    uint64_t tensor_name_length;
    uint32_t n_dims; /* of the first tensor, as all below */
    uint64_t ne0, ne1;
    uint32_t dtype;
    uint64_t offset;
    uint64_t offset2; /* of the second tensor */
    size_t cut;       /* bytes missing at the end */
} Lie;

#define OR(lie, honest) ((lie) ? (lie) : (honest))

static void put_name(Bytes *b, const char *name)
{
    bytes_string(b, strlen(name), name);
}

/* Seven keys. */
static void put_keys(Bytes *b, const Lie *lie)
{
    bytes_string(b, OR(lie->key_length, 5), "count");
    bytes_u32(b, OR(lie->value_type, U32));
    bytes_u32(b, 42);

    put_name(b, OR(lie->key_name, "name"));
    bytes_u32(b, STRING);
    bytes_string(b, OR(lie->string_length, 5), "hello");

    put_name(b, "general.alignment");
    bytes_u32(b, OR(lie->alignment_type, U32));
    bytes_u32(b, OR(lie->alignment, 64));

    put_name(b, "strings");
    bytes_u32(b, ARRAY);
    bytes_u32(b, STRING);
    bytes_u64(b, OR(lie->strings_count, 3));
    put_name(b, "one");
    put_name(b, "");
    bytes_string(b, OR(lie->strings_length, 5), "three");

    put_name(b, "numbers");
    bytes_u32(b, ARRAY);
    bytes_u32(b, OR(lie->numbers_type, I32));
    bytes_u64(b, OR(lie->numbers_count, 2));
    bytes_u32(b, 7);
    bytes_u32(b, (uint32_t)-9);

    put_name(b, "nested");
    bytes_u32(b, ARRAY);
    for (uint32_t i = 1; i < OR(lie->depth, 2); i++) {
        bytes_u32(b, ARRAY);
        bytes_u64(b, 1);
    }
    bytes_u32(b, BOOL);
    bytes_u64(b, 2);
    bytes_u8(b, 1);
    bytes_u8(b, lie->truth);

    put_name(b, "rate");
    bytes_u32(b, F32);
    bytes_f32(b, 0.5f);
}

/* Q8_0 [2, 64] and F32 [5]. */
static void put_tensors(Bytes *b, const Lie *lie)
{
    put_name(b, "w");
    bytes_u32(b, OR(lie->n_dims, 2));
    bytes_u64(b, OR(lie->ne0, 64));
    bytes_u64(b, OR(lie->ne1, 2));
    bytes_u32(b, OR(lie->dtype, 8));
    bytes_u64(b, lie->offset);

    bytes_string(b, OR(lie->tensor_name_length, strlen(OR(lie->tensor_name, "bias"))),
                 OR(lie->tensor_name, "bias"));
    bytes_u32(b, 1);
    bytes_u64(b, 5);
    bytes_u32(b, 0);
    bytes_u64(b, OR(lie->offset2, 192));
}

static Bytes build(const Lie *lie)
{
    Bytes b = {0};

    bytes_put(&b, OR(lie->magic, "GGUF"), 4);
    bytes_u32(&b, OR(lie->version, 3));
    bytes_u64(&b, OR(lie->n_tensors, 2));
    bytes_u64(&b, OR(lie->n_keys, 7));
    put_keys(&b, lie);
    put_tensors(&b, lie);
    bytes_align(&b, 64);
    for (int i = 0; i < 192; i++)
        bytes_u8(&b, (uint8_t)i);
    for (int i = 0; i < 5; i++)
        bytes_f32(&b, (float)i);
    b.size -= lie->cut;
    return b;
}

/* clang-format off */
static const Lie lies[] = {
    {"other magic", EBADMSG, "not a GGUF", .magic = "GGML"},
    {"version 1", ENOTSUP, "version 1", .version = 1},
    {"version 4", ENOTSUP, "version 4", .version = 4},
    {"the other byte order", ENOTSUP, "big-endian", .version = 3u << 24},
    {"too many tensors", EFBIG, "tensors", .n_tensors = 1 << 20},
    {"more tensors than 64 bits hold", EFBIG, "tensors", .n_tensors = UINT64_MAX},
    {"more tensors than bytes", EBADMSG, "too short", .n_tensors = 60000},
    {"one tensor more", EBADMSG, "", .n_tensors = 3},
    {"too many keys", EFBIG, "keys", .n_keys = 1 << 20},
    {"more keys than bytes", EBADMSG, "too short", .n_keys = 60000},
    {"one key more", EBADMSG, "", .n_keys = 8},
    {"one key less", EBADMSG, "", .n_keys = 6},
    {"a key's name past the end", EBADMSG, "string", .key_length = 100000},
    {"a key's name of 2^64 - 1", EBADMSG, "string", .key_length = UINT64_MAX},
    {"an empty key", EBADMSG, "name is empty", .key_name = ""},
    {"a key with a blank", EBADMSG, "plain text", .key_name = "a b"},
    {"a key with an escape", EBADMSG, "plain text", .key_name = "a\033[1m"},
    {"a key twice", EBADMSG, "key 'count' occurs twice", .key_name = "count"},
    {"a value of type 13", EBADMSG, "key 'count' has the unknown type 13", .value_type = 13},
    {"a value of type 2^32 - 1", EBADMSG, "key 'count'", .value_type = UINT32_MAX},
    {"a string past the end", EBADMSG, "key 'name' claims a string", .string_length = 1 << 20},
    {"a string of 2^63", EBADMSG, "key 'name' claims a string", .string_length = 1ull << 63},
    {"more strings than bytes", EBADMSG, "key 'strings' claims", .strings_count = 1 << 20},
    {"2^61 strings", EBADMSG, "key 'strings' claims", .strings_count = 1ull << 61},
    {"a string in an array past the end", EBADMSG, "'strings' claims", .strings_length = 1 << 20},
    {"more numbers than bytes", EBADMSG, "key 'numbers' claims", .numbers_count = 1 << 20},
    {"numbers whose size overflows", EBADMSG, "key 'numbers'", .numbers_count = 1ull << 62},
    {"numbers of type 99", EBADMSG, "key 'numbers' has the unknown type", .numbers_type = 99},
    {"arrays too deep", EBADMSG, "key 'nested' is nested", .depth = 6},
    {"a truth value of 2", EBADMSG, "truth value of 2", .truth = 2},
    {"alignment 1", EBADMSG, "alignment", .alignment = 1},
    {"alignment 48", EBADMSG, "alignment", .alignment = 48},
    {"alignment 2^31", EBADMSG, "alignment", .alignment = 1u << 31},
    {"alignment as a float", EBADMSG, "not a u32", .alignment_type = F32},
    {"a tensor twice", EBADMSG, "tensor 'w' occurs twice", .tensor_name = "w"},
    {"a tensor without a name", EBADMSG, "name is empty", .tensor_name = ""},
    {"a tensor's name past the end", EBADMSG, "string", .tensor_name_length = 1 << 20},
    {"a tensor's name of control characters", EBADMSG, "plain text", .tensor_name = "\r\n"},
    {"five dimensions", EBADMSG, "tensor 'w' has 5 dimensions", .n_dims = 5},
    {"2^32 - 1 dimensions", EBADMSG, "dimensions", .n_dims = UINT32_MAX},
    {"rows of 33 in blocks of 32", EBADMSG, "multiple of 32", .ne0 = 33},
    {"a shape of 2^66", EBADMSG, "'w' has an impossible", .ne0 = 1ull << 33, .ne1 = 1ull << 33},
    {"a shape of 2^62", EBADMSG, "'w' has an impossible", .ne0 = 1ull << 31, .ne1 = 1ull << 31},
    {"a negative dimension", EBADMSG, "impossible shape", .ne1 = UINT64_MAX},
    {"a shape that wraps", EBADMSG, "impossible", .ne0 = 1ull << 32, .ne1 = (1ull << 32) + 1},
    {"a tensor past the end", EBADMSG, "tensor 'w' reaches past", .ne1 = 1000},
    {"type Q2_K", ENOTSUP, "tensor 'w' has the type 10", .dtype = 10},
    {"type 2^32 - 1", ENOTSUP, "tensor 'w' has the type", .dtype = UINT32_MAX},
    {"an unaligned offset", EBADMSG, "tensor 'w' begins at 4", .offset = 4},
    {"an offset past the end", EBADMSG, "tensor 'w' reaches past", .offset = 1 << 20},
    {"an offset of 2^64 - 64", EBADMSG, "tensor 'w' reaches past", .offset = UINT64_MAX - 63},
    {"tensors that overlap", EBADMSG, "'w' and 'bias' overlap", .offset2 = 64},
    {"a cut in the data", EBADMSG, "tensor 'bias' reaches past", .cut = 1},
    {"no data at all", EBADMSG, "tensor 'w' reaches past", .cut = 212},
};
/* clang-format on */

static void test_lies(void)
{
    for (size_t i = 0; i < sizeof lies / sizeof *lies; i++) {
        Bytes b = build(&lies[i]);
        void *data = bytes_aligned(b.data, b.size);
        char error[WEIGHTS_ERROR_MAX] = "";
        Weights *w = NULL;
        int r = weights_open_memory(data, b.size, &w, error);

        if (r != -lies[i].error || w || !strstr(error, lies[i].says))
            test_fail(__FILE__, __LINE__, "%s: %d, '%s'", lies[i].name, r, error);
        free(data);
        bytes_free(&b);
    }
}

static Weights *open_sound(Bytes *b, void **ret_data)
{
    char error[WEIGHTS_ERROR_MAX] = "";
    Weights *w = NULL;

    *ret_data = bytes_aligned(b->data, b->size);
    if (weights_open_memory(*ret_data, b->size, &w, error) < 0)
        test_fail(__FILE__, __LINE__, "%s", error);
    return w;
}

static void test_keys(void)
{
    Bytes b = build(&(Lie){0});
    _cleanup_free_ void *data = NULL;
    _cleanup_(weights_closep) Weights *w = open_sound(&b, &data);
    WeightsString s;
    uint32_t u = 0;
    float f = 0;
    size_t n = 0;
    int32_t numbers[2];

    ASSERT_OK(weights_get_u32(w, "count", &u));
    ASSERT_EQ(u, 42);
    ASSERT_ERROR(weights_get_u32(w, "none", &u), ENOENT);
    ASSERT_ERROR(weights_get_u32(w, "rate", &u), EBADMSG);
    ASSERT_EQ(u, 42);
    ASSERT_OK(weights_get_f32(w, "rate", &f));
    ASSERT(f == 0.5f);
    ASSERT_ERROR(weights_get_f32(w, "count", &f), EBADMSG);
    ASSERT_OK(weights_get_string(w, "name", &s));
    ASSERT_EQ(s.length, 5);
    ASSERT_MEMEQ(s.data, "hello", 5);
    ASSERT_ERROR(weights_get_string(w, "count", &s), EBADMSG);

    ASSERT_OK(weights_get_strings(w, "strings", &n));
    ASSERT_EQ(n, 3);
    ASSERT_OK(weights_string_at(w, "strings", 1, &s));
    ASSERT_EQ(s.length, 0);
    ASSERT_OK(weights_string_at(w, "strings", 2, &s));
    ASSERT_MEMEQ(s.data, "three", 5);
    ASSERT_ERROR(weights_string_at(w, "strings", 3, &s), EBADMSG);
    ASSERT_ERROR(weights_get_strings(w, "numbers", &n), EBADMSG);

    ASSERT_OK(weights_array_length(w, "numbers", &n));
    ASSERT_EQ(n, 2);
    ASSERT_OK(weights_get_i32s(w, "numbers", numbers, 2));
    ASSERT_EQ(numbers[0], 7);
    ASSERT_EQ(numbers[1], -9);
    ASSERT_ERROR(weights_get_i32s(w, "numbers", numbers, 1), EBADMSG);
    ASSERT_ERROR(weights_get_i32s(w, "strings", numbers, 2), EBADMSG);
    bytes_free(&b);
}

static void test_tensors(void)
{
    Bytes b = build(&(Lie){.version = 2});
    _cleanup_free_ void *data = NULL;
    _cleanup_(weights_closep) Weights *w = open_sound(&b, &data);
    int64_t shape[] = {64, 2}, any[] = {0, 0}, wrong[] = {64, 3};
    const Tensor *t = weights_find(w, "w");
    Tensor got = {0};

    ASSERT(t && t->dtype == DTYPE_Q8_0 && t->n_dims == 2);
    ASSERT_EQ(tensor_bytes(t), 136);
    ASSERT(((const uint8_t *)t->data)[1] == 1);
    ASSERT((uintptr_t)t->data % 64 == 0);
    ASSERT(!weights_find(w, "v"));

    ASSERT_OK(weights_need(w, "w", DTYPE_Q8_0, 2, shape, &got));
    ASSERT(got.data == t->data);
    ASSERT_OK(weights_need(w, "w", DTYPE_Q8_0, 2, any, &got));
    ASSERT_ERROR(weights_need(w, "v", DTYPE_Q8_0, 2, any, &got), ENOENT);
    ASSERT(strstr(weights_error(w), "'v' is missing"));
    ASSERT_ERROR(weights_need(w, "w", DTYPE_F32, 2, any, &got), EBADMSG);
    ASSERT(strstr(weights_error(w), "Q8_0, not F32"));
    ASSERT_ERROR(weights_need(w, "w", DTYPE_Q8_0, 1, any, &got), EBADMSG);
    ASSERT_ERROR(weights_need(w, "w", DTYPE_Q8_0, 2, wrong, &got), EBADMSG);
    ASSERT(strstr(weights_error(w), "'w'"));

    ASSERT_EQ(weights_tensor_count(w), 2);
    ASSERT_STREQ(weights_tensor_at(w, 1, &got), "bias");
    ASSERT(((const float *)got.data)[4] == 4);
    bytes_free(&b);
}

/* A truth value, an F16 vector [3], and two experts [2, 32] in Q8_0. */
static Bytes build_forms(void)
{
    static const uint16_t halves[] = {0x3c00, 0xc000, 0x3800}; /* 1, -2, 0.5 */
    Bytes b = {0};

    bytes_put(&b, "GGUF", 4);
    bytes_u32(&b, 3);
    bytes_u64(&b, 2);
    bytes_u64(&b, 1);
    put_name(&b, "truth");
    bytes_u32(&b, BOOL);
    bytes_u8(&b, 1);
    put_name(&b, "vector");
    bytes_u32(&b, 1);
    bytes_u64(&b, 3);
    bytes_u32(&b, 1);
    bytes_u64(&b, 0);
    put_name(&b, "experts");
    bytes_u32(&b, 3);
    for (int i = 0; i < 3; i++)
        bytes_u64(&b, i == 0 ? 32 : 2);
    bytes_u32(&b, 8);
    bytes_u64(&b, 32);
    bytes_align(&b, 32);
    for (int i = 0; i < 3; i++) {
        bytes_u8(&b, (uint8_t)halves[i]);
        bytes_u8(&b, (uint8_t)(halves[i] >> 8));
    }
    bytes_align(&b, 32);
    for (int i = 0; i < 4 * 34; i++)
        bytes_u8(&b, (uint8_t)i);
    return b;
}

static void test_forms(void)
{
    Bytes b = build_forms();
    _cleanup_free_ void *data = NULL;
    _cleanup_(weights_closep) Weights *w = open_sound(&b, &data);
    const int64_t any[] = {0, 0, 0}, few[] = {32, 2, 3};
    Tensor t, experts[2];
    bool truth = false;

    ASSERT_OK(weights_get_bool(w, "truth", &truth));
    ASSERT(truth);
    ASSERT_ERROR(weights_get_bool(w, "none", &truth), ENOENT);

    ASSERT_OK(weights_need_matrix(w, "vector", 1, any, &t));
    ASSERT_EQ(t.dtype, DTYPE_F16);
    ASSERT_OK(weights_need_vector(w, "vector", 1, any, &t));
    ASSERT_EQ(t.dtype, DTYPE_F32);
    ASSERT(((const float *)t.data)[0] == 1 && ((const float *)t.data)[1] == -2 &&
           ((const float *)t.data)[2] == 0.5f);
    ASSERT_ERROR(weights_need_vector(w, "experts", 3, any, &t), EBADMSG);
    ASSERT(strstr(weights_error(w), "'experts' is Q8_0"));
    ASSERT_ERROR(weights_need_vector(w, "none", 1, any, &t), ENOENT);

    ASSERT_OK(weights_need_experts(w, "experts", any, experts));
    ASSERT(experts[0].data == weights_find(w, "experts")->data);
    ASSERT_EQ((const char *)experts[1].data - (const char *)experts[0].data, 2 * 34);
    ASSERT(experts[1].n_dims == 2 && experts[1].ne[0] == 32 && experts[1].ne[1] == 2);
    ASSERT_ERROR(weights_need_experts(w, "experts", few, experts), EBADMSG);
    ASSERT(strstr(weights_error(w), "'experts' has 2 values in dimension 2, not 3"));
    ASSERT_ERROR(weights_need_experts(w, "vector", any, experts), EBADMSG);
    ASSERT_ERROR(weights_need_experts(w, "none", any, experts), ENOENT);
    bytes_free(&b);
}

/* Every prefix of a sound file is refused. */
static void test_prefixes(void)
{
    Bytes b = build(&(Lie){0});

    for (size_t size = 0; size < b.size; size++) {
        _cleanup_free_ void *data = bytes_aligned(b.data, size);
        char error[WEIGHTS_ERROR_MAX] = "";
        Weights *w = NULL;

        ASSERT_CMP(weights_open_memory(data, size, &w, error), <, 0);
        ASSERT(error[0] != '\0');
    }
    bytes_free(&b);
}

/* Random damage: refused, or everything that is found lies inside. */
static void test_damage(void)
{
    Bytes b = build(&(Lie){0});
    uint32_t random = 1;

    for (int turn = 0; turn < 30000; turn++) {
        _cleanup_free_ uint8_t *data = bytes_aligned(b.data, b.size);
        _cleanup_(weights_closep) Weights *w = NULL;
        char error[WEIGHTS_ERROR_MAX];
        Tensor t;

        for (int i = 0; i < 1 + turn % 3; i++) {
            random = random * 1664525 + 1013904223;
            data[(random >> 8) % (b.size - 212)] = (uint8_t)(random >> 3 & (turn % 2 ? 0xff : 3));
        }
        if (weights_open_memory(data, b.size, &w, error) < 0)
            continue;
        for (size_t i = 0; i < weights_tensor_count(w); i++) {
            ASSERT(weights_find(w, weights_tensor_at(w, i, &t)));
            ASSERT((const uint8_t *)t.data >= data);
            ASSERT((const uint8_t *)t.data + tensor_bytes(&t) <= data + b.size);
        }
    }
    bytes_free(&b);
}

static void test_files(void)
{
    char path[] = "/tmp/test-weights-XXXXXX", error[WEIGHTS_ERROR_MAX] = "", hex[65];
    Bytes b = build(&(Lie){0});
    _cleanup_close_ int fd = mkstemp(path);
    Weights *w = NULL;

    ASSERT_ERROR(weights_open("/nonexistent/file", &w, error), ENOENT);
    ASSERT_ERROR(weights_open("/", &w, error), ENOENT);
    ASSERT(strstr(error, "config.json is missing"));
    ASSERT_ERROR(weights_open("/dev/null", &w, error), EBADMSG);
    ASSERT_ERROR(weights_open(path, &w, error), EBADMSG);
    ASSERT(strstr(error, "empty"));

    ASSERT_EQ(write(fd, b.data, b.size), b.size);
    ASSERT_OK(weights_open(path, &w, error));
    ASSERT_EQ(weights_file_size(w), b.size);
    ASSERT_OK(weights_digest(w, hex));
    ASSERT_EQ(strlen(hex), 64);
    weights_close(w);
    unlink(path);
    bytes_free(&b);
}

int main(void)
{
    RUN(test_lies);
    RUN(test_keys);
    RUN(test_tensors);
    RUN(test_forms);
    RUN(test_prefixes);
    RUN(test_damage);
    RUN(test_files);
    return 0;
}
