#include "engine/base/safetensors.h"

#include "engine/base/cleanup.h"
#include "tests/test.h"
#include "tests/unit/gguf-builder.h"

/* Two tensors of 12 and 8 bytes: what a header may get wrong, by its text. */
#define A      "\"a\":{\"dtype\":\"F32\",\"shape\":[1,3],\"data_offsets\":[0,12]}"
#define B      "\"b\":{\"dtype\":\"BF16\",\"shape\":[2,2],\"data_offsets\":[12,20]}"
#define HONEST "{\"__metadata__\":{\"format\":\"pt\"}," A "," B "}"

typedef struct File {
    void *data;
    size_t size;
    Safetensors content;
    char error[256];
} File;

/* length 0: the header's own. */
static int file_parse(File *f, const char *header, uint64_t length, size_t data_size)
{
    size_t text = strlen(header), blanks = (8 - text % 8) % 8;
    Bytes b = {0};

    bytes_u64(&b, length ? length : text + blanks);
    bytes_put(&b, header, text);
    for (size_t i = 0; i < blanks; i++)
        bytes_u8(&b, ' ');
    for (size_t i = 0; i < data_size; i++)
        bytes_u8(&b, (uint8_t)i);
    *f = (File){.data = bytes_aligned(b.data, b.size), .size = b.size};
    bytes_free(&b);
    return safetensors_parse(f->data, f->size, &f->content, f->error, sizeof f->error);
}

static void file_free(File *f)
{
    safetensors_deinit(&f->content);
    free(f->data);
}

typedef struct Lie {
    const char *header;
    int error;
    const char *says;
    uint64_t length; /* 0: honest */
    size_t cut;      /* bytes missing of 20 */
} Lie;

#define ONE(dtype, shape, offsets)                                                                 \
    "{" A ",\"b\":{\"dtype\":" dtype ",\"shape\":" shape ",\"data_offsets\":" offsets "}}"

#define LIE(h, e, s, ...)                                                                          \
    {                                                                                              \
        .header = (h), .error = (e), .says = (s), ##__VA_ARGS__                                    \
    }

/* clang-format off */
static const Lie lies[] = {
    LIE(HONEST, EBADMSG, "a header of 1099511627776 bytes", .length = 1ull << 40),
    LIE(HONEST, EBADMSG, "a header of 18446744073709551615 bytes", .length = UINT64_MAX),
    LIE(HONEST, EBADMSG, "the header: byte 7:", .length = 7),
    LIE(HONEST, EBADMSG, "tensor 'b' reaches past the end", .cut = 1),
    LIE(HONEST, EBADMSG, "tensor 'a' reaches past the end", .cut = 20),
    LIE("[]", EBADMSG, "the header is not an object"),
    LIE("{", EBADMSG, "the header: byte 8:"),
    LIE("{" A "," A "}", EBADMSG, "the name 'a' twice"),
    LIE("{" A "}", EBADMSG, "8 bytes at the end of the file belong to no tensor"),
    LIE("{" B "}", EBADMSG, "12 bytes before tensor 'b' belong to none"),
    LIE("{}", EBADMSG, "20 bytes at the end of the file belong to no tensor"),
    LIE("{\"\":1}", EBADMSG, "a tensor's name is empty"),
    LIE("{\"a b\":1}", EBADMSG, "not plain text"),
    LIE("{\"a\\n\":1}", EBADMSG, "not plain text"),
    LIE("{\"\xc3\xa9\":1}", EBADMSG, "not plain text"),
    LIE("{\"a\":[]}", EBADMSG, "tensor 'a' is not dtype, shape and data_offsets"),
    LIE("{\"a\":{\"dtype\":\"F32\",\"shape\":[3]}}", EBADMSG, "tensor 'a' is not dtype"),
    LIE("{\"a\":{\"dtype\":\"F32\",\"shape\":[3],\"offsets\":[0,12]}}", EBADMSG, "has no two data"),
    LIE("{\"a\":{\"dtype\":\"F32\",\"shape\":[3],\"data_offsets\":[0,12],\"x\":1}}", EBADMSG,
        "'a' is not"),
    LIE(ONE("1", "[2,2]", "[12,20]"), EBADMSG, "tensor 'b' has no type"),
    LIE(ONE("\"F31\"", "[2,2]", "[12,20]"), ENOTSUP, "tensor 'b' has the unknown type 'F31'"),
    LIE(ONE("\"f32\"", "[2,2]", "[12,20]"), ENOTSUP, "tensor 'b' has the unknown type 'f32'"),
    LIE(ONE("\"BF16\"", "4", "[12,20]"), EBADMSG, "tensor 'b' has no shape"),
    LIE(ONE("\"BF16\"", "[-2,-2]", "[12,20]"), EBADMSG, "tensor 'b' has an impossible shape"),
    LIE(ONE("\"BF16\"", "[2,2.0]", "[12,20]"), EBADMSG, "tensor 'b' has an impossible shape"),
    LIE(ONE("\"BF16\"", "[2,\"2\"]", "[12,20]"), EBADMSG, "tensor 'b' has an impossible shape"),
    LIE(ONE("\"BF16\"", "[0]", "[12,12]"), EBADMSG, "tensor 'b' has an impossible shape"),
    LIE(ONE("\"BF16\"", "[4294967296,4294967296]", "[12,20]"), EBADMSG, "impossible shape"),
    LIE(ONE("\"BF16\"", "[4611686018427387904]", "[12,20]"), EBADMSG, "impossible shape"),
    LIE(ONE("\"BF16\"", "[1,1,1,1,1,1,1,1,4]", "[12,20]"), EFBIG, "tensor 'b' has 9 dimensions"),
    LIE(ONE("\"BF16\"", "[2,3]", "[12,20]"), EBADMSG, "8 bytes, its type and shape need 12"),
    LIE(ONE("\"F32\"", "[2,2]", "[12,20]"), EBADMSG, "'b' has 8 bytes, its type and shape need 16"),
    LIE(ONE("\"BF16\"", "[2,2]", "[12]"), EBADMSG, "tensor 'b' has no two data_offsets"),
    LIE(ONE("\"BF16\"", "[2,2]", "[12,20,20]"), EBADMSG, "tensor 'b' has no two data_offsets"),
    LIE(ONE("\"BF16\"", "[2,2]", "[-8,0]"), EBADMSG, "tensor 'b' has no two data_offsets"),
    LIE(ONE("\"BF16\"", "[2,2]", "[20,12]"), EBADMSG, "tensor 'b' reaches past the end"),
    LIE(ONE("\"BF16\"", "[2,2]", "[16,24]"), EBADMSG, "tensor 'b' reaches past the end"),
    LIE(ONE("\"BF16\"", "[2,2]", "[9223372036854775799,9223372036854775807]"), EBADMSG,
        "past the end"),
    LIE(ONE("\"BF16\"", "[2,2]", "[8,16]"), EBADMSG, "tensors 'a' and 'b' overlap"),
    LIE(ONE("\"BF16\"", "[2,2]", "[0,8]"), EBADMSG, "overlap"),
    LIE("{\"a\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,1]},"
     "\"b\":{\"dtype\":\"F32\",\"shape\":[4],\"data_offsets\":[1,17]},"
     "\"c\":{\"dtype\":\"U8\",\"shape\":[3],\"data_offsets\":[17,20]}}", ENOTSUP,
     "tensor 'b' is not aligned for F32"),
};
/* clang-format on */

