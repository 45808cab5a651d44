#include "engine/base/tokenizer.h"

#include "tests/test.h"
#include "tests/unit/gguf-builder.h"

/* The fixture of train/make_tokenizer_fixture.py: argv[1]. */
static const char *fixture;

static Weights *fixture_open(void)
{
    char error[WEIGHTS_ERROR_MAX] = "";
    Weights *w = NULL;

    if (weights_open(fixture, &w, error) < 0)
        test_fail(__FILE__, __LINE__, "%s: %s", fixture, error);
    return w;
}

static void test_reference(void)
{
    _cleanup_(weights_closep) Weights *w = fixture_open();
    _cleanup_(tokenizer_freep) Tokenizer *t = NULL;
    _cleanup_free_ int32_t *counts = NULL, *expected = NULL;
    size_t n_texts, n_ids, at = 0;

    ASSERT_OK(tokenizer_new(w, &t));
    ASSERT_OK(weights_get_strings(w, "test.texts", &n_texts));
    ASSERT_OK(weights_array_length(w, "test.ids", &n_ids));
    counts = calloc(n_texts, sizeof *counts);
    expected = calloc(n_ids, sizeof *expected);
    ASSERT_OK(weights_get_i32s(w, "test.counts", counts, n_texts));
    ASSERT_OK(weights_get_i32s(w, "test.ids", expected, n_ids));

    for (size_t i = 0; i < n_texts; at += (size_t)counts[i], i++) {
        WeightsString text;
        int32_t ids[512];
        size_t n = 999, length = 0;
        char back[2048];

        ASSERT_OK(weights_string_at(w, "test.texts", i, &text));
        ASSERT_OK(tokenizer_encode(t, text.data, text.length, ids, 512, &n));
        if (n != (size_t)counts[i] || memcmp(ids, expected + at, n * sizeof *ids) != 0)
            test_fail(__FILE__, __LINE__, "text %zu, '%.*s', differs", i, (int)text.length,
                      text.data);
        if (n > 0)
            ASSERT_ERROR(tokenizer_encode(t, text.data, text.length, ids, n - 1, &n), E2BIG);
        for (size_t j = 0; j < n; j++) {
            size_t piece_length;
            const char *piece = tokenizer_piece(t, ids[j], &piece_length);

            memcpy(back + length, piece, piece_length);
            length += piece_length;
        }
        ASSERT_EQ(length, text.length);
        ASSERT_MEMEQ(back, text.data, length);
    }
    ASSERT_EQ(at, n_ids);
}

/* Any bytes come back as they were. */
static void test_bytes(void)
{
    _cleanup_(weights_closep) Weights *w = fixture_open();
    _cleanup_(tokenizer_freep) Tokenizer *t = NULL;
    uint32_t random = 3;

    ASSERT_OK(tokenizer_new(w, &t));
    for (int turn = 0; turn < 500; turn++) {
        char text[200], back[200];
        int32_t ids[200];
        size_t n, length = 0;

        for (size_t i = 0; i < sizeof text; i++) {
            random = random * 1664525 + 1013904223;
            text[i] = (char)(random >> 24);
        }
        ASSERT_OK(tokenizer_encode(t, text, sizeof text, ids, 200, &n));
        for (size_t i = 0; i < n; i++) {
            size_t piece_length;
            const char *piece = tokenizer_piece(t, ids[i], &piece_length);

            ASSERT_CMP(ids[i], >=, 8);
            memcpy(back + length, piece, piece_length);
            length += piece_length;
        }
        ASSERT_EQ(length, sizeof text);
        ASSERT_MEMEQ(back, text, sizeof text);
    }
}

