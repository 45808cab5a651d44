#include "daemon/ctl-indexer.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <time.h>

#include "daemon/ctl-file.h"
#include "ipc/error.h"

#define BATCH_ITEMS    LIMIT_MEDIA_ITEMS
#define BATCH_BYTES    (32u << 20) /* two of them stay far from what one user may have queued */
#define BATCHES        2           /* one is decoded and embedded while the next is made */
#define LOOK_ITEMS     256
#define LIST_ITEMS     1000
#define RETRIES        8
#define RETRY_MSEC     100 /* doubled every time: 25 s in all */
#define METADATA_PAIRS 3

/* A file on its way. */
typedef struct Parcel {
    char *path, *uri;
    char id[FILE_ID_SIZE], size[24], mtime[40];
    ClientPair metadata[METADATA_PAIRS];
    int fd;
} Parcel;

typedef struct Batch {
    Parcel parcels[BATCH_ITEMS];
    size_t n;
    uint64_t bytes;
    ClientAdding *adding; /* NULL: still being filled */
} Batch;

struct Indexer {
    Client *client;
    const IndexerEvents *events;
    void *userdata;
    char path[CLIENT_PATH_MAX];
    Batch batches[BATCHES];
    size_t filling; /* the other one is under way, or empty */
    IndexerCounts counts;
    ClientError error;
};

static void parcel_deinit(Parcel *p)
{
    free(p->path);
    free(p->uri);
    if (p->fd >= 0)
        close(p->fd);
}

static void batch_clear(Batch *b)
{
    uint32_t status[BATCH_ITEMS];
    ClientError error;

    if (b->adding)
        (void)client_add_end(b->adding, b->n, status, &error);
    for (size_t i = 0; i < b->n; i++)
        parcel_deinit(&b->parcels[i]);
    b->n = 0;
    b->bytes = 0;
    b->adding = NULL;
}

int indexer_new(Client *c, const char *collection, const IndexerEvents *events, void *userdata,
                Indexer **ret_indexer, ClientError *ret_error)
{
    _cleanup_(indexer_freep) Indexer *x = calloc(1, sizeof *x);
    int r;

    if (!x) {
        *ret_error = (ClientError){"NoMemory", "out of memory"};
        return -ENOMEM;
    }
    x->client = c;
    x->events = events;
    x->userdata = userdata;
    r = client_open_collection(c, collection, x->path, ret_error);
    if (r < 0)
        return r;
    *ret_indexer = steal_ptr(&x);
    return 0;
}

Indexer *indexer_free(Indexer *x)
{
    if (!x)
        return NULL;
    for (size_t i = 0; i < BATCHES; i++)
        batch_clear(&x->batches[i]);
    free(x);
    return NULL;
}

const ClientError *indexer_error(const Indexer *x)
{
    return &x->error;
}

const IndexerCounts *indexer_counts(const Indexer *x)
{
    return &x->counts;
}

static int fail_memory(Indexer *x)
{
    x->error = (ClientError){"NoMemory", "out of memory"};
    return -ENOMEM;
}

/* ---- what is there already ---- */

/* Files from first on, together with their identifiers. */
typedef struct Look {
    char *uris[LOOK_ITEMS];
    char ids[LOOK_ITEMS][FILE_ID_SIZE];
    const char *order[LOOK_ITEMS];
    size_t n;
} Look;

static void look_deinit(Look *l)
{
    for (size_t i = 0; i < l->n; i++)
        free(l->uris[i]);
}

static bool is_unchanged(const ClientEntry *e, const char *uri, const File *file)
{
    return !e->stale && strcmp(dict_text(&e->metadata, "uri"), uri) == 0 &&
           strcmp(dict_text(&e->metadata, "size"), file->size) == 0 &&
           strcmp(dict_text(&e->metadata, "mtime"), file->mtime) == 0;
}

static int look_some(Indexer *x, File *files, size_t n)
{
    _cleanup_(look_deinit) Look l = {.n = 0};
    _cleanup_(client_entries_deinit) ClientEntries found = {0};
    int r;

    for (; l.n < n; l.n++) {
        l.uris[l.n] = file_uri(files[l.n].path);
        if (!l.uris[l.n])
            return fail_memory(x);
        file_id(l.uris[l.n], l.ids[l.n]);
        l.order[l.n] = l.ids[l.n];
    }
    r = client_get(x->client, x->path, l.order, n, &found, &x->error);
    if (r < 0)
        return r;
    /* Those that are there come back in the order asked for. */
    for (size_t i = 0, at = 0; i < n && at < found.n; i++)
        if (strcmp(l.ids[i], found.items[at].id) == 0) {
            files[i].known = is_unchanged(&found.items[at++], l.uris[i], &files[i]);
            x->counts.unchanged += files[i].known;
        }
    return 0;
}

int indexer_look(Indexer *x, Files *files)
{
    for (size_t i = 0; i < files->n; i += LOOK_ITEMS) {
        size_t left = files->n - i;
        int r = look_some(x, files->items + i, left < LOOK_ITEMS ? left : LOOK_ITEMS);
        if (r < 0)
            return r;
    }
    return 0;
}

