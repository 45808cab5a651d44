#pragma once

/* Folders brought into a collection: walked, compared, handed in, and what is gone removed. */

#include "daemon/ctl-indexer.h"
#include "daemon/ctl-progress.h"
#include "daemon/ctl-walk.h"

typedef struct ScanFailure {
    char *path, *reason;
} ScanFailure;

typedef struct Scan {
    Indexer *indexer;
    Progress progress;
    ScanFailure *failures;       /* kept for JSON only */
    size_t n_failures, n_failed; /* n_failed: of files and folders, kept or not */
    bool json, quiet;            /* quiet: counted only */
    /* Of the watch: before the contents of each folder; NULL otherwise. */
    int (*folder)(void *userdata, const char *path);
    void *userdata;
    Files files;
    bool incomplete; /* something could not be looked at: what the walk has not seen may be there */
} Scan;

/* Set by a signal: no more is handed in. */
extern volatile int scan_stopped;

/* The indexer of the scan: its events are the scan's. */
int scan_init(Scan *s, Client *c, const char *collection, ClientError *ret_error);
void scan_deinit(Scan *s);
/* The words of a file that could not be taken, to standard error or into the JSON. */
void scan_fail(Scan *s, const char *path, const char *reason);

/* roots: absolute. -ECANCELED after scan_stopped; another negative errno when the service does
 * not go on. A root that is not there is reported as failed and nothing of it is removed. */
int scan_folders(Scan *s, char *const *roots, size_t n);
/* Hands in those of the files that are new or changed. */
int scan_files(Scan *s);
