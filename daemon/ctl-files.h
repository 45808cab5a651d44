#pragma once

/* A list of files as a walk found them: what the service should know of. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>

#define FILES_MAX 1000000 /* as many as a collection holds */

typedef struct File {
    char *path;
    char size[24], mtime[40]; /* as they stand in the collection */
    bool known;               /* there already, and unchanged */
} File;

typedef struct Files {
    File *items;
    size_t n, capacity;
} Files;

void files_deinit(Files *f);
/* -E2BIG beyond FILES_MAX. */
int files_add(Files *f, const char *path, const struct stat *st);
/* By path, and each only once, for files_find(). */
void files_sort(Files *f);
const File *files_find(const Files *f, const char *path);

/* Size and time of change, in the words of the collection. */
void file_stamp(const struct stat *st, char ret_size[24], char ret_mtime[40]);
