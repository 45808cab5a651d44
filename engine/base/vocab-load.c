#include <stdlib.h>
#include <string.h>

#include "engine/base/hash.h"
#include "engine/base/vocab.h"

/* The tables of a vocabulary out of a weight file's keys. */

#define KEY_MODEL  "tokenizer.ggml.model"
#define KEY_PRE    "tokenizer.ggml.pre"
#define KEY_TOKENS "tokenizer.ggml.tokens"
#define KEY_TYPES  "tokenizer.ggml.token_type"
#define KEY_SCORES "tokenizer.ggml.scores"
#define KEY_MERGES "tokenizer.ggml.merges"
#define KEY_BLANK  "tokenizer.ggml.add_space_prefix"
#define KEY_BOS    "tokenizer.ggml.add_bos_token"

#define MERGES_MAX (1 << 21)

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
static void byte_alphabet(int16_t ret_byte_of[512])
{
    uint16_t next = 256;

    memset(ret_byte_of, -1, 512 * sizeof *ret_byte_of);
    for (int b = 0; b < 256; b++) {
        bool prints = (b >= '!' && b <= '~') || (b >= 0xa1 && b <= 0xac) || b >= 0xae;

        ret_byte_of[prints ? (uint16_t)b : next++] = (int16_t)b;
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

static int hex_digit(char c)
{
    return c >= '0' && c <= '9' ? c - '0' : c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

/* "<0x0A>": the byte that it spells; -1 when it does not. */
static int byte_spelt(WeightsString s)
{
    int high, low;

    if (s.length != 6 || memcmp(s.data, "<0x", 3) != 0 || s.data[5] != '>')
        return -1;
    high = hex_digit(s.data[3]);
    low = hex_digit(s.data[4]);
    return high < 0 || low < 0 ? -1 : high << 4 | low;
}

static int load_kind(Vocab *v, Weights *w)
{
    WeightsString model, pre = {"", 0};

    if (weights_get_string(w, KEY_MODEL, &model) < 0)
        return weights_fail(w, -EBADMSG, "key '" KEY_MODEL "' is missing or not a string");
    if (string_is(model, "llama")) {
        v->kind = VOCAB_PIECES;
        return 0;
    }
    if (weights_get_string(w, KEY_PRE, &pre) < 0)
        return weights_fail(w, -EBADMSG, "key '" KEY_PRE "' is missing or not a string");
    v->rule = split_find(pre.data, pre.length);
    if (!string_is(model, "gpt2") || !v->rule)
        return weights_fail(w, -ENOTSUP, "the tokenizer '%.*s', '%.*s' is not known",
                            (int)(model.length < 32 ? model.length : 32), model.data,
                            (int)(pre.length < 32 ? pre.length : 32), pre.data);
    v->kind = VOCAB_BYTES;
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

static int load_types(Vocab *v, Weights *w)
{
    _cleanup_free_ int32_t *types = calloc(v->n_tokens, sizeof *types);
    int r;

    v->types = malloc(v->n_tokens);
    if (!types || !v->types)
        return weights_fail(w, -ENOMEM, "no memory for %zu tokens", v->n_tokens);
    memset(v->types, TOKEN_NORMAL, v->n_tokens);
    r = weights_get_i32s(w, KEY_TYPES, types, v->n_tokens);
    if (r == -ENOENT)
        return 0;
    if (r < 0)
        return weights_fail(w, -EBADMSG, "key '" KEY_TYPES "' is not a list of %zu numbers",
                            v->n_tokens);
    for (size_t i = 0; i < v->n_tokens; i++) {
        if (types[i] < TOKEN_NORMAL || types[i] > TOKEN_BYTE)
            return weights_fail(w, -EBADMSG, "key '" KEY_TYPES "': token %zu is of the type %d", i,
                                types[i]);
        v->types[i] = (uint8_t)types[i];
    }
    return 0;
}

/* The bytes of a token; -1 when its spelling is none. */
static int piece_decode(const Vocab *v, size_t id, WeightsString token, const int16_t *byte_of,
                        char *out, size_t *ret_length)
{
    int byte;

    if (v->types[id] == TOKEN_NORMAL && v->kind == VOCAB_BYTES)
        return spelling_decode(token, byte_of, out, ret_length) ? 0 : -1;
    if (v->types[id] == TOKEN_BYTE) {
        byte = byte_spelt(token);
        *out = (char)byte;
        *ret_length = 1;
        return byte < 0 ? -1 : 0;
    }
    memcpy(out, token.data, token.length);
    *ret_length = token.length;
    return 0;
}

static int load_pieces(Vocab *v, Weights *w, const WeightsString *tokens, size_t total)
{
    int16_t byte_of[512];
    size_t at = 0;

    v->bytes = malloc(total + 1);
    v->starts = calloc(v->n_tokens + 1, sizeof *v->starts);
    if (!v->bytes || !v->starts)
        return weights_fail(w, -ENOMEM, "no memory for %zu tokens", v->n_tokens);
    byte_alphabet(byte_of);
    for (size_t i = 0; i < v->n_tokens; i++) {
        size_t length = 0;

        v->starts[i] = (uint32_t)at;
        if (piece_decode(v, i, tokens[i], byte_of, v->bytes + at, &length) < 0)
            return weights_fail(w, -EBADMSG, "token %zu is not spelt in the byte alphabet", i);
        if (length > v->longest)
            v->longest = length;
        at += length;
    }
    v->starts[v->n_tokens] = (uint32_t)at;
    return 0;
}

/* Ids by piece, and those of single bytes. */
static int index_pieces(Vocab *v, Weights *w)
{
    TokenType of_bytes = v->kind == VOCAB_BYTES ? TOKEN_NORMAL : TOKEN_BYTE;

    v->seed = hash_seed();
    v->pieces_mask = hash_slots(v->n_tokens) - 1;
    v->pieces = calloc(v->pieces_mask + 1, sizeof *v->pieces);
    if (!v->pieces)
        return weights_fail(w, -ENOMEM, "no memory for %zu tokens", v->n_tokens);
    memset(v->byte_ids, -1, sizeof v->byte_ids);
    v->unknown = -1;
    for (size_t id = 0; id < v->n_tokens; id++) {
        const char *bytes = v->bytes + v->starts[id];
        size_t length = vocab_length(v, (int32_t)id), slot;

        if (v->types[id] == of_bytes && length == 1)
            v->byte_ids[(uint8_t)*bytes] = (int32_t)id;
        if (v->types[id] == TOKEN_UNKNOWN && v->unknown < 0)
            v->unknown = (int32_t)id;
        if (v->types[id] != TOKEN_NORMAL)
            continue;
        for (slot = hash_bytes(v->seed, bytes, length); v->pieces[slot & v->pieces_mask]; slot++)
            ;
        v->pieces[slot & v->pieces_mask] = (uint32_t)id + 1;
    }
    for (int b = 0; b < 256; b++)
        if (v->byte_ids[b] < 0 && (v->kind == VOCAB_BYTES || v->unknown < 0))
            return weights_fail(w, -EBADMSG, "byte %d has no token", b);
    return 0;
}

/* "left right", whose spellings and whose joined spelling are all normal tokens. */
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
        if (ids[i] < 0 || v->types[ids[i]] != TOKEN_NORMAL)
            return -EBADMSG;
    ret_merge->pair = (uint64_t)(uint32_t)ids[0] << 32 | (uint32_t)ids[1];
    ret_merge->id = ids[2];
    return 0;
}

static Merge *merge_slot(const Vocab *v, uint64_t pair)
{
    for (size_t i = hash_u64(v->seed, pair);; i++) {
        Merge *slot = &v->merges[i & v->merges_mask];

        if (slot->rank < 0 || slot->pair == pair)
            return slot;
    }
}

static int load_merges(Vocab *v, Weights *w, const Spellings *s)
{
    size_t count;

    if (weights_get_strings(w, KEY_MERGES, &count) < 0)
        return weights_fail(w, -EBADMSG, "key '" KEY_MERGES "' is not a list of merges");
    if (count > MERGES_MAX)
        return weights_fail(w, -EFBIG, "%zu merges; at most %d are read", count, MERGES_MAX);
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

typedef struct Scored {
    float score;
    int32_t id;
} Scored;

static int compare_scores(const void *a, const void *b)
{
    float x = ((const Scored *)a)->score, y = ((const Scored *)b)->score;

    return x > y ? -1 : x < y;
}

/* Scores to ranks: the highest first, equal ones alike. */
static int load_scores(Vocab *v, Weights *w)
{
    _cleanup_free_ float *scores = calloc(v->n_tokens, sizeof *scores);
    _cleanup_free_ Scored *sorted = calloc(v->n_tokens, sizeof *sorted);
    int32_t rank = 0;

    v->ranks = calloc(v->n_tokens, sizeof *v->ranks);
    if (!scores || !sorted || !v->ranks)
        return weights_fail(w, -ENOMEM, "no memory for %zu tokens", v->n_tokens);
    if (weights_get_f32s(w, KEY_SCORES, scores, v->n_tokens) < 0)
        return weights_fail(w, -EBADMSG,
                            "neither is key '" KEY_MERGES "' there nor is '" KEY_SCORES
                            "' a list of %zu floats",
                            v->n_tokens);
    for (size_t i = 0; i < v->n_tokens; i++) {
        if (scores[i] != scores[i])
            return weights_fail(w, -EBADMSG, "key '" KEY_SCORES "': token %zu has none", i);
        sorted[i] = (Scored){scores[i], (int32_t)i};
    }
    qsort(sorted, v->n_tokens, sizeof *sorted, compare_scores);
    for (size_t i = 0; i < v->n_tokens; i++) {
        rank += i > 0 && sorted[i].score < sorted[i - 1].score;
        v->ranks[sorted[i].id] = rank;
    }
    return 0;
}

static int compare_added(const void *a, const void *b, void *userdata)
{
    const Vocab *v = userdata;
    int32_t x = *(const int32_t *)a, y = *(const int32_t *)b;
    size_t n = vocab_length(v, x), m = vocab_length(v, y);
    int order = memcmp(v->bytes + v->starts[x], v->bytes + v->starts[y], n < m ? n : m);

    return order ? order : (n > m) - (n < m);
}

static int index_added(Vocab *v, Weights *w)
{
    for (size_t i = 0; i < v->n_tokens; i++)
        v->n_added += v->types[i] == TOKEN_CONTROL || v->types[i] == TOKEN_USER;
    v->added = calloc(v->n_added + 1, sizeof *v->added);
    if (!v->added)
        return weights_fail(w, -ENOMEM, "no memory for %zu tokens", v->n_added);
    for (size_t i = 0, n = 0; i < v->n_tokens; i++) {
        if (v->types[i] != TOKEN_CONTROL && v->types[i] != TOKEN_USER)
            continue;
        v->added[n++] = (int32_t)i;
        v->added_first[(uint8_t)v->bytes[v->starts[i]]] = true;
    }
    qsort_r(v->added, v->n_added, sizeof *v->added, compare_added, v);
    return 0;
}

/* A control token by its spelling; -1 where the file has none. */
static int32_t control_id(const Vocab *v, const Spellings *s, const char *spelling)
{
    int32_t id = spelling_id(s, (WeightsString){spelling, strlen(spelling)});

    return id >= 0 && v->types[id] == TOKEN_CONTROL ? id : -1;
}

static void stop_add(Vocab *v, int32_t id)
{
    for (size_t i = 0; i < v->n_stops; i++)
        if (v->stops[i] == id)
            return;
    if (id >= 0 && v->n_stops < VOCAB_STOPS)
        v->stops[v->n_stops++] = id;
}

static int load_specials(Vocab *v, Weights *w, const Spellings *s)
{
    static const char *const keys[] = {"tokenizer.ggml.bos_token_id", "tokenizer.ggml.eos_token_id",
                                       "tokenizer.ggml.eot_token_id"};
    /* Turns end with one of these, whatever the file calls the end of a text. */
    static const char *const ends[] = {"<|im_end|>", "<|endoftext|>", "<|eot_id|>",
                                       "<|end_of_text|>"};
    int32_t ids[] = {-1, -1, -1};

    for (int i = 0; i < 3; i++) {
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
        .image = control_id(v, s, "<image>"),
        .audio = control_id(v, s, "<audio>"),
        .user = control_id(v, s, "<user>"),
        .assistant = control_id(v, s, "<assistant>"),
        .system = control_id(v, s, "<system>"),
    };
    stop_add(v, ids[1]);
    stop_add(v, ids[2]);
    for (size_t i = 0; i < sizeof ends / sizeof *ends; i++)
        stop_add(v, control_id(v, s, ends[i]));
    return 0;
}

static int get_flag(Weights *w, const char *key, bool absent, bool *ret)
{
    int r = weights_get_bool(w, key, ret);

    if (r == -ENOENT)
        *ret = absent;
    else if (r < 0)
        return weights_fail(w, -EBADMSG, "key '%s' is not true or false", key);
    return 0;
}

static int load_flags(Vocab *v, Weights *w)
{
    bool bos = v->kind == VOCAB_PIECES || v->rule->bos;
    int r = get_flag(w, KEY_BLANK, v->kind == VOCAB_PIECES, &v->blank_first);

    if (r == 0)
        r = get_flag(w, KEY_BOS, bos, &bos);
    v->special.add_bos = bos && v->special.bos >= 0;
    return r;
}

int vocab_load(Vocab *v, Weights *w)
{
    _cleanup_free_ WeightsString *tokens = NULL;
    _cleanup_free_ uint32_t *slots = NULL;
    Spellings spellings = {0};
    size_t total = 0, n_merges;
    int r = load_kind(v, w);

    if (r == 0)
        r = read_tokens(w, &tokens, &v->n_tokens, &total);
    if (r < 0)
        return r;
    spellings.tokens = tokens;
    r = index_spellings(w, &spellings, v->n_tokens);
    slots = spellings.slots;
    if (r == 0)
        r = load_types(v, w);
    if (r == 0)
        r = load_pieces(v, w, tokens, total);
    if (r == 0)
        r = index_pieces(v, w);
    if (r < 0)
        return r;
    if (v->kind == VOCAB_PIECES && weights_get_strings(w, KEY_MERGES, &n_merges) == -ENOENT)
        r = load_scores(v, w);
    else
        r = load_merges(v, w, &spellings);
    if (r == 0)
        r = index_added(v, w);
    if (r == 0)
        r = load_specials(v, w, &spellings);
    if (r == 0)
        r = load_flags(v, w);
    return r;
}
