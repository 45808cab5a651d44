#include "daemon/collections.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "daemon/collection.h"

#define OPEN_MAX_    8 /* databases open at a time */
#define SCAN_THREADS 2 /* of a search; more would only wait for memory */

typedef struct Open {
    uid_t uid;
    Index *index; /* NULL: free */
    uint64_t used;
} Open;

struct Collections {
    pthread_t thread;
    bool started;
    char *folder;
    unsigned cpu_mask;
    Pool *pool;
    Posts posts;

    pthread_mutex_t lock; /* of what follows */
    pthread_cond_t wake;
    JobList queue;
    bool stop;
    uint64_t turn;

    /* The thread's own */
    Open open[OPEN_MAX_];
    uint64_t n_uses;
};

/* The folder, with those above it that a fresh home may lack. */
static int folder_make(const char *folder)
{
    _cleanup_free_ char *path = strdup(folder);

    if (!path)
        return -ENOMEM;
    for (char *slash = strchr(path + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
        *slash = '\0';
        (void)mkdir(path, 0700);
        *slash = '/';
    }
    return mkdir(path, 0700) < 0 && errno != EEXIST ? -errno : 0;
}

/* Only who opens a collection gets a folder. */
static int open_index(Collections *c, uid_t uid, bool make, Index **ret_index)
{
    _cleanup_free_ char *path = NULL;
    int r;

    if (!c->folder)
        return make ? -EACCES : -ENOENT;
    r = make ? folder_make(c->folder) : 0;
    if (r < 0)
        return r;
    if (asprintf(&path, "%s/u%u", c->folder, uid) < 0) {
        path = NULL;
        return -ENOMEM;
    }
    if (!make && access(path, F_OK) < 0)
        return errno == ENOTDIR ? -ENOENT : -errno;
    return index_open(path, c->pool, c->cpu_mask, ret_index);
}

/* The uid's, or the place of the one used longest ago. */
static Open *open_slot(Collections *c, uid_t uid)
{
    Open *best = &c->open[0];

    for (size_t i = 0; i < OPEN_MAX_; i++)
        if (c->open[i].index && c->open[i].uid == uid)
            return &c->open[i];
        else if (!best->index || (c->open[i].index && c->open[i].used >= best->used))
            continue;
        else
            best = &c->open[i];
    return best;
}

/* One that was purged is let go of: what is there now may be another person's. */
static int index_of(Collections *c, uid_t uid, bool make, Index **ret_index)
{
    Open *o = open_slot(c, uid);
    int r = 0;

    if (o->index && (o->uid != uid || !index_is_current(o->index)))
        o->index = index_close(o->index);
    if (!o->index)
        r = open_index(c, uid, make, &o->index);
    if (r < 0)
        return r;
    o->uid = uid;
    o->used = ++c->n_uses;
    *ret_index = o->index;
    return 0;
}

static void run_at_index(Collections *c, Job *j)
{
    Index *x;
    int r = index_of(c, j->args->collection.uid, j->kind == WORK_OPEN_COLLECTION, &x);

    if (r == -ENOENT && j->kind == WORK_LIST_COLLECTIONS)
        return; /* there are none */
    if (r < 0)
        (void)collection_fail(j, r);
    else
        (void)collection_run(x, j);
}

static void run(Collections *c, Job *j)
{
    job_begin_computing(j);
    if (atomic_load(&j->cancelled))
        failure_set(&j->failure, ERROR_CANCELLED, "The call was cancelled.");
    else
        run_at_index(c, j);
    job_begin_waiting(j);
    posts_end(&c->posts, j);
}

/* Under the lock: of the uid served longest ago, the first. */
static Job *queue_next(const Collections *c)
{
    Job *j, *best = NULL;

    TAILQ_FOREACH(j, &c->queue, link)
    if (!best || j->account->index_turn < best->account->index_turn)
        best = j;
    return best;
}

/* NULL: the end. */
static Job *queue_take(Collections *c)
{
    Job *j;

    pthread_mutex_lock(&c->lock);
    while (!(j = queue_next(c)) && !c->stop)
        pthread_cond_wait(&c->wake, &c->lock);
    if (j) {
        TAILQ_REMOVE(&c->queue, j, link);
        j->account->index_turn = ++c->turn;
    }
    pthread_mutex_unlock(&c->lock);
    return j;
}

static void *collections_main(void *userdata)
{
    Collections *c = userdata;
    Job *j;

    while ((j = queue_take(c)))
        run(c, j);
    return NULL;
}

int collections_new(const char *folder, unsigned cpu_mask, Collections **ret_collections)
{
    _cleanup_(collections_freep) Collections *c = calloc(1, sizeof *c);
    int r;

    if (!c)
        return -ENOMEM;
    *c = (Collections){.cpu_mask = cpu_mask, .posts = {.fd = -1}};
    TAILQ_INIT(&c->queue);
    pthread_mutex_init(&c->lock, NULL);
    pthread_cond_init(&c->wake, NULL);
    c->folder = folder ? strdup(folder) : NULL;
    r = folder && !c->folder ? -ENOMEM : posts_init(&c->posts);
    if (r >= 0)
        r = pool_new(SCAN_THREADS, &c->pool);
    if (r >= 0)
        r = -pthread_create(&c->thread, NULL, collections_main, c);
    c->started = r >= 0;
    if (r < 0)
        return r;
    pthread_setname_np(c->thread, "index");
    *ret_collections = steal_ptr(&c);
    return 0;
}

Collections *collections_free(Collections *c)
{
    if (!c)
        return NULL;
    if (c->started) {
        pthread_mutex_lock(&c->lock);
        c->stop = true;
        pthread_cond_signal(&c->wake);
        pthread_mutex_unlock(&c->lock);
        pthread_join(c->thread, NULL);
    }
    assert(TAILQ_EMPTY(&c->queue));
    for (size_t i = 0; i < OPEN_MAX_; i++)
        index_close(c->open[i].index);
    pool_free(c->pool);
    posts_deinit(&c->posts);
    pthread_cond_destroy(&c->wake);
    pthread_mutex_destroy(&c->lock);
    free(c->folder);
    free(c);
    return NULL;
}

void collections_submit(Collections *c, Job *j)
{
    pthread_mutex_lock(&c->lock);
    TAILQ_INSERT_TAIL(&c->queue, j, link);
    pthread_cond_signal(&c->wake);
    pthread_mutex_unlock(&c->lock);
}

Posts *collections_posts(Collections *c)
{
    return &c->posts;
}
