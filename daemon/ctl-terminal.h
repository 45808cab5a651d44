#pragma once

/* Pictures on a terminal, where it has said that it shows them. */

#include <stdint.h>
#include <stdio.h>

#include "daemon/thumbnail.h"

typedef enum TerminalPictures {
    PICTURES_NONE,
    PICTURES_SIXEL,
    PICTURES_KITTY,
} TerminalPictures;

/* Asks the terminal that standard output is, if it is one, if we are in its foreground and it is
 * of a kind that takes the question; waits a moment for the answer. */
TerminalPictures terminal_pictures(void);
/* What the bytes of an answer say; for tests, too. */
TerminalPictures terminal_answer(const char *answer, size_t n);

/* Draws at the cursor; a line begins behind it. */
void terminal_draw(FILE *file, TerminalPictures how, const Thumbnail *t);
