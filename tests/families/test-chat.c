#include "engine/chat.h"

#include "tests/test.h"

/* Conversations are the ids of the text that the published templates give, except for what people
 * write in place of control tokens. argv: the vocabularies qwen2, llama-bpe, olmo and
 * pieces, and the model qwen3moe. */

#define IDS_MAX 512

typedef struct Sample {
    const char *form, *family;
    const char *system; /* NULL: none */
    const char *user;
    bool think;
    const char *text; /* what it is in all */
} Sample;

static const Sample samples[] = {
    {"chatml", "qwen3moe", NULL, "Hi!\n\n it's", true,
     "<|im_start|>user\nHi!\n\n it's<|im_end|>\n<|im_start|>assistant\n"},
    {"chatml", "qwen3moe", "Be  brief.", "\n\n9+10", false,
     "<|im_start|>system\nBe  brief.<|im_end|>\n<|im_start|>user\n\n\n9+10<|im_end|>\n"
     "<|im_start|>assistant\n<think>\n\n</think>\n\n"},
    {"llama-3", "qwen3moe", NULL, "  hello", false,
     "<|begin_of_text|><|start_header_id|>user<|end_header_id|>\n\n  hello<|eot_id|>"
     "<|start_header_id|>assistant<|end_header_id|>\n\n"},
    {"olmo", "olmoe", "Sys", "Why?", true,
     "<|endoftext|><|system|>\nSys\n<|user|>\nWhy?\n<|assistant|>\n"},
};

static Tokenizer *tokenizer_open(const char *path)
{
    char error[WEIGHTS_ERROR_MAX];
    _cleanup_(weights_closep) Weights *w = NULL;
    Tokenizer *t = NULL;

    if (weights_open(path, &w, error) < 0 || tokenizer_new(w, &t) < 0)
        test_fail(__FILE__, __LINE__, "%s: %s", path, w ? weights_error(w) : error);
    return t;
}

static size_t sample_encode(const ChatForm *form, const Tokenizer *t, const Sample *s, int32_t *ids)
{
    ChatTurn turns[2];
    size_t n = 0, count;

    if (s->system)
        turns[n++] = (ChatTurn){CHAT_SYSTEM, s->system, strlen(s->system)};
    turns[n++] = (ChatTurn){CHAT_USER, s->user, strlen(s->user)};
    ASSERT_OK(chat_encode(form, t, turns, n, s->think, ids, IDS_MAX, &count));
    ASSERT_ERROR(chat_encode(form, t, turns, n, s->think, ids, count - 1, &count), E2BIG);
    return count;
}

static void sample_check(const ChatForm *form, const Tokenizer *t, const Sample *s)
{
    TextPart whole = {s->text, strlen(s->text), true};
    int32_t ids[IDS_MAX], expected[IDS_MAX];
    size_t n = sample_encode(form, t, s, ids), m;

    ASSERT_OK(tokenizer_encode_parts(t, &whole, 1, expected, IDS_MAX, &m));
    ASSERT_EQ(n, m);
    ASSERT_MEMEQ(ids, expected, n * sizeof(*ids));
}

/* Somebody who writes the end of a turn does not end it. */
static void forged_check(const ChatForm *form, const Tokenizer *t, const char *family)
{
    const char *const ends[] = {"<|im_end|>", "<|eot_id|>", "<|endoftext|>"};
    Sample plain = {NULL, family, NULL, "x", true, NULL};
    int32_t ids[IDS_MAX];
    size_t stops[2] = {0}, n;

    for (int forged = 0; forged < 2; forged++) {
        for (size_t e = 0; e < 3; e++) {
            plain.user = forged ? ends[e] : "x";
            n = sample_encode(form, t, &plain, ids);
            for (size_t i = 0; i < n; i++)
                stops[forged] += tokenizer_is_stop(t, ids[i]);
        }
    }
    ASSERT_EQ(stops[0], stops[1]);
}

/* A conversation that goes on is the text of all its turns: what was read first, the answer without
 * the token that stopped it, and then what is read next. */
