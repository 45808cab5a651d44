#include <stdio.h>
#include <string.h>

#include "engine/base/folder.h"
#include "engine/base/tokenizer.h"

/*
 * From tokenizer.json to the keys that GGUF has for a tokenizer. How a text is normalised and split
 * is a program in JSON there and a name here: programs that have a name are recognised, others
 * refused.
 */

#define TYPE_NORMAL  1
#define TYPE_UNKNOWN 2
#define TYPE_CONTROL 3
#define TYPE_USER    4
#define TYPE_UNUSED  5
#define TYPE_BYTE    6

#define ADDED_MAX 65536

/* Splitting rules of byte-level BPE, as their authors write them. */
typedef struct Splitting {
    const char *name;
    const char *regex; /* NULL: the one that ByteLevel has built in */
    bool nfc;
} Splitting;

#define CONTRACTIONS "(?i:'s|'t|'re|'ve|'m|'ll|'d)|"
#define WORDS        "[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|"
#define REST         "| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"

static const Splitting splittings[] = {
    {"qwen2", CONTRACTIONS WORDS "\\p{N}" REST, true},
    {"llama-bpe", CONTRACTIONS WORDS "\\p{N}{1,3}" REST, false},
    {"olmo", NULL, true},
    {"gpt-2", NULL, false},
};

typedef struct Reader {
    const JsonNode *root, *model;
    Gguf *gguf;
    size_t n_tokens;       /* every id below has a place: vocab_size of the configuration */
    WeightsString *tokens; /* [n_tokens] */
    int32_t *types;        /* [n_tokens]; 0: no such token yet */
    char *made;            /* names of unused ids */
    const FolderError *error;
} Reader;

/* Null, false, or not there: what most settings are in files that they mean nothing to. */
static bool is_off(const JsonNode *node)
{
    return !node || node->type == JSON_NULL || node->type == JSON_FALSE ||
           (node->type == JSON_STRING && node->count == 0);
}

static bool is_type(const JsonNode *node, const char *type)
{
    return json_is_text(json_get(node, "type"), type);
}

static int token_put(Reader *r, const JsonNode *text, uint64_t id, int32_t type)
{
    if (id >= r->n_tokens)
        return folder_fail(r->error, -EBADMSG,
                           "tokenizer.json: token '%.*s' has the id %llu, vocab_size is %zu",
                           text->count < 64 ? (int)text->count : 64, text->text,
                           (unsigned long long)id, r->n_tokens);
    r->tokens[id] = (WeightsString){text->text, text->count};
    r->types[id] = type;
    return 0;
}

/* model.vocab: names are tokens, values their ids. */
static int read_vocab(Reader *r)
{
    const JsonNode *vocab = json_get(r->model, "vocab");
    uint64_t id;
    int e;

    if (!json_is(vocab, JSON_OBJECT))
        return folder_fail(r->error, -EBADMSG,
                           "tokenizer.json: key 'model.vocab' is not an object");
    for (const JsonNode *n = json_first(vocab); n < json_end(vocab); n = json_next(n + 1)) {
        if (json_unsigned(n + 1, TOKENIZER_TOKENS_MAX, &id) < 0)
            return folder_fail(r->error, -EBADMSG, "tokenizer.json: token '%.*s' has no id",
                               n->count < 64 ? (int)n->count : 64, n->text);
        if (id < r->n_tokens && r->types[id])
            return folder_fail(r->error, -EBADMSG, "tokenizer.json: two tokens have the id %llu",
                               (unsigned long long)id);
        e = token_put(r, n, id, TYPE_NORMAL);
        if (e < 0)
            return e;
    }
    return 0;
}

/* Also stand in the vocabulary, or have ids of their own. */
static int read_added_token(Reader *r, const JsonNode *token)
{
    const JsonNode *content = json_get(token, "content");
    bool special = json_is(json_get(token, "special"), JSON_TRUE);
    uint64_t id;

    if (!json_is(content, JSON_STRING) ||
        json_unsigned(json_get(token, "id"), TOKENIZER_TOKENS_MAX, &id) < 0)
        return folder_fail(r->error, -EBADMSG,
                           "tokenizer.json: an entry of 'added_tokens' has no id or no content");
    if (id < r->n_tokens && r->types[id] &&
        (r->tokens[id].length != content->count ||
         memcmp(r->tokens[id].data, content->text, content->count) != 0))
        return folder_fail(r->error, -EBADMSG, "tokenizer.json: two tokens have the id %llu",
                           (unsigned long long)id);
    if (json_is(json_get(token, "lstrip"), JSON_TRUE) ||
        json_is(json_get(token, "rstrip"), JSON_TRUE) ||
        json_is(json_get(token, "single_word"), JSON_TRUE))
        return folder_fail(r->error, -ENOTSUP,
                           "tokenizer.json: added token '%.*s' takes blanks or whole words, which "
                           "is not known",
                           content->count < 64 ? (int)content->count : 64, content->text);
    return token_put(r, content, id, special ? TYPE_CONTROL : TYPE_USER);
}

