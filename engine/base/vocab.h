#pragma once

/*
 * The tables of a tokenizer: pieces of text by id, ids of single bytes, and which pairs merge.
 * Private to the tokenizer.
 */

#include <stddef.h>
#include <stdint.h>

#include "engine/base/tokenizer.h"

typedef struct Merge {
    uint64_t pair; /* left id in the upper half, right id in the lower */
    int32_t rank;  /* lower merges first; -1: the slot is free */
    int32_t id;    /* what the pair becomes */
} Merge;

typedef struct Vocab {
    size_t n_tokens;
    char *bytes;      /* all pieces, one after the other */
    uint32_t *starts; /* [n_tokens + 1] into bytes */
    size_t longest;   /* bytes of the longest piece */
    int32_t byte_ids[256];
    Merge *merges; /* open addressing */
    size_t merges_mask;
    uint64_t seed;
    TokenizerSpecial special;
} Vocab;

/* Errors as in tokenizer_new(); v must be zero and is to be deinitialised in any case. */
int vocab_load(Vocab *v, Weights *weights);
void vocab_deinit(Vocab *v);

/* NULL when the two do not merge. */
const Merge *vocab_merge(const Vocab *v, int32_t left, int32_t right);
