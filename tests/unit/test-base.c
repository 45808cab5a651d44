#include "engine/base/half.h"
#include "engine/base/log.h"
#include "engine/base/sha256.h"
#include "engine/base/tensor.h"

#include "tests/test.h"

/* The same in pieces of growing length, so that they end everywhere in a block. */
static void pieces_sha256(const char *data, size_t size, uint8_t ret_digest[32])
{
    Sha256 s;

    sha256_begin(&s);
    for (size_t at = 0, n = 0; at < size; at += n) {
        n = n + 1 < size - at ? n + 1 : size - at;
        sha256_add(&s, data + at, n);
    }
    sha256_end(&s, ret_digest);
}

static void expect_sha256(const void *data, size_t size, const char *hex)
{
    uint8_t digest[32], pieces[32];
    char text[65];

    sha256(data, size, digest);
    pieces_sha256(data, size, pieces);
    ASSERT_MEMEQ(pieces, digest, sizeof digest);
    for (int i = 0; i < 32; i++)
        snprintf(text + 2 * i, 3, "%02x", digest[i]);
    ASSERT_STREQ(text, hex);
}

/* Examples of FIPS 180-4, and lengths around the padding's edges against sha256sum(1). */
static void test_sha256(void)
{
    static char a[1000000];

    memset(a, 'a', sizeof a);
    expect_sha256("", 0, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    expect_sha256("abc", 3, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    expect_sha256("abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq", 56,
                  "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1");
    expect_sha256(a, 55, "9f4390f8d30c2dd92ec9f095b65e2b9ae9b0a925a5258e241c9f1e910f734318");
    expect_sha256(a, 64, "ffe054fe7ae0cb6dc65c3af9b61d5209f439851db43d0ba5997337df154668eb");
    expect_sha256(a, sizeof a, "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
}

static void test_half(void)
{
    static const struct {
        float f;
        uint16_t h;
    } pairs[] = {
        {0, 0},          {-0.0f, 0x8000},    {1, 0x3c00},         {-2, 0xc000},
        {65504, 0x7bff}, {0x1p-14f, 0x0400}, {0x1p-24f, 0x0001},  {0x1.ff8p-15f, 0x03ff},
        {0.1f, 0x2e66},  {INFINITY, 0x7c00}, {-INFINITY, 0xfc00},
    };

    for (size_t i = 0; i < sizeof pairs / sizeof *pairs; i++)
        ASSERT_EQ(f32_to_f16(pairs[i].f), pairs[i].h);
    /* Ties go to the even side; what is just past the largest becomes infinity. */
    ASSERT_EQ(f32_to_f16(1 + 0x1p-11f), 0x3c00);
    ASSERT_EQ(f32_to_f16(1 + 0x3p-11f), 0x3c02);
    ASSERT_EQ(f32_to_f16(1 + 0x1.002p-11f), 0x3c01);
    ASSERT_EQ(f32_to_f16(0x1p-25f), 0);
    ASSERT_EQ(f32_to_f16(0x1.8p-24f), 2);
    ASSERT_EQ(f32_to_f16(65519), 0x7bff);
    ASSERT_EQ(f32_to_f16(65520), 0x7c00);
    ASSERT_EQ(f32_to_f16(1e30f), 0x7c00);
    ASSERT((f32_to_f16(NAN) & 0x7c00) == 0x7c00 && (f32_to_f16(NAN) & 0x3ff) != 0);
    for (uint32_t h = 0; h < 65536; h++)
        if ((h & 0x7c00) != 0x7c00 || (h & 0x3ff) == 0)
            ASSERT_EQ(f32_to_f16(f16_to_f32((uint16_t)h)), h);
}

static void test_tensor(void)
{
    char data[6 * 68];
    Tensor t = {data, DTYPE_Q8_0, 3, {64, 2, 3, 1}}, slab, rows;

    ASSERT_EQ(tensor_bytes(&t), sizeof data);
    slab = tensor_slab(&t, 2);
    ASSERT((const char *)slab.data == data + 4 * 68);
    ASSERT_EQ(tensor_bytes(&slab), 136);
    rows = tensor_rows(&slab, 1, 1);
    ASSERT((const char *)rows.data == data + 5 * 68);
    ASSERT_EQ(dtype_row_bytes(DTYPE_F16, 3), 6);
    ASSERT_EQ(dtype_block_length(DTYPE_Q8_0), 32);
    ASSERT_STREQ(dtype_name(DTYPE_F32), "F32");
}

static int logged;
static char last[LOG_LINE_MAX];

static void sink(LogLevel level, const char *message)
{
    (void)level;
    logged++;
    snprintf(last, sizeof last, "%s", message);
}

static void test_log(void)
{
    char longer[2 * LOG_LINE_MAX];

    memset(longer, 'x', sizeof longer);
    longer[sizeof longer - 1] = '\0';
    log_info("nobody hears %d", 1);
    log_set_sink(sink, LOG_LEVEL_NOTICE);
    log_debug("left out");
    ASSERT_EQ(logged, 0);
    errno = ENOENT;
    log_warning("%s %d", "kept", 2);
    ASSERT_EQ(errno, ENOENT);
    ASSERT_EQ(logged, 1);
    ASSERT_STREQ(last, "kept 2");
    log_error("%s", longer);
    ASSERT_EQ(strlen(last), LOG_LINE_MAX - 1);
    log_set_sink(NULL, LOG_LEVEL_DEBUG);
    log_error("gone");
    ASSERT_EQ(logged, 2);
}

int main(void)
{
    RUN(test_sha256);
    RUN(test_half);
    RUN(test_tensor);
    RUN(test_log);
    return 0;
}