/* ---- handing in ---- */

static void advanced(Indexer *x, size_t n)
{
    if (x->events->advanced)
        x->events->advanced(x->userdata, n);
}

static void failed(Indexer *x, const char *path, const char *reason)
{
    x->events->failed(x->userdata, path, reason);
}

/* What the status of an item means for the person whose file it is. */
static const char *status_words(uint32_t status)
{
    switch (status) {
    case ERROR_INVALID_ARGS:
        return "the service does not take its name";
    case ERROR_NO_MEMORY:
        return "the service ran out of memory";
    case ERROR_TIMEOUT:
        return "it took too long to read";
    case ERROR_QUOTA_EXCEEDED:
        return "no room: the collection or the queue is full";
    case ERROR_BUSY:
        return "the service was busy";
    case ERROR_TOO_LARGE:
        return "too large: more than 64 MiB, 30 s or 100 megapixels";
    case ERROR_TRUNCATED:
        return "too long";
    case ERROR_UNSUPPORTED_MEDIA:
        return "no picture or recording that can be read";
    case ERROR_DECODE_FAILED:
        return "damaged";
    case ERROR_BAD_DESCRIPTOR:
        return "not a file";
    default:
        return NULL;
    }
}

static void take_statuses(Indexer *x, const Batch *b, const uint32_t *status)
{
    char number[64];

    for (size_t i = 0; i < b->n; i++) {
        const char *words = status_words(status[i]);
        if (status[i] == 0) {
            x->counts.added++;
            continue;
        }
        snprintf(number, sizeof number, "refused: %s", error_name(status[i]));
        failed(x, b->parcels[i].path, words ? words : number);
    }
}

static int batch_send(Indexer *x, Batch *b)
{
    ClientItem items[BATCH_ITEMS];

    for (size_t i = 0; i < b->n; i++) {
        Parcel *p = &b->parcels[i];
        items[i] =
            (ClientItem){p->id, {p->fd, file_media_type(p->path)}, p->metadata, METADATA_PAIRS};
        if (!items[i].medium.type)
            items[i].medium.type = "";
    }
    return client_add_begin(x->client, x->path, items, b->n, &b->adding, &x->error);
}

/* The service asked us to come back later. */
static bool is_passing(const ClientError *e)
{
    const char *dot = strrchr(e->name, '.'), *name = dot ? dot + 1 : e->name;

    return strcmp(name, "Busy") == 0 || strcmp(name, "LimitsExceeded") == 0 ||
           strcmp(name, "QuotaExceeded") == 0;
}

/* Waits for the batch under way, if there is one, and empties it. */
static int batch_wait(Indexer *x, Batch *b)
{
    uint32_t status[BATCH_ITEMS];
    int r = 0;

    if (!b->adding)
        return 0;
    for (unsigned i = 0;; i++) {
        r = client_add_end(b->adding, b->n, status, &x->error);
        b->adding = NULL;
        if (r >= 0 || i == RETRIES || !is_passing(&x->error))
            break;
        unsigned msec = RETRY_MSEC << i;
        nanosleep(&(struct timespec){msec / 1000, (long)(msec % 1000) * 1000000}, NULL);
        r = batch_send(x, b);
        if (r < 0)
            break;
    }
    if (r >= 0) {
        take_statuses(x, b, status);
        advanced(x, b->n);
    }
    batch_clear(b);
    return r;
}

/* Sends the batch that is being filled, and makes the other one ready to be filled. */
static int send_filling(Indexer *x)
{
    Batch *b = &x->batches[x->filling], *other = &x->batches[1 - x->filling];
    int r;

    if (b->n == 0)
        return 0;
    r = batch_send(x, b);
    if (r >= 0)
        r = batch_wait(x, other);
    x->filling = 1 - x->filling;
    return r;
}

/* Opens the file as it is now: it may have changed, or become something else, since the walk. */
static int parcel_open(const char *path, Parcel *ret_parcel, struct stat *ret_stat)
{
    _cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK | O_NOFOLLOW);
    Parcel p = {.fd = -1};

    if (fd < 0 || fstat(fd, ret_stat) < 0)
        return -errno;
    if (!S_ISREG(ret_stat->st_mode))
        return -EINVAL;
    p.path = strdup(path);
    p.uri = file_uri(path);
    if (!p.path || !p.uri) {
        parcel_deinit(&p);
        return -ENOMEM;
    }
    p.fd = steal_fd(&fd);
    file_id(p.uri, p.id);
    file_stamp(ret_stat, p.size, p.mtime);
    *ret_parcel = p;
    return 0;
}

