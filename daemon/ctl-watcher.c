#include "daemon/ctl-watcher.h"

#include <errno.h>
#include <limits.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/inotify.h>
#include <time.h>

/* Closing after writing is when a file is whole; CREATE stands for folders, and for links made to
 * whole files. */
#define FOLDER_EVENTS                                                                              \
    (IN_CLOSE_WRITE | IN_CREATE | IN_DELETE | IN_MOVED_FROM | IN_MOVED_TO | IN_DELETE_SELF |       \
     IN_MOVE_SELF | IN_ONLYDIR | IN_DONT_FOLLOW | IN_EXCL_UNLINK)

typedef struct Change {
    char *path;
    WatcherChange change;
} Change;

struct Watcher {
    int fd;
    char **folders; /* [n_folders], by watch descriptor; NULL: not watched */
    size_t n_folders;
    Change *changes; /* [n_changes], as they came; sorted for watcher_next() */
    size_t n_changes, taken;
    bool overflowed, sorted;
    uint64_t first_msec, last_msec;
};

static uint64_t now_msec(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

int watcher_new(Watcher **ret_watcher)
{
    _cleanup_(watcher_freep) Watcher *w = calloc(1, sizeof *w);

    if (!w)
        return -ENOMEM;
    w->fd = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
    if (w->fd < 0)
        return -errno;
    w->changes = calloc(WATCHER_CHANGES_MAX, sizeof *w->changes);
    if (!w->changes)
        return -ENOMEM;
    *ret_watcher = steal_ptr(&w);
    return 0;
}

void watcher_clear(Watcher *w)
{
    for (size_t i = 0; i < w->n_changes; i++)
        free(w->changes[i].path);
    w->n_changes = w->taken = 0;
    w->overflowed = w->sorted = false;
}

Watcher *watcher_free(Watcher *w)
{
    if (!w)
        return NULL;
    if (w->changes)
        watcher_clear(w);
    free(w->changes);
    for (size_t i = 0; i < w->n_folders; i++)
        free(w->folders[i]);
    free(w->folders);
    if (w->fd >= 0)
        close(w->fd);
    free(w);
    return NULL;
}

int watcher_fd(const Watcher *w)
{
    return w->fd;
}

bool watcher_overflowed(const Watcher *w)
{
    return w->overflowed;
}

/* Room for this watch descriptor; the kernel counts them up from 1. */
static int folders_reserve(Watcher *w, size_t wd)
{
    size_t n = w->n_folders ? w->n_folders : 64;
    char **folders;

    if (wd < w->n_folders)
        return 0;
    while (n <= wd)
        n *= 2;
    folders = realloc(w->folders, n * sizeof *folders);
    if (!folders)
        return -ENOMEM;
    memset(folders + w->n_folders, 0, (n - w->n_folders) * sizeof *folders);
    w->folders = folders;
    w->n_folders = n;
    return 0;
}

int watcher_add(Watcher *w, const char *path)
{
    int wd = inotify_add_watch(w->fd, path, FOLDER_EVENTS);
    char *copy;

    if (wd < 0)
        return -errno;
    if (folders_reserve(w, (size_t)wd) < 0 || !(copy = strdup(path))) {
        (void)inotify_rm_watch(w->fd, wd);
        return -ENOMEM;
    }
    free(w->folders[wd]); /* the same folder by another name, or moved */
    w->folders[wd] = copy;
    return 0;
}

static bool is_below(const char *path, const char *folder)
{
    size_t n = strlen(folder);

    return strncmp(path, folder, n) == 0 && (path[n] == '/' || path[n] == '\0');
}

/* A folder that has moved is watched on under a name that is no longer its own. */
static void watches_drop(Watcher *w, const char *folder)
{
    for (size_t wd = 0; wd < w->n_folders; wd++)
        if (w->folders[wd] && is_below(w->folders[wd], folder)) {
            (void)inotify_rm_watch(w->fd, (int)wd);
            free(w->folders[wd]);
            w->folders[wd] = NULL;
        }
}

/* Notes a change; takes the path. */
static void change_add(Watcher *w, char *path, WatcherChange change)
{
    w->last_msec = now_msec();
    if (w->n_changes == 0 && !w->overflowed)
        w->first_msec = w->last_msec;
    if (!path || w->overflowed || w->n_changes == WATCHER_CHANGES_MAX) {
        free(path);
        w->overflowed = true;
        return;
    }
    w->changes[w->n_changes++] = (Change){path, change};
}

static void on_event(Watcher *w, const struct inotify_event *e)
{
    const char *folder = e->wd >= 0 && (size_t)e->wd < w->n_folders ? w->folders[e->wd] : NULL;
    char *path = NULL;

    if (e->mask & IN_Q_OVERFLOW) {
        change_add(w, NULL, CHANGE_FOLDER);
        return;
    }
    if (!folder)
        return;
    if (e->mask & IN_IGNORED) {
        free(w->folders[e->wd]);
        w->folders[e->wd] = NULL;
        return;
    }
    if (e->mask & (IN_DELETE_SELF | IN_MOVE_SELF)) { /* says of a root what its parent would */
        change_add(w, strdup(folder), CHANGE_FOLDER);
        return;
    }
    if (e->len == 0 || e->name[0] == '.') /* hidden, as for the walk */
        return;
    if (asprintf(&path, "%s%s%s", folder, strcmp(folder, "/") == 0 ? "" : "/", e->name) < 0)
        path = NULL;
    if (path && (e->mask & IN_ISDIR) && (e->mask & (IN_MOVED_FROM | IN_DELETE)))
        watches_drop(w, path);
    change_add(w, path, e->mask & IN_ISDIR ? CHANGE_FOLDER : CHANGE_FILE);
}

int watcher_read(Watcher *w)
{
    char buffer[65536] __attribute__((aligned(__alignof__(struct inotify_event))));
    ssize_t n;

    for (;;) {
        n = read(w->fd, buffer, sizeof buffer);
        if (n <= 0)
            return n == 0 || errno == EAGAIN || errno == EINTR ? 0 : -errno;
        for (char *p = buffer; p < buffer + n;) {
            const struct inotify_event *e = (const struct inotify_event *)p;
            on_event(w, e);
            p += sizeof *e + e->len;
        }
    }
}

int watcher_due_msec(const Watcher *w)
{
    uint64_t now = now_msec(), due = w->last_msec + WATCHER_QUIET_MSEC;

    if (w->n_changes == 0 && !w->overflowed)
        return -1;
    if (due > w->first_msec + WATCHER_LATE_MSEC)
        due = w->first_msec + WATCHER_LATE_MSEC;
    return due > now ? (int)(due - now) : 0;
}

static int compare(const void *a, const void *b)
{
    const Change *x = a, *y = b;
    int r = strcmp(x->path, y->path);

    return r ? r : (int)y->change - (int)x->change;
}

bool watcher_next(Watcher *w, const char **ret_path, WatcherChange *ret_change)
{
    if (!w->sorted && w->n_changes > 0)
        qsort(w->changes, w->n_changes, sizeof *w->changes, compare);
    w->sorted = true;
    /* One after the other, of each name only the first. */
    while (w->taken < w->n_changes) {
        size_t i = w->taken++;
        if (i > 0 && strcmp(w->changes[i].path, w->changes[i - 1].path) == 0)
            continue;
        *ret_path = w->changes[i].path;
        *ret_change = w->changes[i].change;
        return true;
    }
    watcher_clear(w);
    return false;
}
