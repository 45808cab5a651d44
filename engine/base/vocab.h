#pragma once

/*
 * The tables of a tokenizer: pieces of text by id and ids by piece, which pairs merge, and the
 * tokens that stand for themselves in a text. Private to the tokenizer.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "engine/base/split.h"
#include "engine/base/tokenizer.h"

typedef enum VocabKind {
    VOCAB_BYTES,  /* pieces are merged from bytes, inside what a splitting rule cuts out */
    VOCAB_PIECES, /* from code points, blanks being U+2581, anywhere; else the bytes one by one */
} VocabKind;

/* As files number them. */
typedef enum TokenType {
    TOKEN_NORMAL = 1,
    TOKEN_UNKNOWN,
    TOKEN_CONTROL, /* never made from text, unless it is markup */
    TOKEN_USER,    /* made from text wherever it is spelt out */
    TOKEN_UNUSED,
    TOKEN_BYTE,
} TokenType;

typedef struct Merge {
    uint64_t pair; /* left id in the upper half, right id in the lower */
    int32_t rank;  /* lower merges first; -1: the slot is free */
    int32_t id;    /* what the pair becomes */
} Merge;

#define VOCAB_STOPS 8

typedef struct Vocab {
    VocabKind kind;
    const SplitRule *rule; /* of VOCAB_BYTES */
    bool blank_first;      /* of VOCAB_PIECES: texts are led by a blank */
    size_t n_tokens;
    char *bytes;      /* all pieces, one after the other; spellings of what is no text */
    uint32_t *starts; /* [n_tokens + 1] into bytes */
    uint8_t *types;   /* [n_tokens] */
    size_t longest;   /* bytes of the longest piece */
    uint32_t *pieces; /* id + 1 by piece, of normal tokens; open addressing, 0 is free */
    size_t pieces_mask;
    int32_t byte_ids[256]; /* -1: none */
    int32_t unknown;       /* -1: none; of VOCAB_PIECES */
    Merge *merges;         /* open addressing; NULL: any two that make a piece merge, by ranks */
    size_t merges_mask;
    int32_t *ranks; /* [n_tokens]: of pieces with scores */
    int32_t *added; /* control and user tokens, sorted by spelling */
    size_t n_added;
    bool added_first[256]; /* the first bytes of those */
    int32_t stops[VOCAB_STOPS];
    size_t n_stops;
    uint64_t seed;
    TokenizerSpecial special;
} Vocab;

/* Errors as in tokenizer_new(); v must be zero and is to be deinitialised in any case. */
int vocab_load(Vocab *v, Weights *weights);
void vocab_deinit(Vocab *v);

/* NULL when the two do not merge. */
const Merge *vocab_merge(const Vocab *v, int32_t left, int32_t right);
/* The normal token with these bytes; -1 when there is none. */
int32_t vocab_piece(const Vocab *v, const char *bytes, size_t length);
/* The longest token at the start of text that stands for itself; -1 when there is none. Control
 * tokens may be up to `markup` bytes long. */
int32_t vocab_added(const Vocab *v, const char *text, size_t length, size_t markup,
                    size_t *ret_length);

static inline size_t vocab_length(const Vocab *v, int32_t id)
{
    return v->starts[id + 1] - v->starts[id];
}

/* Whether a token is text. */
static inline bool vocab_is_text(const Vocab *v, int32_t id)
{
    return v->types[id] == TOKEN_NORMAL || v->types[id] == TOKEN_USER || v->types[id] == TOKEN_BYTE;
}
