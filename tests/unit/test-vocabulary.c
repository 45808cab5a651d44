#include "engine/base/tokenizer.h"

#include <time.h>

#include "tests/test.h"
#include "tests/unit/gguf-builder.h"

/* Vocabularies as large as published ones, and merges that go round in circles. */

#define BYTES   256
#define LETTERS 26
#define LARGE   151936 /* rows of the embedding of Qwen 3 ... */
#define MERGES  151387 /* ... and the merges of its tokenizer */
#define SEC_MAX 1.0    /* of processor time, to load that; measured: 0.1 */

/* A file in the making: tokens and merges are counted before they are written. */
typedef struct Vocabulary {
    Bytes tokens, merges;
    uint64_t n_tokens, n_merges;
} Vocabulary;

static void token_add(Vocabulary *v, const char *text, size_t length)
{
    char copy[32];

    ASSERT_CMP(length, <, sizeof copy);
    memcpy(copy, text, length);
    copy[length] = '\0';
    bytes_string(&v->tokens, length, copy);
    v->n_tokens++;
}

static void merge_add(Vocabulary *v, const char *merge)
{
    bytes_string(&v->merges, strlen(merge), merge);
    v->n_merges++;
}

/* A token for every byte, as byte-level vocabularies spell them. */
static void bytes_add(Vocabulary *v)
{
    unsigned next = 256;

    for (unsigned byte = 0; byte < BYTES; byte++) {
        int prints = (byte > 32 && byte < 127) || (byte > 160 && byte != 173);
        unsigned point = prints ? byte : next++;
        char utf8[2] = {(char)(0xc0 | point >> 6), (char)(0x80 | (point & 63))};

        if (point < 128)
            utf8[0] = (char)point;
        token_add(v, utf8, point < 128 ? 1 : 2);
    }
}

static void put_array(Bytes *b, const char *key, uint64_t n, const Bytes *strings)
{
    bytes_string(b, strlen(key), key);
    bytes_u32(b, 9);
    bytes_u32(b, 8);
    bytes_u64(b, n);
    bytes_put(b, strings->data, strings->size);
}

static void put_word(Bytes *b, const char *key, const char *word)
{
    bytes_string(b, strlen(key), key);
    bytes_u32(b, 8);
    bytes_string(b, strlen(word), word);
}

/* The file; caller frees. What the vocabulary held is freed. */
static void *vocabulary_finish(Vocabulary *v, size_t *ret_size)
{
    Bytes b = {0};
    void *file;

    bytes_put(&b, "GGUF", 4);
    bytes_u32(&b, 3);
    bytes_u64(&b, 0);
    bytes_u64(&b, 4);
    put_word(&b, "tokenizer.ggml.model", "gpt2");
    put_word(&b, "tokenizer.ggml.pre", "qwen2");
    put_array(&b, "tokenizer.ggml.tokens", v->n_tokens, &v->tokens);
    put_array(&b, "tokenizer.ggml.merges", v->n_merges, &v->merges);
    file = bytes_aligned(b.data, b.size);
    *ret_size = b.size;
    bytes_free(&b);
    bytes_free(&v->tokens);
    bytes_free(&v->merges);
    return file;
}

/* What was encoded comes back whole. */
static void whole_check(const Tokenizer *t, const char *text, size_t length, size_t *ret_n)
{
    static int32_t ids[4096];
    static char back[4096];
    size_t at = 0;

    ASSERT_CMP(length, <=, sizeof back);
    ASSERT_OK(tokenizer_encode(t, text, length, ids, 4096, ret_n));
    for (size_t i = 0; i < *ret_n; i++) {
        size_t n;
        const char *piece = tokenizer_piece(t, ids[i], &n);

        ASSERT_CMP(at + n, <=, length);
        memcpy(back + at, piece, n);
        at += n;
    }
    ASSERT_EQ(at, length);
    ASSERT_MEMEQ(back, text, length);
}

/* The n-th word of letters, in the order of their lengths: n counts from 1. */
static size_t word_of(size_t n, char word[16])
{
    char turned[16];
    size_t length = 0;

    for (; n > 0; n = (n - 1) / LETTERS)
        turned[length++] = (char)('a' + (n - 1) % LETTERS);
    for (size_t i = 0; i < length; i++)
        word[i] = turned[length - 1 - i];
    return length;
}

