#include "engine/base/detokenizer.h"

#include "engine/base/utf8.h"
#include "tests/test.h"

/* Vocabularies and what the reference libraries make of hard strings with them: argv[1] is
 * strings.gguf of make_tokenizers.py, the others are its vocabularies. */

#define IDS_MAX 4096

static Weights *fixture_open(const char *path)
{
    char error[WEIGHTS_ERROR_MAX] = "";
    Weights *w = NULL;

    if (weights_open(path, &w, error) < 0)
        test_fail(__FILE__, __LINE__, "%s: %s", path, error);
    return w;
}

typedef struct Expected {
    WeightsString counts, ids, hashes;
    size_t at;   /* in ids */
    bool markup; /* control tokens may be spelt out */
} Expected;

static void expected_open(Expected *e, const Weights *w)
{
    *e = (Expected){0};
    ASSERT_OK(weights_get_string(w, "test.counts", &e->counts));
    ASSERT_OK(weights_get_string(w, "test.ids", &e->ids));
    ASSERT_OK(weights_get_string(w, "test.hashes", &e->hashes));
    ASSERT_OK(weights_get_bool(w, "test.markup", &e->markup));
}

static uint16_t packed_u16(WeightsString s, size_t i)
{
    uint16_t value;

    ASSERT_CMP(2 * i + 2, <=, s.length);
    memcpy(&value, s.data + 2 * i, sizeof value);
    return value;
}

static uint64_t hash_add(uint64_t hash, const char *data, size_t n)
{
    for (size_t i = 0; i < n; i++)
        hash = (hash ^ (uint8_t)data[i]) * 0x100000001b3;
    return hash;
}

/* What streams out is sound UTF-8 at every step, and in sum what the reference decodes. */
static uint64_t stream_hash(const Tokenizer *t, const int32_t *ids, size_t n)
{
    static Detokenizer d;
    uint64_t hash = 0xcbf29ce484222325;
    size_t length;

    detokenizer_init(&d, t);
    for (size_t i = 0; i <= n; i++) {
        const char *text =
            i < n ? detokenizer_push(&d, ids[i], &length) : detokenizer_finish(&d, &length);
        for (size_t at = 0, step; at < length; at += step) {
            step = utf8_length(text + at, length - at);
            ASSERT_CMP(step, >, 0);
        }
        hash = hash_add(hash, text, length);
    }
    return hash;
}

static void text_check(const Tokenizer *t, size_t number, WeightsString text, Expected *e)
{
    TextPart part = {text.data, text.length, e->markup};
    int32_t ids[IDS_MAX];
    size_t n = 0, count = packed_u16(e->counts, number);
    uint64_t hash;

    ASSERT_OK(tokenizer_encode_parts(t, &part, 1, ids, IDS_MAX, &n));
    for (size_t i = 0; i < n || i < count; i++)
        if (i >= n || i >= count || ids[i] != packed_u16(e->ids, e->at + i))
            test_fail(__FILE__, __LINE__, "text %zu, '%.*s', differs at token %zu: %d, not %d",
                      number, (int)text.length, text.data, i, i < n ? ids[i] : -1,
                      i < count ? packed_u16(e->ids, e->at + i) : -1);
    e->at += count;
    memcpy(&hash, e->hashes.data + 8 * number, sizeof hash);
    if (stream_hash(t, ids, n) != hash)
        test_fail(__FILE__, __LINE__, "text %zu, '%.*s', comes back otherwise", number,
                  (int)text.length, text.data);
    if (n > 0)
        ASSERT_ERROR(tokenizer_encode_parts(t, &part, 1, ids, n - 1, &n), E2BIG);
}

