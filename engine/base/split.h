#pragma once

/*
 * How text is cut into pieces before pairs are merged: the splitting rules of published
 * tokenizers, which they write as regular expressions, as rows of one table.
 */

#include <stdbool.h>
#include <stddef.h>

typedef struct SplitRule {
    const char *names; /* tokenizer.ggml.pre of files that mean it, blanks between */
    bool ascii;        /* Percept's own: bytes, no Unicode (MODEL.md, section 9) */
    bool nfc;          /* text is normalised first */
    bool whole;        /* a piece that is a token is not merged from its bytes */
    bool bos;          /* texts begin with it unless the file says otherwise */
    /* The alternatives of the regular expressions, where they differ. */
    bool fold;         /* 'S as 's */
    bool mark_letters; /* any mark, not only a blank, leads letters */
    bool blank_digits; /* a blank leads digits */
    unsigned digits;   /* most in one piece */
    bool newlines;     /* they follow marks, and end runs of white space */
} SplitRule;

/* NULL when no rule has this name. */
const SplitRule *split_find(const char *name, size_t length);
/* Bytes of the piece at the start of text, length >= 1, which is sound UTF-8 unless the rule is
 * of ASCII. */
size_t split_next(const SplitRule *rule, const char *text, size_t length);