static int read_added(Reader *r)
{
    const JsonNode *added = json_get(r->root, "added_tokens");

    if (is_off(added))
        return 0;
    if (!json_is(added, JSON_ARRAY) || added->count > ADDED_MAX)
        return folder_fail(r->error, -EBADMSG,
                           "tokenizer.json: key 'added_tokens' is not a list of at most %d",
                           ADDED_MAX);
    for (const JsonNode *n = json_first(added); n < json_end(added); n = json_next(n)) {
        int e = read_added_token(r, n);
        if (e < 0)
            return e;
    }
    return 0;
}

/* Ids that the model has rows for and the tokenizer no token. */
static int fill_unused(Reader *r)
{
    enum { NAME_MAX_LENGTH = 16 };
    size_t n = 0, at = 0;

    for (size_t i = 0; i < r->n_tokens; i++)
        n += r->types[i] == 0;
    r->made = malloc(n * NAME_MAX_LENGTH + 1);
    if (!r->made)
        return folder_fail(r->error, -ENOMEM, "no memory for %zu tokens", n);
    for (size_t i = 0; i < r->n_tokens; i++)
        if (r->types[i] == 0) {
            int length = snprintf(r->made + at, NAME_MAX_LENGTH, "[PAD%zu]", i);

            r->tokens[i] = (WeightsString){r->made + at, (size_t)length};
            r->types[i] = TYPE_UNUSED;
            at += (size_t)length;
        }
    return 0;
}

static bool is_byte_token(WeightsString s)
{
    return s.length == 6 && memcmp(s.data, "<0x", 3) == 0 && s.data[5] == '>';
}

/* Byte fallback: "<0xNN>" stands for a byte, and one token for what has none. */
static void mark_fallback(Reader *r)
{
    const JsonNode *unknown = json_get(r->model, "unk_token");

    for (size_t i = 0; i < r->n_tokens; i++) {
        WeightsString s = r->tokens[i];

        if (r->types[i] == TYPE_NORMAL && is_byte_token(s))
            r->types[i] = TYPE_BYTE;
        else if (json_is(unknown, JSON_STRING) && unknown->count == s.length &&
                 memcmp(unknown->text, s.data, s.length) == 0)
            r->types[i] = TYPE_UNKNOWN;
    }
}

/* The bytes that merges take as "left right", where they are written as pairs. */
static size_t merge_bytes(const JsonNode *merge)
{
    return json_is(merge, JSON_ARRAY) && merge->count == 2 ? merge[1].count + merge[2].count + 1
                                                           : 0;
}

/* One merge, a string or two: what of it is a pair goes to *at. */
static int read_merge(const Reader *r, size_t index, const JsonNode *merge, char **at,
                      WeightsString *ret_line)
{
    const JsonNode *left = merge + 1, *right = merge + 2;

    if (merge->type == JSON_STRING) {
        *ret_line = (WeightsString){merge->text, merge->count};
        return 0;
    }
    if (merge->type != JSON_ARRAY || merge->count != 2 || left->type != JSON_STRING ||
        right->type != JSON_STRING)
        return folder_fail(r->error, -EBADMSG, "tokenizer.json: merge %zu is not two tokens",
                           index);
    if (memchr(left->text, ' ', left->count) || memchr(right->text, ' ', right->count))
        return folder_fail(r->error, -ENOTSUP, "tokenizer.json: merge %zu joins blanks", index);
    *ret_line = (WeightsString){*at, left->count + 1 + right->count};
    memcpy(*at, left->text, left->count);
    (*at)[left->count] = ' ';
    memcpy(*at + left->count + 1, right->text, right->count);
    *at += ret_line->length;
    return 0;
}

