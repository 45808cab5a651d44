#pragma once

/*
 * Files mapped read-only: one, or those of a folder that a model consists of. Below weights.h.
 */

#include <stdbool.h>

#include "engine/base/weights.h"

typedef struct Files {
    WeightsFile *list; /* names are the folder's own; of a single file, "" */
    int *fds;
    size_t n;
    bool folder;
} Files;

/* Errors as in weights_open(). */
int files_open(const char *path, Files *ret_files, char ret_error[WEIGHTS_ERROR_MAX]);
void files_close(Files *f);
/* The file and the place in it where the mapped byte at `data` lies; false when in none. */
bool files_locate(const Files *f, const void *data, int *ret_fd, uint64_t *ret_offset);
/* Keeps of the files that are used what is outside of these ranges in the page cache, and nothing
 * else; sorts them. parts: the list, and which of it is used. */
void files_bound(const Files *f, const WeightsFile *parts, WeightsRange *absent, size_t n);