/* Every word is the one that lacks its last letter, and that letter. */
static void words_add(Vocabulary *v)
{
    char word[16], merge[32];

    for (size_t n = LETTERS + 1; v->n_merges < MERGES; n++) {
        size_t length = word_of(n, word);

        token_add(v, word, length);
        snprintf(merge, sizeof merge, "%.*s %c", (int)length - 1, word, word[length - 1]);
        merge_add(v, merge);
    }
    while (v->n_tokens < LARGE) {
        snprintf(merge, sizeof merge, "[PAD%llu]", (unsigned long long)v->n_tokens);
        token_add(v, merge, strlen(merge));
    }
}

static double processor_sec(void)
{
    struct timespec t;

    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void test_large(void)
{
    static const char text[] = "thequickbrownfoxjumpsoverthelazydog the lazy dog";
    Vocabulary v = {0};
    size_t size, n;
    char error[WEIGHTS_ERROR_MAX] = "";
    _cleanup_(weights_closep) Weights *w = NULL;
    _cleanup_(tokenizer_freep) Tokenizer *t = NULL;

    bytes_add(&v);
    words_add(&v);
    _cleanup_free_ void *file = vocabulary_finish(&v, &size);
    double begin = processor_sec();
    ASSERT_OK(weights_open_memory(file, size, &w, error));
    ASSERT_OK(tokenizer_new(w, &t));
    double spent = processor_sec() - begin;
    printf("%d tokens in %.3f s\n", LARGE, spent);
    ASSERT_CMP(spent, <, SEC_MAX);
    ASSERT_EQ(tokenizer_size(t), LARGE);
    whole_check(t, text, strlen(text), &n);
    ASSERT_CMP(n, <, strlen(text) / 2);
}

static const char *const circle_tokens[] = {"ab", "ba", "aba", "bab", "abab", "baba", "abababab"};
static const char *const circle_merges[] = {"abab abab", "ab ab", "ba ba", "ab a",  "a ba", "b ab",
                                            "ba b",      "a bab", "aba b", "b aba", "a b",  "b a"};

static void *circles_build(const char *also, size_t *ret_size)
{
    Vocabulary v = {0};

    bytes_add(&v);
    for (size_t i = 0; i < sizeof circle_tokens / sizeof *circle_tokens; i++)
        token_add(&v, circle_tokens[i], strlen(circle_tokens[i]));
    for (size_t i = 0; i < sizeof circle_merges / sizeof *circle_merges; i++)
        merge_add(&v, circle_merges[i]);
    if (also)
        merge_add(&v, also);
    return vocabulary_finish(&v, ret_size);
}

/* Merges that make the same token in several ways, make what others are made of, or stand before
 * what they need: a merge always leaves fewer tokens, so there is an end. */
static void test_circles(void)
{
    char text[2000], error[WEIGHTS_ERROR_MAX] = "";
    size_t size, n;
    _cleanup_free_ void *file = circles_build(NULL, &size);
    _cleanup_(weights_closep) Weights *w = NULL;
    _cleanup_(tokenizer_freep) Tokenizer *t = NULL;

    ASSERT_OK(weights_open_memory(file, size, &w, error));
    ASSERT_OK(tokenizer_new(w, &t));
    for (size_t period = 1; period < 12; period++) {
        for (size_t i = 0; i < sizeof text; i++)
            text[i] = i % period % 2 ? 'b' : 'a';
        whole_check(t, text, sizeof text, &n);
    }
    for (size_t i = 0; i < 1600; i++)
        text[i] = i % 2 ? 'b' : 'a';
    whole_check(t, text, 1600, &n);
    ASSERT_EQ(n, 200); /* "abababab" each */
}

/* Which of the two would count? */
static void test_twice(void)
{
    char error[WEIGHTS_ERROR_MAX] = "";
    size_t size;
    _cleanup_free_ void *file = circles_build("ab ab", &size);
    _cleanup_(weights_closep) Weights *w = NULL;
    Tokenizer *t = NULL;

    ASSERT_OK(weights_open_memory(file, size, &w, error));
    ASSERT_ERROR(tokenizer_new(w, &t), EBADMSG);
    ASSERT(!t);
    ASSERT_STREQ(weights_error(w), "merges 1 and 12 are the same");
}

int main(void)
{
    RUN(test_large);
    RUN(test_circles);
    RUN(test_twice);
    return 0;
}
