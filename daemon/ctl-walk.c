#include "daemon/ctl-walk.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdbool.h>
#include <string.h>

#include "engine/base/cleanup.h"

typedef struct Walker {
    const WalkHandlers *handlers;
    void *userdata;
    char path[PATH_MAX];
} Walker;

/* A folder that the walk is in, and those above it. */
typedef struct Level {
    const struct Level *up;
    unsigned depth;
    size_t length; /* of its path */
    dev_t device;
    ino_t inode;
} Level;

static int walk_folder(Walker *w, const Level *up, int parent, const char *name, size_t length);

static void report(Walker *w, int error)
{
    w->handlers->failed(w->userdata, w->path, error);
}

/* Adds a name to the path of the level; 0: there is no room for it. */
static size_t path_append(Walker *w, size_t length, const char *name)
{
    size_t n = strlen(name);

    if (length + 1 + n >= sizeof w->path)
        return 0;
    if (w->path[length - 1] != '/')
        w->path[length++] = '/';
    memcpy(w->path + length, name, n + 1);
    return length + n;
}

static int walk_entry(Walker *w, const Level *level, int folder, const char *name)
{
    size_t length = path_append(w, level->length, name);
    struct stat st;
    int r = 0;

    if (length == 0)
        report(w, ENAMETOOLONG);
    else if (fstatat(folder, name, &st, AT_SYMLINK_NOFOLLOW) < 0) {
        if (errno != ENOENT) /* gone since it was listed */
            report(w, errno);
    } else if (S_ISDIR(st.st_mode))
        r = walk_folder(w, level, folder, name, length);
    else if (S_ISREG(st.st_mode))
        r = w->handlers->file(w->userdata, w->path, &st);
    w->path[level->length] = '\0';
    return r;
}

static bool is_left_out(int folder)
{
    return faccessat(folder, ".nomedia", F_OK, AT_SYMLINK_NOFOLLOW) == 0 ||
           faccessat(folder, "CACHEDIR.TAG", F_OK, AT_SYMLINK_NOFOLLOW) == 0;
}

static bool is_circle(const Level *level)
{
    for (const Level *l = level->up; l; l = l->up)
        if (l->device == level->device && l->inode == level->inode)
            return true;
    return false;
}

static int walk_entries(Walker *w, const Level *level, DIR *stream)
{
    struct dirent *entry;
    int r = 0;

    do {
        errno = 0;
        entry = readdir(stream);
        if (!entry && errno)
            report(w, errno);
        else if (entry && entry->d_name[0] != '.')
            r = walk_entry(w, level, dirfd(stream), entry->d_name);
    } while (entry && r >= 0);
    return r;
}

static int walk_folder(Walker *w, const Level *up, int parent, const char *name, size_t length)
{
    Level level = {.up = up, .depth = up ? up->depth + 1 : 0, .length = length};
    _cleanup_close_ int fd = -1;
    struct stat st;
    DIR *stream;
    int r;

    if (level.depth > WALK_DEPTH_MAX) {
        report(w, ELOOP);
        return 0;
    }
    fd = openat(parent, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0 || fstat(fd, &st) < 0) {
        report(w, errno);
        return 0;
    }
    level.device = st.st_dev;
    level.inode = st.st_ino;
    if (is_circle(&level) || is_left_out(fd))
        return 0;
    r = w->handlers->folder ? w->handlers->folder(w->userdata, w->path) : 0;
    if (r < 0)
        return r;
    stream = fdopendir(fd);
    if (!stream)
        return -errno;
    (void)steal_fd(&fd);
    r = walk_entries(w, &level, stream);
    closedir(stream);
    return r;
}

int walk_tree(const char *root, const WalkHandlers *handlers, void *userdata)
{
    Walker w = {.handlers = handlers, .userdata = userdata};
    size_t length = strlen(root);
    struct stat st;

    if (length == 0 || length >= sizeof w.path)
        return -ENAMETOOLONG;
    memcpy(w.path, root, length + 1);
    if (lstat(root, &st) < 0)
        return -errno;
    if (S_ISREG(st.st_mode))
        return handlers->file(userdata, root, &st);
    if (!S_ISDIR(st.st_mode))
        return -ENOTDIR;
    return walk_folder(&w, NULL, AT_FDCWD, root, length);
}
