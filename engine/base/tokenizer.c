#include "engine/base/tokenizer.h"

#include <stdlib.h>
#include <string.h>

#include "engine/base/merge.h"
#include "engine/base/unicode.h"
#include "engine/base/utf8.h"

/* How many times shorter normalising may make a text. */
#define NFC_SHRINK 3

#define REPLACEMENT "\xef\xbf\xbd" /* U+FFFD */
#define BLANK       "\xe2\x96\x81" /* U+2581, which stands for a blank in pieces */

struct Tokenizer {
    Vocab vocab;
};

/* One call of encode. */
typedef struct Encoding {
    const Vocab *vocab;
    MergeWork work;
    int32_t *ids;
    size_t max, count;
    bool begins; /* no text since the start or a control token */
} Encoding;

static int id_put(Encoding *e, int32_t id)
{
    if (e->count == e->max)
        return -E2BIG;
    e->ids[e->count++] = id;
    return 0;
}

/* A symbol that is no token: its bytes, or the unknown token, once for several in a row. */
static int unknown_put(Encoding *e, const char *bytes, size_t length, bool again)
{
    const Vocab *v = e->vocab;
    bool known = true;

    for (size_t i = 0; i < length; i++)
        known &= v->byte_ids[(uint8_t)bytes[i]] >= 0;
    if (!known)
        return again ? 0 : id_put(e, v->unknown);
    for (size_t i = 0; i < length; i++) {
        int r = id_put(e, v->byte_ids[(uint8_t)bytes[i]]);

        if (r < 0)
            return r;
    }
    return 0;
}

static int piece_encode(Encoding *e, const char *piece, size_t length)
{
    const Symbol *s, *symbols;
    int r = merge_piece(e->vocab, &e->work, piece, length);

    if (r < 0)
        return r;
    symbols = e->work.symbols;
    for (int32_t i = 0; i >= 0; i = s->next) {
        s = &symbols[i];
        r = s->id >= 0 ? id_put(e, s->id)
                       : unknown_put(e, piece + s->start, (size_t)s->length,
                                     s->prev >= 0 && symbols[s->prev].id < 0);
        if (r < 0)
            return r;
    }
    return 0;
}

/* Cuts text into pieces by the rule. */
static int pieces_encode(Encoding *e, const char *text, size_t length)
{
    const SplitRule *rule = e->vocab->rule;

    for (size_t at = 0, n; at < length; at += n) {
        int32_t id;
        int r;

        n = split_next(rule, text + at, length - at);
        id = rule->whole ? vocab_piece(e->vocab, text + at, n) : -1;
        r = id >= 0 ? id_put(e, id) : piece_encode(e, text + at, n);
        if (r < 0)
            return r;
    }
    return 0;
}

/* Text with U+FFFD for each maximal part that is no UTF-8; NULL in ret_text: it is sound. */
static int text_repair(const char *text, size_t length, char **ret_text, size_t *ret_length)
{
    char *out;
    size_t sound = 0, n;

    while (sound < length && (n = utf8_length(text + sound, length - sound)) > 0)
        sound += n;
    if (sound == length)
        return 0;
    if (length > (SIZE_MAX - 1) / 3 || !(out = malloc(3 * length + 1)))
        return -ENOMEM;
    memcpy(out, text, sound);
    *ret_length = sound;
    for (size_t at = sound; at < length; at += n) {
        const char *from = text + at;
        size_t put;

        n = utf8_length(from, length - at);
        put = n ? n : strlen(REPLACEMENT);
        memcpy(out + *ret_length, n ? from : REPLACEMENT, put);
        *ret_length += put;
        if (n == 0)
            n = utf8_broken(from, length - at);
    }
    *ret_text = out;
    return 0;
}

/* Blanks as pieces spell them, and perhaps one in front. */
static int blanks_spell(const char *text, size_t length, bool lead, char **ret_text,
                        size_t *ret_length)
{
    char *out = length < (SIZE_MAX - 4) / 3 ? malloc(3 * length + 4) : NULL;
    size_t n = 0;

    if (!out)
        return -ENOMEM;
    if (lead) {
        memcpy(out, BLANK, 3);
        n = 3;
    }
    for (size_t i = 0; i < length; i++) {
        if (text[i] != ' ') {
            out[n++] = text[i];
            continue;
        }
        memcpy(out + n, BLANK, 3);
        n += 3;
    }
    *ret_text = out;
    *ret_length = n;
    return 0;
}

/* SentencePiece, whose pieces have scores, sees one text, in which user tokens are characters;
 * with merges, each text between tokens is one of its own. */
static bool leads(const Encoding *e)
{
    return e->vocab->blank_first && (e->vocab->merges || e->begins);
}

static int blanks_encode(Encoding *e, const char *text, size_t length)
{
    _cleanup_free_ char *spelt = NULL;
    int r = blanks_spell(text, length, leads(e), &spelt, &length);

    return r < 0 || length == 0 ? r : piece_encode(e, spelt, length);
}

/* Text between the tokens that stand for themselves. */
static int plain_encode(Encoding *e, const char *text, size_t length)
{
    const Vocab *v = e->vocab;
    _cleanup_free_ char *repaired = NULL, *normal = NULL;
    int r;

    if (v->rule && v->rule->ascii)
        return pieces_encode(e, text, length);
    r = text_repair(text, length, &repaired, &length);
    if (r < 0)
        return r;
    text = repaired ? repaired : text;
    if (v->kind == VOCAB_PIECES)
        return blanks_encode(e, text, length);
    if (v->rule->nfc && unicode_needs_nfc(text, length)) {
        r = unicode_nfc(text, length, &normal, &length);
        if (r < 0)
            return r;
        text = normal;
    }
    return pieces_encode(e, text, length);
}