static void test_specials(void)
{
    _cleanup_(weights_closep) Weights *w = fixture_open();
    _cleanup_(tokenizer_freep) Tokenizer *t = NULL;
    const TokenizerSpecial *special;
    size_t length, n_tokens;

    ASSERT_OK(tokenizer_new(w, &t));
    special = tokenizer_special(t);
    ASSERT_EQ(special->bos, 1);
    ASSERT_EQ(special->eos, 2);
    ASSERT_EQ(special->image, 3);
    ASSERT_EQ(special->audio, 4);
    ASSERT_EQ(special->user, 5);
    ASSERT_EQ(special->assistant, 6);
    ASSERT_EQ(special->system, 7);
    ASSERT_OK(weights_get_strings(w, "tokenizer.ggml.tokens", &n_tokens));
    ASSERT_EQ(tokenizer_size(t), n_tokens);
    tokenizer_piece(t, 3, &length);
    ASSERT_EQ(length, 0);
    tokenizer_piece(t, -1, &length);
    ASSERT_EQ(length, 0);
    tokenizer_piece(t, (int32_t)n_tokens, &length);
    ASSERT_EQ(length, 0);
}

/* A megabyte without a break is one piece; it takes a moment, not minutes, and a text that
 * cannot fit costs nothing. */
static void test_long(void)
{
    _cleanup_(weights_closep) Weights *w = fixture_open();
    _cleanup_(tokenizer_freep) Tokenizer *t = NULL;
    size_t length = 1 << 20, n;
    _cleanup_free_ char *text = malloc(length);
    _cleanup_free_ int32_t *ids = calloc(length, sizeof *ids);

    ASSERT(text && ids);
    ASSERT_OK(tokenizer_new(w, &t));
    for (size_t i = 0; i < length; i++)
        text[i] = "circlesquare"[i % 12];
    ASSERT_OK(tokenizer_encode(t, text, length, ids, length, &n));
    ASSERT_CMP(n, <, length / 4 * 3);
    ASSERT_ERROR(tokenizer_encode(t, text, length, ids, 256, &n), E2BIG);
}

/* A file with a tokenizer of 8 specials, 256 bytes and "ab", one field of which may lie. */
typedef struct Lie {
    const char *name;
    int error;
    const char *says;
    const char *model, *pre;
    const char *token; /* in place of "ab" */
    const char *merge; /* in place of "a b" */
    uint32_t n_types, bos;
    int without_byte;
} Lie;

#define OR(lie, honest) ((lie) ? (lie) : (honest))

static void put_string_key(Bytes *b, const char *key, const char *value)
{
    bytes_string(b, strlen(key), key);
    bytes_u32(b, 8);
    bytes_string(b, strlen(value), value);
}

static void put_array(Bytes *b, const char *key, uint32_t type, uint64_t count)
{
    bytes_string(b, strlen(key), key);
    bytes_u32(b, 9);
    bytes_u32(b, type);
    bytes_u64(b, count);
}

static void put_tokens(Bytes *b, const Lie *lie)
{
    static const char *const specials[] = {"<pad>",   "<bos>",  "<eos>",       "<image>",
                                           "<audio>", "<user>", "<assistant>", "<system>"};
    unsigned next = 256;

    put_array(b, "tokenizer.ggml.tokens", 8, 8 + 256 + 1);
    for (int i = 0; i < 8; i++)
        bytes_string(b, strlen(specials[i]), specials[i]);
    for (unsigned byte = 0; byte < 256; byte++) {
        int prints = (byte > 32 && byte < 127) || (byte > 160 && byte != 173);
        unsigned point = prints ? byte : next++;
        char utf8[3] = {(char)point};

        if (point >= 128) {
            utf8[0] = (char)(0xc0 | point >> 6);
            utf8[1] = (char)(0x80 | (point & 63));
        }
        if (lie->without_byte && byte == 'z')
            bytes_string(b, 2, "zz");
        else
            bytes_string(b, strlen(utf8), utf8);
    }
    bytes_string(b, strlen(OR(lie->token, "ab")), OR(lie->token, "ab"));
}

