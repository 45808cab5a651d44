#pragma once

/*
 * Folders watched with inotify, and all below them: collects what changed until it has been quiet
 * for a moment. Knows nothing of the service. When the kernel loses count, everything changed.
 */

#include <stdbool.h>
#include <stddef.h>

#include "engine/base/cleanup.h"

#define WATCHER_QUIET_MSEC  1000  /* a program that writes a file seldom pauses longer... */
#define WATCHER_LATE_MSEC   10000 /* ... but nothing waits longer than this */
#define WATCHER_CHANGES_MAX 16384 /* beyond, looking at everything is no more work */

typedef enum WatcherChange {
    CHANGE_FILE,   /* written, made, moved or removed */
    CHANGE_FOLDER, /* new, with whatever is in it, or gone with all of it */
} WatcherChange;

typedef struct Watcher Watcher;

int watcher_new(Watcher **ret_watcher);
Watcher *watcher_free(Watcher *w);
DEFINE_CLEANUP(Watcher *, watcher_free);

/* Watches this folder alone; a walk calls it for each. -ENOSPC: the kernel watches no more. */
int watcher_add(Watcher *w, const char *path);
/* Forgets what changed: everything will be looked at. */
void watcher_clear(Watcher *w);
/* To be polled for input. */
int watcher_fd(const Watcher *w);
/* Reads what happened. A new folder is a change of its own, not watched yet. */
int watcher_read(Watcher *w);
/* Milliseconds until the changes are due; -1: there are none. */
int watcher_due_msec(const Watcher *w);
/* The kernel lost count, or there is more than is kept. */
bool watcher_overflowed(const Watcher *w);
/* The next change, in order of names; false: no more. path is valid until the next call. */
bool watcher_next(Watcher *w, const char **ret_path, WatcherChange *ret_change);
