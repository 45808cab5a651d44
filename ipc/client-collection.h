#pragma once

/*
 * The client's end of collections: one function a method, as in client.h, and with the same
 * errors. A collection is known by its object path.
 */

#include "ipc/client.h"

typedef struct ClientPair {
    const char *key, *value;
} ClientPair;

/* A picture or recording to be added; everything is borrowed for the call. */
typedef struct ClientItem {
    const char *id;
    ClientMedium medium;
    const ClientPair *metadata;
    size_t n_metadata;
} ClientItem;

/* An item as the service knows it. */
typedef struct ClientEntry {
    char *id, *modality;
    double score;  /* of hits */
    uint32_t rank; /* of hits, from 1 */
    bool stale;    /* of Get: has to be added again to be found */
    Dict metadata;
} ClientEntry;

typedef struct ClientEntries {
    ClientEntry *items;
    size_t n;
} ClientEntries;

void client_entries_deinit(ClientEntries *e);

typedef struct ClientCollection {
    char *name, *path, *state;
    uint64_t items, stale;
    double progress;
} ClientCollection;

typedef struct ClientCollections {
    ClientCollection *items;
    size_t n;
} ClientCollections;

void client_collections_deinit(ClientCollections *c);
int client_list_collections(Client *c, ClientCollections *ret_collections, ClientError *ret_error);

/* -ENOENT: there is none of this name. */
int client_find_collection(Client *c, const char *name, char ret_path[CLIENT_PATH_MAX],
                           ClientError *ret_error);
/* Makes the collection where it is missing. */
int client_open_collection(Client *c, const char *name, char ret_path[CLIENT_PATH_MAX],
                           ClientError *ret_error);

/* One AddMedia under way, so that the next can be sent before this one is answered. */
typedef struct ClientAdding ClientAdding;
int client_add_begin(Client *c, const char *path, const ClientItem *items, size_t n,
                     ClientAdding **ret_adding, ClientError *ret_error);
/* Waits and frees; ret_status [n]: 0 or an ErrorCode, in order. */
int client_add_end(ClientAdding *adding, size_t n, uint32_t *ret_status, ClientError *ret_error);

/* Counts those that were there. */
int client_remove(Client *c, const char *path, const char *const *ids, size_t n,
                  uint32_t *ret_removed, ClientError *ret_error);
/* Those of the items that are there, in order. */
int client_get(Client *c, const char *path, const char *const *ids, size_t n,
               ClientEntries *ret_entries, ClientError *ret_error);
/* Identifiers in the order of their bytes behind `after`, which may be empty: at most limit. */
int client_list(Client *c, const char *path, const char *after, uint32_t limit,
                ClientEntries *ret_entries, ClientError *ret_error);
int client_sync(Client *c, const char *path, ClientError *ret_error);

typedef struct ClientQuery {
    const char *text;           /* or... */
    const ClientMedium *medium; /* ...the picture or recording to compare with */
    uint32_t limit;
    double min_score; /* 0: any */
} ClientQuery;

int client_search(Client *c, const char *path, const ClientQuery *query, ClientEntries *ret_hits,
                  Dict *ret_info, ClientError *ret_error);
