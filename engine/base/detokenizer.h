#pragma once

/*
 * Tokens back to text as they come, in whole code points: bytes of a character that is not
 * complete wait for the next token. What never becomes UTF-8 is given as U+FFFD, one for each
 * maximal ill-formed part.
 */

#include "engine/base/tokenizer.h"

/* Most text of one push, with that of the finish after it. */
#define DETOKENIZER_TEXT_MAX (3 * (TOKENIZER_PIECE_MAX + 4))

typedef struct Detokenizer {
    const Tokenizer *tokenizer; /* borrowed */
    bool begun;
    char waiting[TOKENIZER_PIECE_MAX + 4]; /* bytes that no text has been made of */
    size_t n_waiting;
    char text[DETOKENIZER_TEXT_MAX];
} Detokenizer;

void detokenizer_init(Detokenizer *d, const Tokenizer *tokenizer);
/* The text that one more token completes: sound UTF-8, perhaps empty, not terminated, valid until
 * the next call. Specials have none. */
const char *detokenizer_push(Detokenizer *d, int32_t id, size_t *ret_length);
/* The text of what still waits. */
const char *detokenizer_finish(Detokenizer *d, size_t *ret_length);