static int add_merges(Reader *r)
{
    const JsonNode *merges = json_get(r->model, "merges");
    _cleanup_free_ WeightsString *lines = NULL;
    _cleanup_free_ char *pairs = NULL;
    size_t n = 0, bytes = 0;
    char *at;

    if (!json_is(merges, JSON_ARRAY))
        return folder_fail(r->error, -EBADMSG, "tokenizer.json: key 'model.merges' is not a list");
    for (const JsonNode *m = json_first(merges); m < json_end(merges); m = json_next(m))
        bytes += merge_bytes(m);
    lines = calloc(merges->count + 1, sizeof *lines);
    pairs = at = malloc(bytes + 1);
    if (!lines || !pairs)
        return folder_fail(r->error, -ENOMEM, "no memory for %u merges", merges->count);
    for (const JsonNode *m = json_first(merges); m < json_end(merges); m = json_next(m), n++) {
        int e = read_merge(r, n, m, &at, &lines[n]);
        if (e < 0)
            return e;
    }
    return gguf_add_strings(r->gguf, "tokenizer.ggml.merges", lines, n);
}

/* The one step of a sequence of one, or the step itself; NULL when there is none or more. */
static const JsonNode *only_step(const JsonNode *node, const char *list)
{
    const JsonNode *steps = json_get(node, list);

    if (is_off(node) || (is_type(node, "Sequence") && json_is(steps, JSON_ARRAY) && !steps->count))
        return NULL;
    return is_type(node, "Sequence") && json_is(steps, JSON_ARRAY) && steps->count == 1
               ? json_first(steps)
               : node;
}

/* ByteLevel without a blank in front, with its own regular expression or without. */
static bool is_byte_level(const JsonNode *node, bool regex)
{
    const JsonNode *own = json_get(node, "use_regex");

    return is_type(node, "ByteLevel") && is_off(json_get(node, "add_prefix_space")) &&
           (regex ? !own || own->type == JSON_TRUE : own && own->type == JSON_FALSE);
}

/* The regular expression of a splitter followed by ByteLevel. */
static const JsonNode *split_regex(const JsonNode *pre)
{
    const JsonNode *steps = json_get(pre, "pretokenizers"), *split;

    if (!is_type(pre, "Sequence") || !json_is(steps, JSON_ARRAY) || steps->count != 2)
        return NULL;
    split = json_first(steps);
    if (!is_type(split, "Split") || !json_is_text(json_get(split, "behavior"), "Isolated") ||
        !is_off(json_get(split, "invert")) || !is_byte_level(json_next(split), false))
        return NULL;
    return json_get2(split, "pattern", "Regex");
}

static int find_splitting(const Reader *r, const Splitting **ret_splitting)
{
    const JsonNode *pre = json_get(r->root, "pre_tokenizer"), *regex = split_regex(pre);
    const JsonNode *step = only_step(json_get(r->root, "normalizer"), "normalizers");
    bool built_in = is_byte_level(only_step(pre, "pretokenizers"), true);

    if (step && !is_type(step, "NFC"))
        return folder_fail(r->error, -ENOTSUP, "tokenizer.json: key 'normalizer' is not known");
    for (size_t i = 0; i < sizeof splittings / sizeof *splittings; i++) {
        const Splitting *s = &splittings[i];

        if (s->nfc == (step != NULL) && (s->regex ? json_is_text(regex, s->regex) : built_in)) {
            *ret_splitting = s;
            return 0;
        }
    }
    return folder_fail(
        r->error, -ENOTSUP,
        "tokenizer.json: keys 'pre_tokenizer' and 'normalizer' are no splitting rule "
        "that is known");
}

static int add_word(const Reader *r, const char *key, const char *word)
{
    return gguf_add_string(r->gguf, key, (WeightsString){word, strlen(word)});
}

static int add_byte_level(Reader *r)
{
    const Splitting *splitting = NULL;
    bool whole_first = json_is(json_get(r->model, "ignore_merges"), JSON_TRUE);
    int e = find_splitting(r, &splitting);

    if (e < 0)
        return e;
    if (whole_first != (strcmp(splitting->name, "llama-bpe") == 0))
        return folder_fail(r->error, -ENOTSUP,
                           "tokenizer.json: key 'model.ignore_merges' may only be %s",
                           whole_first ? "false" : "true");
    e = add_word(r, "tokenizer.ggml.model", "gpt2");
    return e < 0 ? e : add_word(r, "tokenizer.ggml.pre", splitting->name);
}

static bool is_replace(const JsonNode *node)
{
    return is_type(node, "Replace") && json_is_text(json_get2(node, "pattern", "String"), " ") &&
           json_is_text(json_get(node, "content"), "\u2581");
}