static Bytes build(const Lie *lie)
{
    uint32_t n_types = OR(lie->n_types, 265);
    Bytes b = {0};

    bytes_put(&b, "GGUF", 4);
    bytes_u32(&b, 3);
    bytes_u64(&b, 0);
    bytes_u64(&b, 6);
    put_string_key(&b, "tokenizer.ggml.model", OR(lie->model, "gpt2"));
    put_string_key(&b, "tokenizer.ggml.pre", OR(lie->pre, "percept"));
    put_tokens(&b, lie);
    put_array(&b, "tokenizer.ggml.token_type", 5, n_types);
    for (uint32_t i = 0; i < n_types; i++)
        bytes_u32(&b, i < 8 ? 3 : 1);
    put_array(&b, "tokenizer.ggml.merges", 8, 1);
    bytes_string(&b, strlen(OR(lie->merge, "a b")), OR(lie->merge, "a b"));
    bytes_string(&b, strlen("tokenizer.ggml.bos_token_id"), "tokenizer.ggml.bos_token_id");
    bytes_u32(&b, 4);
    bytes_u32(&b, OR(lie->bos, 1));
    return b;
}

static const Lie lies[] = {
    {.name = "honest", .says = ""},
    {"another model", ENOTSUP, "'bert'", .model = "bert"},
    {"another pre-tokenizer", ENOTSUP, "'bloom'", .pre = "bloom"},
    {"a token twice", EBADMSG, "are the same", .token = "a"},
    {"an empty token", EBADMSG, "has 0 bytes", .token = ""},
    {"a token out of the alphabet", EBADMSG, "alphabet", .token = "a b"},
    {"a token of broken UTF-8", EBADMSG, "alphabet", .token = "a\xc4"},
    {"a token beyond two bytes", EBADMSG, "alphabet", .token = "\xe2\x82\xac"},
    {"a byte without a token", EBADMSG, "byte 122", .without_byte = 1},
    {"too few types", EBADMSG, "token_type", .n_types = 264},
    {"too many types", EBADMSG, "token_type", .n_types = 266},
    {"a merge without a blank", EBADMSG, "merge 0", .merge = "ab"},
    {"a merge of nothing", EBADMSG, "merge 0", .merge = " "},
    {"a merge with nothing", EBADMSG, "merge 0", .merge = "ab "},
    {"a merge after nothing", EBADMSG, "merge 0", .merge = " ab"},
    {"a merge of what is no token", EBADMSG, "merge 0", .merge = "a bb"},
    {"a merge to what is no token", EBADMSG, "merge 0", .merge = "b a"},
    {"a merge of a special", EBADMSG, "merge 0", .merge = "<pad> a"},
    {"a special id past the end", EBADMSG, "bos_token_id", .bos = 265},
};

static void test_lies(void)
{
    for (size_t i = 0; i < sizeof lies / sizeof *lies; i++) {
        Bytes b = build(&lies[i]);
        _cleanup_free_ void *data = bytes_aligned(b.data, b.size);
        _cleanup_(weights_closep) Weights *w = NULL;
        _cleanup_(tokenizer_freep) Tokenizer *t = NULL;
        char error[WEIGHTS_ERROR_MAX] = "";
        int r = weights_open_memory(data, b.size, &w, error);

        if (r < 0)
            test_fail(__FILE__, __LINE__, "%s: %s", lies[i].name, error);
        r = tokenizer_new(w, &t);
        if (r != -lies[i].error || (r < 0 && !strstr(weights_error(w), lies[i].says)))
            test_fail(__FILE__, __LINE__, "%s: %d, '%s'", lies[i].name, r, weights_error(w));
        bytes_free(&b);
    }
}

int main(int argc, char **argv)
{
    ASSERT_EQ(argc, 2);
    fixture = argv[1];
    RUN(test_reference);
    RUN(test_bytes);
    RUN(test_specials);
    RUN(test_long);
    RUN(test_lies);
    return 0;
}
