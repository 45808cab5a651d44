#pragma once

/* Programs of the desktop, started without a shell and left to themselves. */

/* argv: NULL-terminated, found in $PATH. The program is nobody's child: it outlives us, and leaves
 * no zombie. -ENOENT: there is no such program. */
int open_program(const char *const *argv);
/* With the program that the desktop has for it. token: lets its window come to the front; may be
 * empty. */
int open_uri(const char *uri, const char *token);