/* Cut anywhere into parts, a text has the same ids, if all is markup. */
static void parts_check(const Tokenizer *t, WeightsString text, size_t cut)
{
    TextPart whole = {text.data, text.length, true};
    TextPart parts[] = {
        {text.data, cut, false}, {NULL, 0, true}, {text.data + cut, text.length - cut, false}};
    int32_t a[IDS_MAX], b[IDS_MAX];
    size_t n, m;

    whole.markup = false;
    ASSERT_OK(tokenizer_encode_parts(t, &whole, 1, a, IDS_MAX, &n));
    ASSERT_OK(tokenizer_encode_parts(t, parts, 3, b, IDS_MAX, &m));
    ASSERT_EQ(n, m);
    ASSERT_MEMEQ(a, b, n * sizeof *a);
    for (size_t i = 0; i < n; i++) {
        size_t length;

        tokenizer_piece(t, a[i], &length);
        ASSERT_CMP(length, >, 0); /* no control token out of what a person wrote */
    }
}

/* Any bytes have tokens, which come back as sound text. */
static void bytes_check(const Tokenizer *t)
{
    uint32_t random = 7;

    for (int turn = 0; turn < 500; turn++) {
        char text[200];
        int32_t ids[IDS_MAX];
        size_t n;

        for (size_t i = 0; i < sizeof text; i++) {
            random = random * 1664525 + 1013904223;
            text[i] = (char)(turn % 2 ? random >> 24 : 0xc0 | random >> 26);
        }
        ASSERT_OK(tokenizer_encode(t, text, sizeof text, ids, IDS_MAX, &n));
        for (size_t i = 0; i < n; i++)
            ASSERT(ids[i] >= 0 && (size_t)ids[i] < tokenizer_size(t));
        (void)stream_hash(t, ids, n);
    }
}

/* A long run of the same: nothing takes time that grows with the square of the length. */
static void long_check(const Tokenizer *t)
{
    static const char *const units[] = {
        "a", " ", "ab", "\n ", "e\xcc\x81", "\xcc\x81\xcc\xa7", "<|", "\xff", "'S", "\xe4\xbd\xa0"};
    size_t length = 1 << 17, n;
    _cleanup_free_ char *text = malloc(length);
    _cleanup_free_ int32_t *ids = calloc(3 * length + 3, sizeof *ids);

    ASSERT(text && ids);
    for (size_t u = 0; u < sizeof units / sizeof *units; u++) {
        size_t unit = strlen(units[u]);

        for (size_t i = 0; i < length; i++)
            text[i] = units[u][i % unit];
        ASSERT_OK(tokenizer_encode(t, text, length, ids, 3 * length + 3, &n));
        ASSERT_CMP(n, >, 0);
    }
}

static void vocabulary_check(const char *path, const Weights *texts)
{
    _cleanup_(weights_closep) Weights *w = fixture_open(path);
    _cleanup_(tokenizer_freep) Tokenizer *t = NULL;
    Expected expected;
    size_t n;
    bool unknown = strstr(path, "pieces") != NULL; /* has a token without text */

    if (tokenizer_new(w, &t) < 0)
        test_fail(__FILE__, __LINE__, "%s: %s", path, weights_error(w));
    expected_open(&expected, w);
    ASSERT_OK(weights_get_strings(texts, "test.texts", &n));
    ASSERT_CMP(n, >=, 2000);
    for (size_t i = 0; i < n; i++) {
        WeightsString text;

        ASSERT_OK(weights_string_at(texts, "test.texts", i, &text));
        text_check(t, i, text, &expected);
        if (!unknown)
            parts_check(t, text, text.length / 2);
    }
    ASSERT_EQ(2 * expected.at, expected.ids.length);
    bytes_check(t);
    long_check(t);
    fprintf(stderr, "%s: %zu texts, %zu tokens\n", path, n, expected.at);
}

int main(int argc, char **argv)
{
    _cleanup_(weights_closep) Weights *texts = NULL;

    ASSERT_CMP(argc, >=, 3);
    texts = fixture_open(argv[1]);
    for (int i = 2; i < argc; i++)
        vocabulary_check(argv[i], texts);
    return 0;
}
