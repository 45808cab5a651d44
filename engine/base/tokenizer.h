#pragma once

/*
 * Text to token ids and back: byte-level BPE read from a weight file. Encoding never fails on
 * strange bytes: every byte has a token. Pre-tokenisation and ids: engine/MODEL.md, sections 6
 * and 9.
 */

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
/* The bytes of one token; empty for specials and ids out of range. Valid as long as the
 * tokenizer. */
const char *tokenizer_piece(const Tokenizer *t, int32_t id, size_t *ret_length);
size_t tokenizer_size(const Tokenizer *t);
const TokenizerSpecial *tokenizer_special(const Tokenizer *t);
