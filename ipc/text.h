#pragma once

/*
 * Text on its way to a client. A model may end a token inside a character and may produce bytes
 * that are no UTF-8 at all, while libdbus aborts the process on either: whatever leaves the daemon
 * has gone through here.
 */

#include <stdbool.h>
#include <stddef.h>

/* Length of the sound UTF-8 sequence at the start of s (left >= 1 bytes); 0: unsound, as is NUL;
 * -1: it ends too early, more bytes may complete it. */
int utf8_sequence(const char *s, size_t left);
bool utf8_is_sound(const char *s, size_t length);

/* Growing text made of whole code points. Unsound bytes become U+FFFD; an incomplete tail is
 * held back. */
typedef struct TextBuffer {
    char *data; /* NUL-terminated; NULL while empty */
    size_t length, capacity;
    char tail[4];
    size_t tail_length;
} TextBuffer;

void text_deinit(TextBuffer *t);
/* -ENOMEM leaves the buffer as it was. */
int text_append(TextBuffer *t, const char *bytes, size_t n);
/* No more will come: a held-back tail becomes U+FFFD. */
int text_end(TextBuffer *t);
/* The longest prefix of sound text of at most `max` bytes that ends between code points; max >=
 * 4. */
size_t text_prefix(const char *s, size_t length, size_t max);
