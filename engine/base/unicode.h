#pragma once

/*
 * The little of Unicode that tokenizers need: what kind of character a code point is, and text in
 * normalisation form C (Unicode Standard Annex 15). Tables are of version 16.0, as in the
 * reference tokenizers.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef enum UnicodeKind {
    UNICODE_OTHER,
    UNICODE_LETTER, /* general category L… */
    UNICODE_NUMBER, /* general category N… */
    UNICODE_SPACE,  /* property White_Space */
} UnicodeKind;

UnicodeKind unicode_kind(uint32_t point);

/* Whether text in UTF-8 may change by normalising: quick, and true where it does not know. */
bool unicode_needs_nfc(const char *text, size_t length);
/* Text [length] of sound UTF-8 in form C, which the caller frees; -ENOMEM. */
int unicode_nfc(const char *text, size_t length, char **ret_text, size_t *ret_length);

/* Canonical decomposition of a code point into one (second = 0) or two. */
typedef struct UnicodePair {
    uint32_t point, first, second;
} UnicodePair;

/* unicode-tables.c. Sorted; of the first two, an entry holds from its point up to the next. */
extern const uint32_t unicode_kinds[]; /* point << 2 | kind */
extern const uint32_t unicode_marks[]; /* point << 8 | canonical combining class */
extern const UnicodePair unicode_pairs[];
extern const uint16_t unicode_composed[]; /* into the pairs that compose, by first and second */
extern const size_t unicode_kinds_count, unicode_marks_count, unicode_pairs_count,
    unicode_composed_count;
