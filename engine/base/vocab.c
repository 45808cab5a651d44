#include "engine/base/vocab.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "engine/base/hash.h"

#define KEY_MODEL  "tokenizer.ggml.model"
#define KEY_PRE    "tokenizer.ggml.pre"
#define KEY_TOKENS "tokenizer.ggml.tokens"
#define KEY_TYPES  "tokenizer.ggml.token_type"
#define KEY_MERGES "tokenizer.ggml.merges"
#define KEY_BOS    "tokenizer.ggml.bos_token_id"
#define KEY_EOS    "tokenizer.ggml.eos_token_id"

#define TYPE_CONTROL 3
#define MERGES_MAX   (1 << 21)

/* Ids by their spelling in the file; only needed while the tables are built. */
typedef struct Spellings {
    const WeightsString *tokens;
    uint32_t *slots; /* id + 1; 0 is free */
    size_t mask;
    uint64_t seed;
} Spellings;

static bool string_is(WeightsString s, const char *text)
{
    return s.length == strlen(text) && memcmp(s.data, text, s.length) == 0;
}

static uint32_t *spelling_slot(const Spellings *s, WeightsString token)
{
    for (size_t i = hash_bytes(s->seed, token.data, token.length);; i++) {
        uint32_t *slot = &s->slots[i & s->mask];
        const WeightsString *other = &s->tokens[*slot ? *slot - 1 : 0];

        if (*slot == 0 ||
            (other->length == token.length && memcmp(other->data, token.data, token.length) == 0))
            return slot;
    }
}

static int32_t spelling_id(const Spellings *s, WeightsString token)
{
    return (int32_t)*spelling_slot(s, token) - 1;
}

/* The code point that stands for a byte: itself where it prints, else the next one from 256 on. */
static void byte_alphabet(uint16_t ret_points[256])
{
    uint16_t next = 256;

    for (int b = 0; b < 256; b++) {
        bool prints = (b >= '!' && b <= '~') || (b >= 0xa1 && b <= 0xac) || b >= 0xae;

        ret_points[b] = prints ? (uint16_t)b : next++;
    }
}

/* Spelling to bytes; false when a character is not of the alphabet. out has room for length
 * bytes. */
static bool spelling_decode(WeightsString s, const int16_t byte_of[512], char *out,
                            size_t *ret_length)
{
    size_t n = 0;

    for (size_t i = 0; i < s.length; n++) {
        uint8_t first = (uint8_t)s.data[i++];
        unsigned point = first;

        /* The alphabet ends below U+0200, so two bytes of UTF-8 are the most. */
        if (first >= 0x80) {
            if (first < 0xc2 || first > 0xc7 || i == s.length || (s.data[i] & 0xc0) != 0x80)
                return false;
            point = (unsigned)(first & 0x1f) << 6 | (s.data[i++] & 0x3f);
        }
        if (point >= 512 || byte_of[point] < 0)
            return false;
        out[n] = (char)byte_of[point];
    }
    *ret_length = n;
    return true;
}

static int check_kind(Weights *w)
{
    WeightsString model, pre;

    if (weights_get_string(w, KEY_MODEL, &model) < 0 || weights_get_string(w, KEY_PRE, &pre) < 0)
        return weights_fail(w, -EBADMSG, "keys '" KEY_MODEL "' and '" KEY_PRE "' are needed");
    if (!string_is(model, "gpt2") || !string_is(pre, "percept"))
        return weights_fail(w, -ENOTSUP, "the tokenizer '%.*s', '%.*s' is not known",
                            (int)(model.length < 32 ? model.length : 32), model.data,
                            (int)(pre.length < 32 ? pre.length : 32), pre.data);
    return 0;
}