/* A token that stands for itself, and the text before it. */
static int added_encode(Encoding *e, const char *text, size_t length, int32_t id)
{
    const Vocab *v = e->vocab;
    bool user = v->types[id] == TOKEN_USER;
    int r = 0;

    if (length > 0 || (user && !v->merges && leads(e)))
        r = plain_encode(e, text, length);
    if (r == 0)
        r = id_put(e, id);
    e->begins = !user;
    return r;
}

/* Text with tokens in it that stand for themselves, length >= 1. */
static int text_encode(Encoding *e, const char *text, size_t length, const TextPart *parts)
{
    size_t plain = 0, at = 0, part_end = parts->length, n = 0;
    int r = 0;

    e->begins = true;
    while (at < length && r == 0) {
        while (at >= part_end)
            part_end += (++parts)->length;
        int32_t id =
            vocab_added(e->vocab, text + at, length - at, parts->markup ? part_end - at : 0, &n);
        if (id < 0) {
            at++;
            continue;
        }
        r = added_encode(e, text + plain, at - plain, id);
        plain = at += n;
    }
    if (r == 0 && length > plain)
        r = plain_encode(e, text + plain, length - plain);
    return r;
}

/* A token covers `longest` bytes at most, unless text shrinks or unknown characters share one:
 * what cannot fit is refused before any memory is taken. */
static bool too_long(const Vocab *v, size_t length, size_t max)
{
    size_t shrink = v->rule && v->rule->nfc ? NFC_SHRINK : 1;

    return length > INT32_MAX / 4 || (v->unknown < 0 && length / v->longest / shrink > max);
}

int tokenizer_encode_parts(const Tokenizer *t, const TextPart *parts, size_t n_parts, int32_t *ids,
                           size_t max, size_t *ret_count)
{
    Encoding e = {.vocab = &t->vocab, .ids = ids, .max = max};
    _cleanup_free_ char *joined = NULL;
    size_t length = 0, at = 0;
    int r;

    for (size_t i = 0; i < n_parts; i++)
        if (__builtin_add_overflow(length, parts[i].length, &length))
            return -E2BIG;
    if (too_long(&t->vocab, length, max))
        return -E2BIG;
    joined = n_parts > 1 ? malloc(length + 1) : NULL;
    if (n_parts > 1 && !joined)
        return -ENOMEM;
    for (size_t i = 0; joined && i < n_parts; at += parts[i++].length)
        if (parts[i].length > 0)
            memcpy(joined + at, parts[i].text, parts[i].length);

    r = length == 0 ? 0 : text_encode(&e, joined ? joined : parts[0].text, length, parts);
    merge_work_deinit(&e.work);
    if (r < 0)
        return r;
    *ret_count = e.count;
    return 0;
}

int tokenizer_encode(const Tokenizer *t, const char *text, size_t length, int32_t *ids, size_t max,
                     size_t *ret_count)
{
    TextPart part = {.text = text, .length = length};

    return tokenizer_encode_parts(t, &part, 1, ids, max, ret_count);
}

int tokenizer_new(Weights *weights, Tokenizer **ret_tokenizer)
{
    _cleanup_(tokenizer_freep) Tokenizer *t = calloc(1, sizeof *t);
    int r;

    if (!t)
        return weights_fail(weights, -ENOMEM, "no memory for a tokenizer");
    r = vocab_load(&t->vocab, weights);
    if (r < 0)
        return r;
    *ret_tokenizer = steal_ptr(&t);
    return 0;
}

Tokenizer *tokenizer_free(Tokenizer *t)
{
    if (t)
        vocab_deinit(&t->vocab);
    free(t);
    return NULL;
}

const char *tokenizer_piece(const Tokenizer *t, int32_t id, size_t *ret_length)
{
    const Vocab *v = &t->vocab;

    if (id < 0 || (size_t)id >= v->n_tokens || !vocab_is_text(v, id)) {
        *ret_length = 0;
        return "";
    }
    *ret_length = vocab_length(v, id);
    return v->bytes + v->starts[id];
}

size_t tokenizer_size(const Tokenizer *t)
{
    return t->vocab.n_tokens;
}

const TokenizerSpecial *tokenizer_special(const Tokenizer *t)
{
    return &t->vocab.special;
}

bool tokenizer_is_stop(const Tokenizer *t, int32_t id)
{
    for (size_t i = 0; i < t->vocab.n_stops; i++)
        if (t->vocab.stops[i] == id)
            return true;
    return false;
}

int32_t tokenizer_spelt(const Tokenizer *t, const char *spelling)
{
    size_t length = strlen(spelling), n;
    int32_t id = vocab_added(&t->vocab, spelling, length, length, &n);

    return id >= 0 && n == length ? id : -1;
}

int32_t tokenizer_control(const Tokenizer *t, const char *spelling)
{
    int32_t id = tokenizer_spelt(t, spelling);

    return id >= 0 && t->vocab.types[id] == TOKEN_CONTROL ? id : -1;
}

bool tokenizer_spells_blanks(const Tokenizer *t)
{
    return t->vocab.kind == VOCAB_PIECES;
}

bool tokenizer_leads_blank(const Tokenizer *t)
{
    return t->vocab.blank_first;
}
