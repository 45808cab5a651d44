#include "daemon/catalog.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <time.h>

#include "daemon/runtime.h"
#include "encoders/encoder.h"

#define SETTLE_USEC 200000 /* a package brings several files */

#define EVENTS (IN_CREATE | IN_CLOSE_WRITE | IN_MOVED_TO | IN_MOVED_FROM | IN_DELETE | IN_ONLYDIR)

/* files says whether they are those that the digest is of. */
typedef struct Entry {
    ServerModel model;
    ModelFiles files;
} Entry;

struct Catalog {
    sd_event *event;
    const ModelFolders *folders;
    sd_event_source *watches[MODEL_FOLDERS_MAX];
    sd_event_source *inner[LIMIT_MODELS]; /* of folders that are a model or may become one */
    size_t n_inner;
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

static void inner_forget(Catalog *c)
{
    for (size_t i = 0; i < c->n_inner; i++)
        sd_event_source_disable_unref(c->inner[i]);
    c->n_inner = 0;
}

Catalog *catalog_free(Catalog *c)
{
    if (!c)
        return NULL;
    for (size_t i = 0; i < MODEL_FOLDERS_MAX; i++)
        sd_event_source_disable_unref(c->watches[i]);
    inner_forget(c);
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

/* A model, unless there is no room or one of its name came before. What was learnt of the same
 * files is kept. */
static void add_model(Catalog *c, const Entry *before, size_t n_before, const char *name,
                      const ModelFiles *files)
{
    Entry *e = &c->entries[c->n];
    const Entry *old;

    if (c->n == LIMIT_MODELS)
        return;
    *e = (Entry){.model.state = "installed", .files = *files};
    if (!model_name(name, e->model.name, sizeof e->model.name) ||
        entry_find(c->entries, c->n, e->model.name))
        return;
    old = entry_find((Entry *)before, n_before, e->model.name);
    if (old && model_files_same(&old->files, &e->files))
        e->model = old->model;
    e->model.bytes = files->bytes;
    c->n++;
}

/* Files of a model may come one by one. */
static void watch_inner(Catalog *c, const char *folder, const struct dirent *d)
{
    _cleanup_free_ char *path = NULL;

    if (c->n_inner == LIMIT_MODELS || *d->d_name == '.' ||
        (d->d_type != DT_DIR && d->d_type != DT_LNK && d->d_type != DT_UNKNOWN) ||
        asprintf(&path, "%s/%s", folder, d->d_name) < 0)
        return;
    if (sd_event_add_inotify(c->event, &c->inner[c->n_inner], path, EVENTS, on_folder, c) >= 0)
        c->n_inner++;
}

/* Files before folders: of one name the file is taken. */
static void add_folder(Catalog *c, const Entry *before, size_t n_before, const char *path)
{
    DIR *folder = opendir(path);
    ModelFiles files;
    struct dirent *d;

    if (!folder)
        return;
    while ((d = readdir(folder))) {
        if (model_files(dirfd(folder), d->d_name, &files) && !files.folder)
            add_model(c, before, n_before, d->d_name, &files);
        watch_inner(c, path, d);
    }
    rewinddir(folder);
    while ((d = readdir(folder)))
        if (model_files(dirfd(folder), d->d_name, &files) && files.folder)
            add_model(c, before, n_before, d->d_name, &files);
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
    ModelFiles files;

    if (!before)
        return; /* what is known stays */
    memcpy(before, c->entries, n_before * sizeof *before);
    c->n = 0;
    inner_forget(c);
    watch_folders(c);
    if (strchr(selected, '/') && model_files(AT_FDCWD, selected, &files))
        add_model(c, before, n_before, selected, &files);
    for (size_t i = 0; i < c->folders->n; i++)
        add_folder(c, before, n_before, c->folders->list[i]);
    qsort(c->entries, c->n, sizeof *c->entries, compare_entries);
}

static const char *state_of(const ModelStatus *status)
{
    return !status                           ? "installed"
           : status->state == WORKER_LOADING ? "loading"
           : status->state == WORKER_READY   ? "ready"
           : status->state == WORKER_FAILED  ? "failed"
                                             : "installed";
}

static void model_fill(ServerModel *m, const ModelStatus *status)
{
    m->state = state_of(status);
    m->memory = 0;
    if (!status || status->state != WORKER_READY)
        return;
    strcpy(m->digest, status->digest);
    strcpy(m->family, status->family);
    m->senses = status->senses;
    m->dimension = status->senses ? SPACE_LENGTH : 0;
    m->context_length = status->context_length;
    m->memory = status->memory;
}

void catalog_tell(Catalog *c, const char *selected, const WorkerStatus *status, Server *server)
{
    char name[RUNTIME_NAME_SIZE];
    ServerModel models[LIMIT_MODELS];

    (void)model_name(selected, name, sizeof name);
    for (size_t i = 0; i < c->n; i++) {
        ServerModel *m = &c->entries[i].model;
        m->selected = strcmp(m->name, name) == 0;
        model_fill(m, model_status(status, m->name));
        models[i] = *m;
    }
    server_models_changed(server, models, c->n);
}
