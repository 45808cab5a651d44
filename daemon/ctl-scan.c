#include "daemon/ctl-scan.h"

#include <errno.h>
#include <string.h>

#include "daemon/ctl-file.h"
#include "daemon/ctl.h"

volatile int scan_stopped;

static void on_failed(void *userdata, const char *path, const char *reason)
{
    scan_fail(userdata, path, reason);
}

static void on_advanced(void *userdata, size_t n)
{
    Scan *s = userdata;

    progress_advance(&s->progress, n);
}

static const IndexerEvents events = {.failed = on_failed, .advanced = on_advanced};

int scan_init(Scan *s, Client *c, const char *collection, ClientError *ret_error)
{
    return indexer_new(c, collection, &events, s, &s->indexer, ret_error);
}

void scan_deinit(Scan *s)
{
    progress_clear(&s->progress);
    indexer_free(s->indexer);
    files_deinit(&s->files);
    for (size_t i = 0; i < s->n_failures; i++) {
        free(s->failures[i].path);
        free(s->failures[i].reason);
    }
    free(s->failures);
    *s = (Scan){0};
}

static void keep_failure(Scan *s, const char *path, const char *reason)
{
    ScanFailure *f = realloc(s->failures, (s->n_failures + 1) * sizeof *f);

    if (!f)
        return;
    s->failures = f;
    f += s->n_failures;
    *f = (ScanFailure){strdup(path), strdup(reason)};
    if (f->path && f->reason) {
        s->n_failures++;
        return;
    }
    free(f->path);
    free(f->reason);
}

void scan_fail(Scan *s, const char *path, const char *reason)
{
    char *printable;

    s->n_failed++;
    if (s->json) {
        keep_failure(s, path, reason);
        return;
    }
    if (s->quiet)
        return;
    progress_clear(&s->progress);
    printable = file_printable(path);
    (void)ctl_error(0, "%s: %s", printable ? printable : "?", reason);
    free(printable);
}

/* ---- the walk ---- */

static int on_folder(void *userdata, const char *path)
{
    Scan *s = userdata;

    if (scan_stopped)
        return -ECANCELED;
    return s->folder ? s->folder(s->userdata, path) : 0;
}

static int on_file(void *userdata, const char *path, const struct stat *st)
{
    Scan *s = userdata;
    int r;

    if (scan_stopped)
        return -ECANCELED;
    if (!file_media_type(path))
        return 0;
    r = files_add(&s->files, path, st);
    if (r == -E2BIG) {
        scan_fail(s, path, "left out with all that follow: a collection holds a million files");
        s->incomplete = true;
    } else if (r >= 0)
        progress_advance(&s->progress, 1);
    return r;
}

static void on_walk_failed(void *userdata, const char *path, int error)
{
    Scan *s = userdata;

    s->incomplete = true;
    scan_fail(s, path, error == ELOOP ? "too many folders in each other" : strerror(error));
}

static const WalkHandlers handlers = {on_folder, on_file, on_walk_failed};

static int walk_root(Scan *s, const char *root, bool *ret_there)
{
    struct stat st;
    int r;

    if (lstat(root, &st) == 0 && S_ISREG(st.st_mode) && !file_media_type(root)) {
        scan_fail(s, root, "no picture or recording, by its ending");
        return 0;
    }
    r = walk_tree(root, &handlers, s);

    *ret_there = r >= 0;
    if (r == -ECANCELED || r == -ENOMEM)
        return r;
    if (r < 0 && r != -E2BIG)
        on_walk_failed(s, root, -r);
    return 0;
}

/* ---- handing in ---- */

static int service_failed(Scan *s, int r)
{
    progress_clear(&s->progress);
    return r < 0 ? ctl_refused(r, indexer_error(s->indexer)) : 0;
}

static int add_files(Scan *s)
{
    size_t wanted = 0;
    int r = 0;

    for (size_t i = 0; i < s->files.n; i++)
        wanted += !s->files.items[i].known;
    if (wanted > 0)
        progress_begin(&s->progress, wanted);
    for (size_t i = 0; i < s->files.n && r >= 0 && !scan_stopped; i++)
        if (!s->files.items[i].known)
            r = indexer_add(s->indexer, s->files.items[i].path);
    /* What was handed in before a signal came is kept. */
    if (r >= 0)
        r = indexer_finish(s->indexer);
    if (r < 0)
        return r;
    progress_clear(&s->progress);
    return scan_stopped ? -ECANCELED : 0;
}

int scan_files(Scan *s)
{
    int r;

    files_sort(&s->files);
    r = indexer_look(s->indexer, &s->files);
    if (r >= 0)
        r = add_files(s);
    return r == -ECANCELED ? r : service_failed(s, r);
}

int scan_folders(Scan *s, char *const *roots, size_t n)
{
    _cleanup_free_ bool *there = calloc(n + 1, sizeof *there);
    int r = there ? 0 : -ENOMEM;

    files_deinit(&s->files);
    s->incomplete = false;
    progress_begin(&s->progress, 0);
    for (size_t i = 0; i < n && r >= 0; i++)
        r = walk_root(s, roots[i], &there[i]);
    progress_clear(&s->progress);
    if (r == -ENOMEM)
        return ctl_error(r, "out of memory");
    if (r < 0)
        return r;
    files_sort(&s->files);
    for (size_t i = 0; i < n && r >= 0; i++)
        if (there[i])
            r = indexer_prune(s->indexer, roots[i], s->incomplete ? NULL : &s->files);
    return r < 0 ? service_failed(s, r) : scan_files(s);
}
