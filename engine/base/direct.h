#pragma once

/*
 * A file read around the page cache, where its file system lets that be: what is read takes the
 * memory that it is read into, and no more.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct DirectFile {
    int fd;
    size_t block; /* offsets, sizes and addresses of reads are multiples of it */
    bool direct;  /* false: reads pass through the page cache */
} DirectFile;

#define DIRECT_BLOCK_MAX 4096

/* A descriptor of its own for the file of `origin`, whose flags are not ours to change. */
int direct_open(int origin, DirectFile *ret_file);
void direct_close(DirectFile *f);
/* Returns how many bytes there were, fewer than `size` at the end of the file only, or a negative
 * errno. */
int64_t direct_read(const DirectFile *f, uint64_t offset, void *to, size_t size);
/* Lets go of what reading this range left in the page cache, unless somebody maps it. */
void direct_forget(const DirectFile *f, uint64_t offset, size_t size);