static void test_lies(void)
{
    for (size_t i = 0; i < sizeof lies / sizeof *lies; i++) {
        File f;
        int r = file_parse(&f, lies[i].header, lies[i].length, 20 - lies[i].cut);

        if (r != -lies[i].error || f.content.tensors || !strstr(f.error, lies[i].says))
            test_fail(__FILE__, __LINE__, "%s: %d, '%s'", lies[i].header, r, f.error);
        file_free(&f);
    }
}

static void test_sound(void)
{
    File f;
    const SafeTensor *t;

    ASSERT_OK(file_parse(&f, HONEST, 0, 20));
    ASSERT_EQ(f.content.n, 2);
    t = f.content.tensors;
    ASSERT_STREQ(t[0].name, "a");
    ASSERT(!t[0].foreign && t[0].tensor.dtype == DTYPE_F32 && t[0].tensor.n_dims == 2);
    ASSERT(t[0].tensor.ne[0] == 3 && t[0].tensor.ne[1] == 1 && t[0].tensor.ne[2] == 1);
    ASSERT_STREQ(t[1].name, "b");
    ASSERT(t[1].tensor.dtype == DTYPE_BF16 && t[1].bytes == 8);
    ASSERT_EQ(((const uint8_t *)t[1].tensor.data)[7], 19);
    file_free(&f);
}

/* Types and shapes that are no weights are kept apart, not refused; a scalar has one value. */
static void test_foreign(void)
{
    static const char header[] =
        "{\"ids\":{\"dtype\":\"I64\",\"shape\":[1],\"data_offsets\":[0,8]},"
        "\"deep\":{\"dtype\":\"F16\",\"shape\":[1,1,1,1,2],\"data_offsets\":[8,12]},"
        "\"scalar\":{\"dtype\":\"F32\",\"shape\":[],\"data_offsets\":[12,16]},"
        "\"float8\":{\"dtype\":\"F8_E4M3\",\"shape\":[2,2],\"data_offsets\":[16,20]}}";
    File f;

    ASSERT_OK(file_parse(&f, header, 0, 20));
    ASSERT_EQ(f.content.n, 4);
    ASSERT_STREQ(f.content.tensors[0].foreign, "I64");
    ASSERT_STREQ(f.content.tensors[1].foreign, "of too many dimensions");
    ASSERT(!f.content.tensors[2].foreign);
    ASSERT(f.content.tensors[2].tensor.n_dims == 1 && f.content.tensors[2].tensor.ne[0] == 1);
    ASSERT_STREQ(f.content.tensors[3].foreign, "F8_E4M3");
    file_free(&f);

    ASSERT_OK(file_parse(&f, "{}", 0, 0));
    ASSERT_EQ(f.content.n, 0);
    file_free(&f);
}

static void test_prefixes(void)
{
    File f;

    ASSERT_OK(file_parse(&f, HONEST, 0, 20));
    for (size_t size = 0; size < f.size; size++) {
        _cleanup_free_ void *data = bytes_aligned(f.data, size);
        Safetensors content;
        char error[256] = "";

        ASSERT_CMP(safetensors_parse(data, size, &content, error, sizeof error), <, 0);
        ASSERT(error[0] != '\0');
    }
    file_free(&f);
}

int main(void)
{
    RUN(test_lies);
    RUN(test_sound);
    RUN(test_foreign);
    RUN(test_prefixes);
    return 0;
}