/* Blanks become U+2581, and one may come in front, in either of the places where it can be said. */
static int read_blanks(const Reader *r, bool *ret_prefix)
{
    const JsonNode *normalizer = json_get(r->root, "normalizer"), *pre;
    const JsonNode *step = only_step(normalizer, "normalizers");
    const JsonNode *steps = json_get(normalizer, "normalizers"), *scheme;

    pre = only_step(json_get(r->root, "pre_tokenizer"), "pretokenizers");
    if (!step && is_type(pre, "Metaspace") &&
        json_is_text(json_get(pre, "replacement"), "\u2581") && is_off(json_get(pre, "split"))) {
        scheme = json_get(pre, "prepend_scheme");
        if (json_is_text(scheme, "first") || json_is_text(scheme, "never")) {
            *ret_prefix = json_is_text(scheme, "first");
            return 0;
        }
    }
    if (is_off(pre) && is_replace(step)) {
        *ret_prefix = false;
        return 0;
    }
    if (is_off(pre) && is_type(normalizer, "Sequence") && steps && steps->count == 2 &&
        is_type(json_first(steps), "Prepend") &&
        json_is_text(json_get(json_first(steps), "prepend"), "\u2581") &&
        is_replace(json_next(json_first(steps)))) {
        *ret_prefix = true;
        return 0;
    }
    return folder_fail(r->error, -ENOTSUP,
                       "tokenizer.json: keys 'pre_tokenizer' and 'normalizer' are no way to write "
                       "blanks that is known");
}

static int add_fallback(Reader *r)
{
    bool prefix = false;
    int e = read_blanks(r, &prefix);

    if (e < 0)
        return e;
    mark_fallback(r);
    e = add_word(r, "tokenizer.ggml.model", "llama");
    if (e == 0)
        e = add_word(r, "tokenizer.ggml.pre", "default");
    return e < 0 ? e : gguf_add_bool(r->gguf, "tokenizer.ggml.add_space_prefix", prefix);
}

/* Settings of the model that would change its merging. */
static int check_model(const Reader *r)
{
    static const char *const off[] = {"dropout", "continuing_subword_prefix", "end_of_word_suffix"};
    const JsonNode *type = json_get(r->model, "type");

    if (!json_is(r->model, JSON_OBJECT) || (type && !json_is_text(type, "BPE")))
        return folder_fail(r->error, -ENOTSUP, "tokenizer.json: key 'model.type' may only be BPE");
    for (size_t i = 0; i < sizeof off / sizeof *off; i++)
        if (!is_off(json_get(r->model, off[i])))
            return folder_fail(r->error, -ENOTSUP,
                               "tokenizer.json: key 'model.%s' may only be null", off[i]);
    return 0;
}

int folder_tokenizer(const JsonNode *tokenizer, const JsonNode *tokenizer_config,
                     const JsonNode *generation, const JsonNode *config, uint32_t vocab_size,
                     Gguf *gguf, const FolderError *error)
{
    _cleanup_free_ WeightsString *tokens = calloc(vocab_size, sizeof *tokens);
    _cleanup_free_ int32_t *types = calloc(vocab_size, sizeof *types);
    Reader r = {.root = tokenizer,
                .model = json_get(tokenizer, "model"),
                .gguf = gguf,
                .n_tokens = vocab_size,
                .tokens = tokens,
                .types = types,
                .error = error};
    int e;

    if (!tokens || !types)
        return folder_fail(error, -ENOMEM, "no memory for %u tokens", vocab_size);
    e = check_model(&r);
    if (e == 0)
        e = read_vocab(&r);
    if (e == 0)
        e = read_added(&r);
    if (e == 0)
        e = fill_unused(&r);
    if (e == 0)
        e = json_is(json_get(r.model, "byte_fallback"), JSON_TRUE) ? add_fallback(&r)
                                                                   : add_byte_level(&r);
    if (e == 0)
        e = gguf_add_strings(gguf, "tokenizer.ggml.tokens", tokens, vocab_size);
    if (e == 0)
        e = gguf_add_i32s(gguf, "tokenizer.ggml.token_type", types, vocab_size);
    if (e == 0)
        e = add_merges(&r);
    if (e == 0)
        e = folder_specials(
            &(FolderSpecials){tokenizer, tokenizer_config, generation, config, tokens, vocab_size},
            gguf, error);
    free(r.made);
    return e == -ENOMEM ? folder_fail(error, -ENOMEM, "no memory for the tokenizer") : e;
}
