#pragma once

/*
 * A walk through a folder and all below it. Links are never followed, so there is no way round in
 * circles but through mounts, which are noticed. Hidden files and folders are left out, and so is
 * what a folder with a .nomedia or a CACHEDIR.TAG holds.
 */

#include <sys/stat.h>

#define WALK_DEPTH_MAX 128 /* each level holds a descriptor */

typedef struct WalkHandlers {
    /* Before what is in it; may be NULL. Negative ends the walk, which returns it. */
    int (*folder)(void *userdata, const char *path);
    /* A regular file. Negative as above. */
    int (*file)(void *userdata, const char *path, const struct stat *st);
    /* What cannot be looked at is left out, for this reason, an errno. */
    void (*failed)(void *userdata, const char *path, int error);
} WalkHandlers;

/* root: absolute. A file is walked as well. */
int walk_tree(const char *root, const WalkHandlers *handlers, void *userdata);
