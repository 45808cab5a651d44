#pragma once

/*
 * Names of files. Strangers choose them: any byte but NUL and slash, in any order. On the bus they
 * are URIs, which are plain ASCII; on terminals nothing of them may be a command.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

#define FILE_ID_SIZE 256
#define FILE_HASHED  "sha256:"

/* What the service can read, told by the name's ending: "image/…", "audio/…", or NULL. */
const char *file_media_type(const char *name);
/* Of an absolute path; caller frees. NULL: no memory. */
char *file_uri(const char *path);
/* The path of a local file; caller frees. NULL: no memory, or no such URI. */
char *file_path(const char *uri);
/* The item's identifier in a collection: the URI, or its hash where that is too long for one. */
void file_id(const char *uri, char ret_id[FILE_ID_SIZE]);
/* Prints a name on one line: whatever is no UTF-8, moves the cursor or turns the direction of
 * writing is a question mark. */
void file_print(FILE *file, const char *name);
/* The same as text; caller frees. NULL: no memory. */
char *file_printable(const char *name);
