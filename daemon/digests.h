#pragma once

/*
 * Digests of models that were loaded before, since to compute one reads all of a model's files.
 * Files are told apart by device, inode, size and time: they are replaced by rename, never written
 * in place. One thread.
 */

#include "daemon/models.h"
#include "ipc/limits.h"

#define DIGEST_SIZE 65 /* hexadecimal */

typedef struct DigestEntry {
    ModelFiles files;
    char digest[DIGEST_SIZE];
} DigestEntry;

typedef struct Digests {
    DigestEntry list[LIMIT_MODELS];
    size_t n, next; /* next: to be replaced once all are in use */
} Digests;

/* NULL: not known. */
const char *digests_find(const Digests *d, const ModelFiles *files);
void digests_keep(Digests *d, const ModelFiles *files, const char *digest);
