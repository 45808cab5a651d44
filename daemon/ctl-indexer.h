#pragma once

/*
 * Keeps a collection in step with files: hands in what is new or changed, in batches of which one
 * is under way while the next is made, and removes what is gone. The collection's own metadata say
 * what it holds already, so there is nothing beside it that could be wrong.
 */

#include "daemon/ctl-files.h"
#include "ipc/client-collection.h"

#define INDEXER_COLLECTION "files" /* unless another is named */

typedef struct IndexerEvents {
    /* This file could not be added, for this reason. */
    void (*failed)(void *userdata, const char *path, const char *reason);
    /* So many more of those handed in are through, good or not. */
    void (*advanced)(void *userdata, size_t n);
} IndexerEvents;

typedef struct IndexerCounts {
    size_t added, unchanged, removed;
} IndexerCounts;

typedef struct Indexer Indexer;

/* Makes the collection where it is missing. events and the client are borrowed. */
int indexer_new(Client *c, const char *collection, const IndexerEvents *events, void *userdata,
                Indexer **ret_indexer, ClientError *ret_error);
Indexer *indexer_free(Indexer *x);
DEFINE_CLEANUP(Indexer *, indexer_free);

/* All that follow: a negative errno when the service does not go on; indexer_error() says why. */

/* Marks the files that the collection holds as they are. */
int indexer_look(Indexer *x, Files *files);
/* Hands one in, now or with those that follow. */
int indexer_add(Indexer *x, const char *path);
/* Waits until all that was handed in is added, and on the disk. */
int indexer_finish(Indexer *x);
/* Removes one, which need not be there. */
int indexer_remove(Indexer *x, const char *path);
/* Removes what the collection holds below a folder and the disk does not. files, sorted: all that
 * is there; NULL: each is looked up. */
int indexer_prune(Indexer *x, const char *folder, const Files *files);

const ClientError *indexer_error(const Indexer *x);
const IndexerCounts *indexer_counts(const Indexer *x);
