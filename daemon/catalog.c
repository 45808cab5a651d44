#include "daemon/catalog.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <time.h>

#include "daemon/runtime.h"
#include "encoders/encoder.h"

#define SETTLE_USEC 200000 /* a package brings several files */

#define EVENTS (IN_CREATE | IN_CLOSE_WRITE | IN_MOVED_TO | IN_MOVED_FROM | IN_DELETE | IN_ONLYDIR)

/* file says whether it is the one that the digest is of. */
typedef struct Entry {
    ServerModel model;
    struct stat file;
} Entry;

struct Catalog {
    sd_event *event;
    const ModelFolders *folders;
    sd_event_source *watches[MODEL_FOLDERS_MAX];
    sd_event_source *settle;
    void (*changed)(void *userdata);
    void *userdata;
    Entry entries[LIMIT_MODELS];
    size_t n;
};

static int on_settled(sd_event_source *source, uint64_t usec, void *userdata)
{
    Catalog *c = userdata;

    (void)source, (void)usec;
    c->changed(c->userdata);
    return 0;
}

static int on_folder(sd_event_source *source, const struct inotify_event *event, void *userdata)
{
    Catalog *c = userdata;

    (void)source, (void)event;
    sd_event_source_set_time_relative(c->settle, SETTLE_USEC);
    sd_event_source_set_enabled(c->settle, SD_EVENT_ONESHOT);
    return 0;
}

int catalog_new(sd_event *event, const ModelFolders *folders, void (*changed)(void *userdata),
                void *userdata, Catalog **ret_catalog)
{
    _cleanup_(catalog_freep) Catalog *c = calloc(1, sizeof *c);
    int r;

    if (!c)
        return -ENOMEM;
    *c = (Catalog){.event = event, .folders = folders, .changed = changed, .userdata = userdata};
    r = sd_event_add_time_relative(event, &c->settle, CLOCK_MONOTONIC, 0, 0, on_settled, c);
    if (r >= 0)
        r = sd_event_source_set_enabled(c->settle, SD_EVENT_OFF);
    if (r < 0)
        return r;
    *ret_catalog = steal_ptr(&c);
    return 0;
}

Catalog *catalog_free(Catalog *c)
{
    if (!c)
        return NULL;
    for (size_t i = 0; i < MODEL_FOLDERS_MAX; i++)
        sd_event_source_disable_unref(c->watches[i]);
    sd_event_source_disable_unref(c->settle);
    free(c);
    return NULL;
}

static Entry *entry_find(Entry *entries, size_t n, const char *name)
{
    for (size_t i = 0; i < n; i++)
        if (strcmp(entries[i].model.name, name) == 0)
            return &entries[i];
    return NULL;
}

static bool same_file(const struct stat *a, const struct stat *b)
{
    return a->st_dev == b->st_dev && a->st_ino == b->st_ino && a->st_size == b->st_size &&
           a->st_mtim.tv_sec == b->st_mtim.tv_sec && a->st_mtim.tv_nsec == b->st_mtim.tv_nsec;
}

/* A file, unless there is no room or one of its name came before. What was learnt of the same file
 * is kept. */
static void add_file(Catalog *c, const Entry *before, size_t n_before, int folder, const char *file)
{
    Entry *e = &c->entries[c->n];
    const Entry *old;

    if (c->n == LIMIT_MODELS)
        return;
    *e = (Entry){.model.state = "installed"};
    if (!model_name(file, e->model.name, sizeof e->model.name) ||
        entry_find(c->entries, c->n, e->model.name) || fstatat(folder, file, &e->file, 0) < 0 ||
        !S_ISREG(e->file.st_mode))
        return;
    old = entry_find((Entry *)before, n_before, e->model.name);
    if (old && same_file(&old->file, &e->file))
        e->model = old->model;
    e->model.bytes = (uint64_t)e->file.st_size;
    c->n++;
}

static void add_folder(Catalog *c, const Entry *before, size_t n_before, const char *path)
{
    DIR *folder = opendir(path);
    struct dirent *d;

    if (!folder)
        return;
    while ((d = readdir(folder)))
        if (model_is_file(d->d_name))
            add_file(c, before, n_before, dirfd(folder), d->d_name);
    closedir(folder);
}

/* A folder may have come since the last look. */
static void watch_folders(Catalog *c)
{
    for (size_t i = 0; i < c->folders->n; i++)
        if (!c->watches[i])
            (void)sd_event_add_inotify(c->event, &c->watches[i], c->folders->list[i], EVENTS,
                                       on_folder, c);
}

static int compare_entries(const void *a, const void *b)
{
    return strcmp(((const Entry *)a)->model.name, ((const Entry *)b)->model.name);
}

void catalog_scan(Catalog *c, const char *selected)
{
    size_t n_before = c->n;
    _cleanup_free_ Entry *before = calloc(n_before + 1, sizeof *before);

    if (!before)
        return; /* what is known stays */
    memcpy(before, c->entries, n_before * sizeof *before);
    c->n = 0;
    watch_folders(c);
    if (strchr(selected, '/'))
        add_file(c, before, n_before, AT_FDCWD, selected);
    for (size_t i = 0; i < c->folders->n; i++)
        add_folder(c, before, n_before, c->folders->list[i]);
    qsort(c->entries, c->n, sizeof *c->entries, compare_entries);
}

static const char *state_of(const ServerModel *m, const WorkerStatus *status)
{
    if (strcmp(m->name, status->model) != 0)
        return "installed";
    return status->state == WORKER_LOADING  ? "loading"
           : status->state == WORKER_READY  ? "ready"
           : status->state == WORKER_FAILED ? "failed"
                                            : "installed";
}

void catalog_tell(Catalog *c, const char *selected, const WorkerStatus *status, Server *server)
{
    char name[RUNTIME_NAME_SIZE];
    ServerModel models[LIMIT_MODELS];

    (void)model_name(selected, name, sizeof name);
    for (size_t i = 0; i < c->n; i++) {
        ServerModel *m = &c->entries[i].model;
        m->selected = strcmp(m->name, name) == 0;
        m->state = state_of(m, status);
        if (strcmp(m->state, "ready") == 0) {
            strcpy(m->digest, status->digest);
            m->dimension = SPACE_LENGTH;
            m->context_length = status->context_length;
        }
        models[i] = *m;
    }
    server_models_changed(server, models, c->n);
}
