#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <string.h>

#include <systemd/sd-daemon.h>

#include "daemon/ctl-file.h"
#include "daemon/ctl-scan.h"
#include "daemon/ctl-watcher.h"
#include "daemon/ctl.h"

#define LOOK_AGAIN_MSEC (600 * 1000) /* where the kernel does not watch every folder */

typedef struct Watch {
    Scan scan;
    Watcher *watcher;
    char **roots;
    size_t n_roots;
    bool partial; /* some folder is not watched */
} Watch;

/* The scan comes into a folder: watched first, so that nothing falls between. */
static int on_folder(void *userdata, const char *path)
{
    Watch *w = userdata;
    int r = watcher_add(w->watcher, path);

    if (r == -ENOSPC) {
        if (!w->partial)
            (void)ctl_error(r, "the kernel watches no more folders: raise "
                               "fs.inotify.max_user_watches; until then everything is looked at "
                               "every 10 minutes");
        w->partial = true;
    } else if (r == -ENOMEM)
        return r;
    /* Anything else: gone again, or not ours to read, which the walk reports. */
    return 0;
}

static void say(const Watch *w, const char *doing)
{
    const IndexerCounts *c = indexer_counts(w->scan.indexer);

    (void)sd_notifyf(0, "STATUS=%s: %zu added, %zu removed, %zu failed since the start.", doing,
                     c->added, c->removed, w->scan.n_failed);
}

static int look_at_everything(Watch *w)
{
    int r;

    watcher_clear(w->watcher);
    say(w, "Looking at everything");
    r = scan_folders(&w->scan, w->roots, w->n_roots);
    say(w, "Watching");
    return r;
}

/* A folder that came, or went with all of it. */
static int take_folder(Watch *w, const char *path)
{
    char *roots[] = {(char *)path};
    struct stat st;
    int r;

    if (lstat(path, &st) == 0 && S_ISDIR(st.st_mode))
        return scan_folders(&w->scan, roots, 1);
    r = indexer_prune(w->scan.indexer, path, NULL);
    return r < 0 ? ctl_refused(r, indexer_error(w->scan.indexer)) : 0;
}

/* A file that came, changed or went: kept in the list of the scan, or removed. */
static int take_file(Watch *w, const char *path)
{
    struct stat st;
    int r;

    if (!file_media_type(path))
        return 0;
    if (lstat(path, &st) == 0 && S_ISREG(st.st_mode)) {
        r = files_add(&w->scan.files, path, &st);
        return r == -ENOMEM ? ctl_error(r, "out of memory") : 0;
    }
    r = indexer_remove(w->scan.indexer, path);
    return r < 0 ? ctl_refused(r, indexer_error(w->scan.indexer)) : 0;
}

/* Files first, all in one batch or more; folders scan with lists of their own. */
static int take_changes(Watch *w)
{
    _cleanup_free_ char **folders = NULL;
    size_t n_folders = 0;
    WatcherChange change;
    const char *path;
    int r = 0;

    if (watcher_overflowed(w->watcher))
        return look_at_everything(w);
    folders = calloc(WATCHER_CHANGES_MAX, sizeof *folders);
    if (!folders)
        return ctl_error(-ENOMEM, "out of memory");
    files_deinit(&w->scan.files);
    while (r >= 0 && watcher_next(w->watcher, &path, &change))
        if (change == CHANGE_FILE)
            r = take_file(w, path);
        else if (!(folders[n_folders] = strdup(path)))
            r = ctl_error(-ENOMEM, "out of memory");
        else
            n_folders++;
    if (r >= 0)
        r = scan_files(&w->scan);
    for (size_t i = 0; i < n_folders; i++) {
        if (r >= 0)
            r = take_folder(w, folders[i]);
        free(folders[i]);
    }
    say(w, "Watching");
    return r;
}