int indexer_add(Indexer *x, const char *path)
{
    Batch *b = &x->batches[x->filling];
    Parcel *p = &b->parcels[b->n];
    struct stat st;
    int r = parcel_open(path, p, &st);

    if (r == -ENOMEM)
        return fail_memory(x);
    if (r < 0) {
        failed(x, path, r == -EINVAL ? "not a file any more" : strerror(-r));
        advanced(x, 1);
        return 0;
    }
    p->metadata[0] = (ClientPair){"uri", p->uri};
    p->metadata[1] = (ClientPair){"size", p->size};
    p->metadata[2] = (ClientPair){"mtime", p->mtime};
    b->n++;
    b->bytes += st.st_size < (off_t)LIMIT_MEDIA_BYTES ? (uint64_t)st.st_size : LIMIT_MEDIA_BYTES;
    return b->n == BATCH_ITEMS || b->bytes >= BATCH_BYTES ? send_filling(x) : 0;
}

int indexer_finish(Indexer *x)
{
    int r = send_filling(x);

    for (size_t i = 0; i < BATCHES && r >= 0; i++)
        r = batch_wait(x, &x->batches[i]);
    return r < 0 ? r : client_sync(x->client, x->path, &x->error);
}

/* ---- removing ---- */

static int remove_ids(Indexer *x, const char *const *ids, size_t n)
{
    uint32_t removed = 0;
    int r = n > 0 ? client_remove(x->client, x->path, ids, n, &removed, &x->error) : 0;

    x->counts.removed += removed;
    return r;
}

int indexer_remove(Indexer *x, const char *path)
{
    _cleanup_free_ char *uri = file_uri(path);
    char id[FILE_ID_SIZE];

    if (!uri)
        return fail_memory(x);
    file_id(uri, id);
    return remove_ids(x, (const char *const[]){id}, 1);
}

static bool is_gone(const char *path, const Files *files)
{
    struct stat st;

    if (files)
        return !files_find(files, path);
    if (lstat(path, &st) < 0)
        return errno == ENOENT || errno == ENOTDIR;
    return !S_ISREG(st.st_mode);
}

/* Whether the item of this URI lies below the folder of that URI, and is gone. */
static bool is_gone_below(const char *uri, const char *prefix, const Files *files)
{
    _cleanup_free_ char *path = NULL;

    if (strncmp(uri, prefix, strlen(prefix)) != 0)
        return false;
    path = file_path(uri);
    return path && is_gone(path, files);
}

/* Removes those of the entries, whose URIs are their identifiers or metadata, that are gone. */
static int remove_gone(Indexer *x, const ClientEntries *entries, bool hashed, const char *prefix,
                       const Files *files)
{
    _cleanup_free_ const char **ids = calloc(entries->n + 1, sizeof *ids);
    size_t n = 0;

    if (!ids)
        return fail_memory(x);
    for (size_t i = 0; i < entries->n; i++) {
        const ClientEntry *e = &entries->items[i];
        if (is_gone_below(hashed ? dict_text(&e->metadata, "uri") : e->id, prefix, files))
            ids[n++] = e->id;
    }
    return remove_ids(x, ids, n);
}

/* Looks the URIs of hashed identifiers up, and removes what is gone. */
static int remove_gone_hashed(Indexer *x, const ClientEntries *listed, const char *prefix,
                              const Files *files)
{
    _cleanup_(client_entries_deinit) ClientEntries found = {0};
    _cleanup_free_ const char **ids = calloc(listed->n + 1, sizeof *ids);
    int r;

    if (!ids)
        return fail_memory(x);
    for (size_t i = 0; i < listed->n; i++)
        ids[i] = listed->items[i].id;
    r = client_get(x->client, x->path, ids, listed->n, &found, &x->error);
    return r < 0 ? r : remove_gone(x, &found, true, prefix, files);
}

/* Goes through all identifiers that begin with `begin`. */
static int prune_from(Indexer *x, const char *begin, const char *prefix, const Files *files)
{
    char after[FILE_ID_SIZE];
    bool hashed = strcmp(begin, FILE_HASHED) == 0, more = true;

    snprintf(after, sizeof after, "%s", begin);
    while (more) {
        _cleanup_(client_entries_deinit) ClientEntries listed = {0};
        int r = client_list(x->client, x->path, after, LIST_ITEMS, &listed, &x->error);
        if (r < 0)
            return r;
        more = listed.n == LIST_ITEMS;
        while (listed.n > 0 && strncmp(listed.items[listed.n - 1].id, begin, strlen(begin)) != 0) {
            free(listed.items[--listed.n].id);
            more = false;
        }
        if (listed.n == 0)
            break;
        snprintf(after, sizeof after, "%s", listed.items[listed.n - 1].id);
        r = hashed ? remove_gone_hashed(x, &listed, prefix, files)
                   : remove_gone(x, &listed, false, prefix, files);
        if (r < 0)
            return r;
    }
    return 0;
}

int indexer_prune(Indexer *x, const char *folder, const Files *files)
{
    _cleanup_free_ char *uri = file_uri(folder), *prefix = NULL;
    int r = 0;

    if (!uri || asprintf(&prefix, "%s%s", uri, strcmp(folder, "/") == 0 ? "" : "/") < 0)
        return fail_memory(x);
    /* No identifier is longer, so none that is not hashed begins with a longer prefix. */
    if (strlen(prefix) < FILE_ID_SIZE)
        r = prune_from(x, prefix, prefix, files);
    return r < 0 ? r : prune_from(x, FILE_HASHED, prefix, files);
}