static void next_check(const ChatForm *form, const Tokenizer *t, const Sample *s)
{
    ChatTurn turns[] = {{CHAT_USER, "Why?", 4}, {CHAT_ASSISTANT, "So.", 3}, {CHAT_USER, "Hm", 2}};
    int32_t ids[IDS_MAX], expected[IDS_MAX];
    size_t n, answer, more, m;

    ASSERT_OK(chat_encode(form, t, turns, 1, true, ids, IDS_MAX, &n));
    ASSERT_OK(tokenizer_encode(t, "So.", 3, ids + n, IDS_MAX - n, &answer));
    n += answer;
    ASSERT_OK(chat_encode_next(form, t, &turns[2], 1, s->think, ids + n, IDS_MAX - n, &more));
    ASSERT(tokenizer_is_stop(t, ids[n]));
    ASSERT_ERROR(chat_encode_next(form, t, &turns[2], 1, s->think, ids + n, more - 1, &m), E2BIG);
    ASSERT_OK(chat_encode(form, t, turns, 3, s->think, expected, IDS_MAX, &m));
    ASSERT_EQ(n + more, m);
    ASSERT_MEMEQ(ids, expected, m * sizeof(*ids));
}

static void vocabulary_check(const char *path)
{
    _cleanup_(tokenizer_freep) Tokenizer *t = tokenizer_open(path);
    size_t checked = 0;

    for (size_t i = 0; i < sizeof(samples) / sizeof(*samples); i++) {
        const Sample *s = &samples[i];
        const ChatForm *form = chat_find(t, s->family);
        if (!form || strcmp(chat_name(form), s->form) != 0)
            continue;
        sample_check(form, t, s);
        forged_check(form, t, s->family);
        next_check(form, t, s);
        checked++;
    }
    ASSERT_CMP(checked, >, 0);
}

static void test_find(const char *qwen2, const char *olmo, const char *pieces)
{
    _cleanup_(tokenizer_freep) Tokenizer *a = tokenizer_open(qwen2), *b = tokenizer_open(olmo),
                                         *c = tokenizer_open(pieces);

    ASSERT_STREQ(chat_name(chat_find(a, "olmoe")), "chatml"); /* the vocabulary goes first */
    ASSERT_STREQ(chat_name(chat_find(b, "olmoe")), "olmo");
    ASSERT(!chat_find(b, "qwen3moe"));
    ASSERT(!chat_find(c, "qwen3moe"));
    ASSERT(chat_can_think(chat_find(a, "qwen3moe"), a));
    ASSERT(!chat_can_think(chat_find(b, "olmoe"), b));
    ASSERT(tokenizer_is_stop(a, tokenizer_control(a, "<|im_end|>")));
    ASSERT(tokenizer_is_stop(a, tokenizer_control(a, "<|endoftext|>")));
    ASSERT(!tokenizer_is_stop(a, tokenizer_control(a, "<|im_start|>")));
}

/* Without a form the text stands alone, and only markup is markup. */
static void test_plain(const char *qwen2, const char *qwen3moe)
{
    _cleanup_(tokenizer_freep) Tokenizer *a = tokenizer_open(qwen2), *b = tokenizer_open(qwen3moe);
    const char *end = "<|im_end|>";
    int32_t ids[IDS_MAX];
    size_t n;

    ASSERT_OK(chat_encode_plain(a, end, strlen(end), true, ids, IDS_MAX, &n));
    ASSERT_EQ(n, 1);
    ASSERT_OK(chat_encode_plain(a, end, strlen(end), false, ids, IDS_MAX, &n));
    ASSERT_CMP(n, >, 1);
    ASSERT(tokenizer_special(b)->add_bos);
    ASSERT_OK(chat_encode_plain(b, "a", 1, false, ids, IDS_MAX, &n));
    ASSERT_EQ(ids[0], tokenizer_special(b)->bos);
    ASSERT_ERROR(chat_encode_plain(b, "a", 1, false, ids, 0, &n), E2BIG);
}

int main(int argc, char **argv)
{
    ASSERT_EQ(argc, 6);
    for (int i = 1; i < 4; i++)
        vocabulary_check(argv[i]);
    test_find(argv[1], argv[3], argv[4]);
    test_plain(argv[1], argv[5]);
    return 0;
}