/* Waits for the kernel, a signal or the time; a signal comes while we wait or is seen before. */
static int wait_for_changes(const Watch *w, int due)
{
    struct pollfd p = {.fd = watcher_fd(w->watcher), .events = POLLIN};
    int msec = due < 0 && w->partial ? LOOK_AGAIN_MSEC : due;
    const struct timespec limit = {msec / 1000, (long)(msec % 1000) * 1000000};
    sigset_t stopping, before;
    int n = -1;

    sigemptyset(&stopping);
    sigaddset(&stopping, SIGINT);
    sigaddset(&stopping, SIGTERM);
    sigprocmask(SIG_BLOCK, &stopping, &before);
    errno = EINTR;
    if (!scan_stopped)
        n = ppoll(&p, 1, msec < 0 ? NULL : &limit, &before);
    n = n < 0 ? -errno : n;
    sigprocmask(SIG_SETMASK, &before, NULL);
    return n;
}

static int watch_forever(Watch *w)
{
    int r = look_at_everything(w);

    (void)sd_notify(0, "READY=1");
    while (r >= 0 && !scan_stopped) {
        int due = watcher_due_msec(w->watcher);
        int n = wait_for_changes(w, due);
        if (n < 0 && n != -EINTR)
            return ctl_error(n, "poll: %s", strerror(-n));
        if (n > 0)
            r = watcher_read(w->watcher);
        else if (n == 0)
            r = due < 0 ? look_at_everything(w) : take_changes(w);
    }
    return r == -ECANCELED ? 0 : r;
}

/* $XDG_CONFIG_HOME/user-dirs.dirs says where people keep what; without it they are in English. */
static char *user_folder(const char *key, const char *otherwise)
{
    const char *home = getenv("HOME"), *config = getenv("XDG_CONFIG_HOME");
    char name[PATH_MAX], line[PATH_MAX], value[PATH_MAX], format[64];
    char *path = NULL;
    FILE *file;

    if (!home)
        return NULL;
    snprintf(name, sizeof name, "%s%s/user-dirs.dirs", config ? config : home,
             config ? "" : "/.config");
    snprintf(format, sizeof format, "XDG_%s_DIR=\"$HOME/%%4000[^\"\n]", key);
    file = fopen(name, "re");
    while (file && !path && fgets(line, sizeof line, file))
        if (sscanf(line, format, value) == 1 && asprintf(&path, "%s/%s", home, value) < 0)
            path = NULL;
    if (file)
        fclose(file);
    if (!path && asprintf(&path, "%s/%s", home, otherwise) < 0)
        path = NULL;
    return path;
}

/* The folders of pictures and of music, those that there are. */
static int default_roots(char ***ret_roots, size_t *ret_n)
{
    static const char *const known[][2] = {{"PICTURES", "Pictures"}, {"MUSIC", "Music"}};
    char **roots = calloc(3, sizeof *roots);
    size_t n = 0;

    for (size_t i = 0; roots && i < 2; i++) {
        _cleanup_free_ char *folder = user_folder(known[i][0], known[i][1]);
        if (folder && (roots[n] = realpath(folder, NULL)))
            n++;
    }
    if (n == 0) {
        free(roots);
        return ctl_error(-ENOENT, "there is no folder of pictures or music: name the folders");
    }
    *ret_roots = roots;
    *ret_n = n;
    return 0;
}

int ctl_watch(Client *c, const CtlOptions *o)
{
    Watch w = {.n_roots = o->n_arguments};
    ClientError error;
    int r = o->n_arguments > 0 ? ctl_roots(o, &w.roots) : default_roots(&w.roots, &w.n_roots);

    if (r < 0)
        return r == -EINVAL ? -EIO : r;
    /* Names of files are not for the journal. */
    w.scan.quiet = getenv("JOURNAL_STREAM") != NULL;
    w.scan.folder = on_folder;
    w.scan.userdata = &w;
    r = watcher_new(&w.watcher);
    if (r < 0)
        (void)ctl_error(r, "inotify: %s", strerror(-r));
    else {
        r = scan_init(&w.scan, c, o->collection, &error);
        if (r < 0)
            (void)ctl_refused(r, &error);
    }
    if (r >= 0) {
        ctl_stop_on_signals();
        r = watch_forever(&w);
    }
    scan_deinit(&w.scan);
    watcher_free(w.watcher);
    ctl_roots_free(w.roots);
    return r;
}
