#pragma once

/*
 * Byte pair encoding of one piece of text: neighbours merge, the pair of the lowest rank first
 * and of those the leftmost, until none is left that does. Private to the tokenizer.
 */

#include <stdint.h>

#include "engine/base/vocab.h"

/* Symbols of a piece: a list in its order, from the first on, shortened by each merge. */
typedef struct Symbol {
    int32_t id;            /* -1: not a token */
    int32_t prev, next;    /* -1: none */
    int32_t start, length; /* bytes of the piece */
} Symbol;

/* A pair that could merge. Stale once one of its two symbols has changed. */
typedef struct Candidate {
    int32_t rank, position;
    int32_t left, right, id;
} Candidate;

/* Memory that grows with the longest piece. */
typedef struct MergeWork {
    Symbol *symbols;
    Candidate *heap; /* smallest rank first, then leftmost */
    size_t n_heap, size;
} MergeWork;

void merge_work_deinit(MergeWork *w);

/* Merges a piece of 1 to INT32_MAX bytes; w->symbols then holds its tokens as a list. -ENOMEM. */
int merge_piece(const Vocab *v, MergeWork *w, const char *piece, size_t length);