/* All tokens of the file, and the sum of their lengths. */
static int read_tokens(Weights *w, WeightsString **ret_tokens, size_t *ret_count, size_t *ret_bytes)
{
    _cleanup_free_ WeightsString *tokens = NULL;
    size_t count, bytes = 0;

    if (weights_get_strings(w, KEY_TOKENS, &count) < 0 || count == 0)
        return weights_fail(w, -EBADMSG, "key '" KEY_TOKENS "' is not a list of tokens");
    if (count > TOKENIZER_TOKENS_MAX)
        return weights_fail(w, -EFBIG, "%zu tokens; at most %d are read", count,
                            TOKENIZER_TOKENS_MAX);
    tokens = calloc(count, sizeof *tokens);
    if (!tokens)
        return weights_fail(w, -ENOMEM, "no memory for %zu tokens", count);
    for (size_t i = 0; i < count; i++) {
        (void)weights_string_at(w, KEY_TOKENS, i, &tokens[i]);
        if (tokens[i].length == 0 || tokens[i].length > TOKENIZER_PIECE_MAX)
            return weights_fail(w, -EBADMSG, "token %zu has %zu bytes", i, tokens[i].length);
        bytes += tokens[i].length;
    }
    *ret_tokens = steal_ptr(&tokens);
    *ret_count = count;
    *ret_bytes = bytes;
    return 0;
}

static int index_spellings(Weights *w, Spellings *s, size_t count)
{
    s->seed = hash_seed();
    s->mask = hash_slots(count) - 1;
    s->slots = calloc(s->mask + 1, sizeof *s->slots);
    if (!s->slots)
        return weights_fail(w, -ENOMEM, "no memory for %zu tokens", count);
    for (size_t i = 0; i < count; i++) {
        uint32_t *slot = spelling_slot(s, s->tokens[i]);

        if (*slot)
            return weights_fail(w, -EBADMSG, "tokens %u and %zu are the same", *slot - 1, i);
        *slot = (uint32_t)i + 1;
    }
    return 0;
}

/* Pieces of bytes by id; control tokens have none. */
static int load_pieces(Vocab *v, Weights *w, const WeightsString *tokens, size_t total)
{
    _cleanup_free_ int32_t *types = calloc(v->n_tokens, sizeof *types);
    uint16_t points[256];
    int16_t byte_of[512];
    size_t at = 0;

    v->bytes = malloc(total + 1);
    v->starts = calloc(v->n_tokens + 1, sizeof *v->starts);
    if (!types || !v->bytes || !v->starts)
        return weights_fail(w, -ENOMEM, "no memory for %zu tokens", v->n_tokens);
    if (weights_get_i32s(w, KEY_TYPES, types, v->n_tokens) < 0)
        return weights_fail(w, -EBADMSG, "key '" KEY_TYPES "' is not a list of %zu numbers",
                            v->n_tokens);

    byte_alphabet(points);
    memset(byte_of, -1, sizeof byte_of);
    for (int b = 0; b < 256; b++) {
        byte_of[points[b]] = (int16_t)b;
        v->byte_ids[b] = -1;
    }
    for (size_t i = 0; i < v->n_tokens; i++) {
        size_t length = 0;

        v->starts[i] = (uint32_t)at;
        if (types[i] == TYPE_CONTROL)
            continue;
        if (!spelling_decode(tokens[i], byte_of, v->bytes + at, &length))
            return weights_fail(w, -EBADMSG, "token %zu is not spelt in the byte alphabet", i);
        if (length == 1)
            v->byte_ids[(uint8_t)v->bytes[at]] = (int32_t)i;
        if (length > v->longest)
            v->longest = length;
        at += length;
    }
    v->starts[v->n_tokens] = (uint32_t)at;

    for (int b = 0; b < 256; b++)
        if (v->byte_ids[b] < 0)
            return weights_fail(w, -EBADMSG, "byte %d has no token", b);
    return 0;
}

static uint64_t pair_key(int32_t left, int32_t right)
{
    return (uint64_t)(uint32_t)left << 32 | (uint32_t)right;
}

static Merge *merge_slot(const Vocab *v, uint64_t pair)
{
    for (size_t i = hash_u64(v->seed, pair);; i++) {
        Merge *slot = &v->merges[i & v->merges_mask];

        if (slot->rank < 0 || slot->pair == pair)
            return slot;
    }
}

const Merge *vocab_merge(const Vocab *v, int32_t left, int32_t right)
{
    const Merge *m = merge_slot(v, pair_key(left, right));

    return m->rank < 0 ? NULL : m;
}

