#pragma once

/*
 * Text to token ids and back: byte pair encoding of the kinds that weight files name, from bytes
 * within the pieces of a splitting rule, or from characters with single bytes for the unknown
 * ones. Encoding never fails on strange bytes: Percept's tokens have every byte; for others, which
 * read Unicode, what is no UTF-8 becomes U+FFFD, one for each maximal ill-formed part. Percept's
 * ids and pieces: engine/MODEL.md, sections 6 and 9.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "engine/base/cleanup.h"
#include "engine/base/weights.h"

#define TOKENIZER_TOKENS_MAX (1 << 20)
#define TOKENIZER_PIECE_MAX  1024 /* bytes of one token */

typedef struct Tokenizer Tokenizer;

/* Token ids with a meaning of their own; -1 where the file has none. */
typedef struct TokenizerSpecial {
    int32_t bos, eos, image, audio, user, assistant, system;
    bool add_bos; /* texts begin with it */
} TokenizerSpecial;

/* -ENOTSUP: another kind of tokenizer; -EBADMSG or -ENOENT: unsound or missing keys; -EFBIG: beyond
 * the ceilings. The sentence is in weights_error(). The weights may be closed afterwards. */
int tokenizer_new(Weights *weights, Tokenizer **ret_tokenizer);
Tokenizer *tokenizer_free(Tokenizer *t);
DEFINE_CLEANUP(Tokenizer *, tokenizer_free);

/* Writes at most `max` ids to ids[] and their number to ret_count; no specials are added.
 * -E2BIG when the text needs more, known before work is spent on a text far too long; -ENOMEM.
 * Safe from several threads. */
int tokenizer_encode(const Tokenizer *t, const char *text, size_t length, int32_t *ids, size_t max,
                     size_t *ret_count);

/* A text in parts, encoded as if it were one: what a person wrote, and around it the markup of a
 * chat, in which alone the spellings of control tokens become those tokens. */
typedef struct TextPart {
    const char *text;
    size_t length;
    bool markup;
} TextPart;
int tokenizer_encode_parts(const Tokenizer *t, const TextPart *parts, size_t n_parts, int32_t *ids,
                           size_t max, size_t *ret_count);

/* The bytes of one token; empty for specials and ids out of range. Valid as long as the
 * tokenizer. For text in whole characters: detokenizer.h. */
const char *tokenizer_piece(const Tokenizer *t, int32_t id, size_t *ret_length);
size_t tokenizer_size(const Tokenizer *t);
const TokenizerSpecial *tokenizer_special(const Tokenizer *t);
/* Whether an answer ends with this token. */
bool tokenizer_is_stop(const Tokenizer *t, int32_t id);
/* The token that stands for itself and is spelt so, and the same if it is a control token; -1 when
 * there is none. */
int32_t tokenizer_spelt(const Tokenizer *t, const char *spelling);
int32_t tokenizer_control(const Tokenizer *t, const char *spelling);
/* Whether pieces spell blanks U+2581, and whether encoding puts one in front of a text. */
bool tokenizer_spells_blanks(const Tokenizer *t);
bool tokenizer_leads_blank(const Tokenizer *t);
