#include "daemon/ctl-files.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void files_deinit(Files *f)
{
    for (size_t i = 0; i < f->n; i++)
        free(f->items[i].path);
    free(f->items);
    *f = (Files){0};
}

void file_stamp(const struct stat *st, char ret_size[24], char ret_mtime[40])
{
    snprintf(ret_size, 24, "%lld", (long long)st->st_size);
    snprintf(ret_mtime, 40, "%lld.%09ld", (long long)st->st_mtim.tv_sec, st->st_mtim.tv_nsec);
}

int files_add(Files *f, const char *path, const struct stat *st)
{
    File file = {0};

    if (f->n == FILES_MAX)
        return -E2BIG;
    if (f->n == f->capacity) {
        size_t capacity = f->capacity ? 2 * f->capacity : 256;
        File *items = realloc(f->items, capacity * sizeof *items);
        if (!items)
            return -ENOMEM;
        f->items = items;
        f->capacity = capacity;
    }
    file.path = strdup(path);
    if (!file.path)
        return -ENOMEM;
    file_stamp(st, file.size, file.mtime);
    f->items[f->n++] = file;
    return 0;
}

static int compare(const void *a, const void *b)
{
    return strcmp(((const File *)a)->path, ((const File *)b)->path);
}

void files_sort(Files *f)
{
    size_t n = 0;

    if (f->n == 0)
        return;
    qsort(f->items, f->n, sizeof *f->items, compare);
    for (size_t i = 1; i < f->n; i++)
        if (strcmp(f->items[n].path, f->items[i].path) == 0)
            free(f->items[i].path);
        else
            f->items[++n] = f->items[i];
    f->n = n + 1;
}

const File *files_find(const Files *f, const char *path)
{
    const File key = {.path = (char *)path};

    return f->n > 0 ? bsearch(&key, f->items, f->n, sizeof *f->items, compare) : NULL;
}
