#include "daemon/collections.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "daemon/collection.h"

#define THREADS      4 /* users served at a time: one's long work is not waited for by the others */
#define SCAN_THREADS 2 /* of a search; more would only wait for memory */
#define OPEN_MAX_    8 /* databases open at a time; more than threads, so that one is free */

/* A user's database. A thread that is at it has it alone. */
typedef struct Open {
    uid_t uid;
    bool busy;     /* a thread is at it: the index is that thread's */
    bool leaving;  /* it is closing what was another's, first */
    uid_t left;    /* whose */
    Index *index;  /* NULL: none */
    uint64_t used; /* 0: none is open */
} Open;

typedef struct IndexThread {
    Collections *owner;
    pthread_t thread;
    bool started;
    Pool *pool;
} IndexThread;

struct Collections {
    char *folder;
    unsigned cpu_mask;
    Posts posts;
    IndexThread threads[THREADS];

    pthread_mutex_t lock; /* of what follows */
    pthread_cond_t wake;
    JobList queue;
    bool stop;
    uint64_t turn, n_uses;
    Open open[OPEN_MAX_];
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
    return index_open(path, NULL, c->cpu_mask, ret_index);
}

/* One that was purged is let go of: what is there now may be another person's. */
static int index_of(Collections *c, Open *o, bool make, Index **ret_index)
{
    int r;

    if (o->index && (o->leaving || !index_is_current(o->index)))
        o->index = index_close(o->index);
    if (!o->index) {
        r = open_index(c, o->uid, make, &o->index);
        if (r < 0)
            return r;
    }
    *ret_index = o->index;
    return 0;
}

static void run_at_index(IndexThread *t, Open *o, Job *j)
{
    Index *x;
    int r = index_of(t->owner, o, j->kind == WORK_OPEN_COLLECTION, &x);

    if (r == -ENOENT && j->kind == WORK_LIST_COLLECTIONS)
        return; /* there are none */
    if (r < 0) {
        (void)collection_fail(j, r);
        return;
    }
    index_use_pool(x, t->pool);
    (void)collection_run(x, j);
    index_use_pool(x, NULL);
}

static void run(IndexThread *t, Open *o, Job *j)
{
    job_begin_computing(j);
    if (atomic_load(&j->cancelled))
        failure_set(&j->failure, ERROR_CANCELLED, "The call was cancelled.");
    else
        run_at_index(t, o, j);
    job_begin_waiting(j);
}

/* Under the lock: the uid's, or the place of the one used longest ago. NULL: a thread is at it. */
static Open *open_find(Collections *c, uid_t uid)
{
    Open *best = NULL;

    for (Open *o = c->open; o < c->open + OPEN_MAX_; o++)
        if ((o->busy || o->index) && (o->uid == uid || (o->leaving && o->left == uid)))
            return o->busy ? NULL : o;
        else if (!o->busy && (!best || o->used < best->used))
            best = o;
    assert(best);
    return best;
}

/* Under the lock: of those whose database is free, the first of the uid served longest ago. */
static Job *queue_next(Collections *c, Open **ret_open)
{
    Job *j, *best = NULL;
    Open *o;

    TAILQ_FOREACH(j, &c->queue, link)
    {
        if (best && j->account->index_turn >= best->account->index_turn)
            continue;
        o = open_find(c, j->args->collection.uid);
        if (o) {
            best = j;
            *ret_open = o;
        }
    }
    return best;
}

/* Under the lock. */
static void open_take(Open *o, uid_t uid)
{
    o->busy = true;
    o->leaving = o->index && o->uid != uid;
    o->left = o->uid;
    o->uid = uid;
}

/* Under the lock. */
static void open_release(Collections *c, Open *o)
{
    o->busy = o->leaving = false;
    o->used = o->index ? ++c->n_uses : 0;
}

/* Under the lock; NULL: the end. */
static Job *queue_take(Collections *c, Open **ret_open)
{
    Job *j;

    while (!(j = queue_next(c, ret_open)) && !c->stop)
        pthread_cond_wait(&c->wake, &c->lock);
    if (!j)
        return NULL;
    TAILQ_REMOVE(&c->queue, j, link);
    j->account->index_turn = ++c->turn;
    open_take(*ret_open, j->args->collection.uid);
    /* What became free a moment ago may be another thread's to take. */
    if (!TAILQ_EMPTY(&c->queue))
        pthread_cond_signal(&c->wake);
    return j;
}

static void *collections_main(void *userdata)
{
    IndexThread *t = userdata;
    Collections *c = t->owner;
    Open *o;
    Job *j;

    pthread_mutex_lock(&c->lock);
    while ((j = queue_take(c, &o))) {
        pthread_mutex_unlock(&c->lock);
        run(t, o, j);
        pthread_mutex_lock(&c->lock);
        open_release(c, o);
        posts_end(&c->posts, j);
    }
    pthread_mutex_unlock(&c->lock);
    return NULL;
}

static int thread_start(Collections *c, IndexThread *t)
{
    int r = pool_new(SCAN_THREADS, &t->pool);

    t->owner = c;
    if (r >= 0)
        r = -pthread_create(&t->thread, NULL, collections_main, t);
    t->started = r >= 0;
    if (t->started)
        pthread_setname_np(t->thread, "index");
    return r;
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
    for (size_t i = 0; i < THREADS && r >= 0; i++)
        r = thread_start(c, &c->threads[i]);
    if (r < 0)
        return r;
    *ret_collections = steal_ptr(&c);
    return 0;
}

Collections *collections_free(Collections *c)
{
    if (!c)
        return NULL;
    pthread_mutex_lock(&c->lock);
    c->stop = true;
    pthread_cond_broadcast(&c->wake);
    pthread_mutex_unlock(&c->lock);
    for (size_t i = 0; i < THREADS; i++) {
        if (c->threads[i].started)
            pthread_join(c->threads[i].thread, NULL);
        pool_free(c->threads[i].pool);
    }
    assert(TAILQ_EMPTY(&c->queue));
    for (size_t i = 0; i < OPEN_MAX_; i++)
        index_close(c->open[i].index);
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