/* "left right", whose spellings and whose joined spelling are all tokens with bytes. */
static int parse_merge(const Vocab *v, const Spellings *s, WeightsString line, Merge *ret_merge)
{
    const char *blank = memchr(line.data, ' ', line.length);
    char joined[2 * TOKENIZER_PIECE_MAX];
    WeightsString left, right;
    int32_t ids[3];

    if (!blank)
        return -EBADMSG;
    left = (WeightsString){line.data, (size_t)(blank - line.data)};
    right = (WeightsString){blank + 1, line.length - left.length - 1};
    if (left.length > TOKENIZER_PIECE_MAX || right.length > TOKENIZER_PIECE_MAX)
        return -EBADMSG;
    memcpy(joined, left.data, left.length);
    memcpy(joined + left.length, right.data, right.length);

    ids[0] = spelling_id(s, left);
    ids[1] = spelling_id(s, right);
    ids[2] = spelling_id(s, (WeightsString){joined, left.length + right.length});
    for (int i = 0; i < 3; i++)
        if (ids[i] < 0 || v->starts[ids[i]] == v->starts[ids[i] + 1])
            return -EBADMSG;
    ret_merge->pair = pair_key(ids[0], ids[1]);
    ret_merge->id = ids[2];
    return 0;
}

static int load_merges(Vocab *v, Weights *w, const Spellings *s)
{
    size_t count;

    if (weights_get_strings(w, KEY_MERGES, &count) < 0)
        return weights_fail(w, -EBADMSG, "key '" KEY_MERGES "' is not a list of merges");
    if (count > MERGES_MAX)
        return weights_fail(w, -EFBIG, "%zu merges; at most %d are read", count, MERGES_MAX);

    v->seed = hash_seed();
    v->merges_mask = hash_slots(count) - 1;
    v->merges = malloc((v->merges_mask + 1) * sizeof *v->merges);
    if (!v->merges)
        return weights_fail(w, -ENOMEM, "no memory for %zu merges", count);
    for (size_t i = 0; i <= v->merges_mask; i++)
        v->merges[i].rank = -1;

    for (size_t i = 0; i < count; i++) {
        WeightsString line;
        Merge merge = {.rank = (int32_t)i}, *slot;

        (void)weights_string_at(w, KEY_MERGES, i, &line);
        if (parse_merge(v, s, line, &merge) < 0)
            return weights_fail(w, -EBADMSG, "merge %zu does not join two tokens to a third", i);
        slot = merge_slot(v, merge.pair);
        if (slot->rank >= 0)
            return weights_fail(w, -EBADMSG, "merges %d and %zu are the same", slot->rank, i);
        *slot = merge;
    }
    return 0;
}

/* A special by its spelling; -1 where the file has none. */
static int32_t special_id(const Vocab *v, const Spellings *s, const char *spelling)
{
    int32_t id = spelling_id(s, (WeightsString){spelling, strlen(spelling)});

    return id >= 0 && v->starts[id] == v->starts[id + 1] ? id : -1;
}

static int load_specials(Vocab *v, Weights *w, const Spellings *s)
{
    static const char *const keys[] = {KEY_BOS, KEY_EOS};
    int32_t ids[] = {-1, -1};

    for (int i = 0; i < 2; i++) {
        uint32_t id;
        int r = weights_get_u32(w, keys[i], &id);

        if (r == -ENOENT)
            continue;
        if (r < 0 || id >= v->n_tokens)
            return weights_fail(w, -EBADMSG, "key '%s' is not the id of a token", keys[i]);
        ids[i] = (int32_t)id;
    }
    v->special = (TokenizerSpecial){
        .bos = ids[0],
        .eos = ids[1],
        .image = special_id(v, s, "<image>"),
        .audio = special_id(v, s, "<audio>"),
        .user = special_id(v, s, "<user>"),
        .assistant = special_id(v, s, "<assistant>"),
        .system = special_id(v, s, "<system>"),
    };
    return 0;
}

int vocab_load(Vocab *v, Weights *w)
{
    _cleanup_free_ WeightsString *tokens = NULL;
    _cleanup_free_ uint32_t *slots = NULL;
    Spellings spellings = {0};
    size_t total = 0;
    int r = check_kind(w);

    if (r == 0)
        r = read_tokens(w, &tokens, &v->n_tokens, &total);
    if (r < 0)
        return r;
    spellings.tokens = tokens;
    r = index_spellings(w, &spellings, v->n_tokens);
    slots = spellings.slots;
    if (r == 0)
        r = load_pieces(v, w, tokens, total);
    if (r == 0)
        r = load_merges(v, w, &spellings);
    if (r == 0)
        r = load_specials(v, w, &spellings);
    return r;
}

void vocab_deinit(Vocab *v)
{
    free(v->bytes);
    free(v->starts);
    free(v->merges);
}
