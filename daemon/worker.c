#include "daemon/worker.h"

#include <assert.h>
#include <errno.h>
#include <malloc.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>

#include "daemon/models.h"
#include "daemon/slots.h"

struct Worker {
    pthread_t thread;
    bool started;
    const char *const *folders;
    Posts posts;
    atomic_uint_fast64_t heartbeat;

    pthread_mutex_t lock; /* of what follows */
    pthread_cond_t wake;
    JobList queue;
    Conversations forgotten;
    Config config;
    bool stop, reload, unload, woken;
    WorkerStatus status;
    uint64_t turn;

    /* The thread's own */
    Runtime *runtime;
    Slots slots;
    uint64_t used_usec; /* when a job was last in hand */
};

static void set_status(Worker *w, const WorkerStatus *status)
{
    pthread_mutex_lock(&w->lock);
    w->status = *status;
    pthread_mutex_unlock(&w->lock);
    eventfd_write(w->posts.fd, 1);
}

static void unload(Worker *w)
{
    slots_deinit(&w->slots);
    w->runtime = runtime_close(w->runtime);
}

/* Nobody has asked for the weights, or somebody has asked to let them go. */
static void retire(Worker *w)
{
    unload(w);
    malloc_trim(0); /* what loading freed, too, goes back to the system */
    set_status(w, &(WorkerStatus){.state = WORKER_UNLOADED});
}

static int load(Worker *w)
{
    WorkerStatus status = {.state = WORKER_LOADING};
    uint64_t begin = now_usec();
    Config config;
    int r;

    pthread_mutex_lock(&w->lock);
    config = w->config;
    w->reload = w->unload = false;
    pthread_mutex_unlock(&w->lock);
    (void)model_name(config.model, status.model, sizeof status.model);
    set_status(w, &status);
    r = runtime_open(&config, w->folders, &w->runtime, status.reason);
    if (r < 0)
        status.state = WORKER_FAILED;
    else {
        slots_init(&w->slots, w->runtime, &w->posts);
        status.state = WORKER_READY;
        strcpy(status.model, w->runtime->name);
        strcpy(status.digest, w->runtime->digest);
        strcpy(status.backend, w->runtime->backend_name);
        status.context_length = model_info(w->runtime->model)->context_length;
    }
    status.load_usec = now_usec() - begin;
    set_status(w, &status);
    return r;
}

/* Under the lock: whose turn it is. Of the uids that have least in hand, the one served longest
 * ago. */
static Job *queue_next(Worker *w)
{
    Job *j, *best = NULL;
    unsigned best_slots = 0;

    TAILQ_FOREACH(j, &w->queue, link)
    {
        unsigned n = slots_of(&w->slots, j->account);
        if (!slots_welcome(&w->slots, j))
            continue;
        if (!best || n < best_slots ||
            (n == best_slots && j->account->worker_turn < best->account->worker_turn)) {
            best = j;
            best_slots = n;
        }
    }
    return best;
}

/* Under the lock. */
static void queue_drop_cancelled(Worker *w)
{
    Job *j, *next;

    for (j = TAILQ_FIRST(&w->queue); j; j = next) {
        next = TAILQ_NEXT(j, link);
        if (!atomic_load(&j->cancelled))
            continue;
        TAILQ_REMOVE(&w->queue, j, link);
        failure_set(&j->failure, ERROR_CANCELLED, "The call was cancelled.");
        posts_end(&w->posts, j);
    }
}

/* Under the lock. A model that has to change lets the jobs in hand end first. */
static bool can_admit(const Worker *w)
{
    return !w->runtime ||
           (w->reload || w->unload ? slots_are_free(&w->slots) : slots_have_room(&w->slots));
}

/* NULL: nothing waits, or there is no slot for it. */
static Job *queue_take(Worker *w)
{
    Job *j = NULL;

    pthread_mutex_lock(&w->lock);
    queue_drop_cancelled(w);
    if (can_admit(w))
        j = queue_next(w);
    if (j) {
        TAILQ_REMOVE(&w->queue, j, link);
        j->account->worker_turn = ++w->turn;
    }
    pthread_mutex_unlock(&w->lock);
    return j;
}

static void require_reload(Worker *w)
{
    pthread_mutex_lock(&w->lock);
    w->reload = true;
    pthread_mutex_unlock(&w->lock);
}

static bool must_reload(Worker *w)
{
    bool reload;

    pthread_mutex_lock(&w->lock);
    reload = w->reload || w->unload;
    pthread_mutex_unlock(&w->lock);
    return reload;
}

/* Queued jobs into free slots. */
static void admit(Worker *w)
{
    Job *j;

    while ((j = queue_take(w))) {
        if (w->runtime && must_reload(w) && slots_are_free(&w->slots))
            unload(w);
        if (!w->runtime && load(w) < 0) {
            failure_set(&j->failure, ERROR_MODEL_UNAVAILABLE, "%.180s", w->status.reason);
            posts_end(&w->posts, j);
        } else
            slots_admit(&w->slots, j);
    }
}

/* Under the lock: whether there is no use for the weights, and since when there will not be. */
static bool must_retire(const Worker *w, uint64_t *ret_usec)
{
    *ret_usec = UINT64_MAX;
    if (!w->runtime || !slots_are_free(&w->slots) || !TAILQ_EMPTY(&w->queue))
        return false;
    if (w->config.idle_unload_sec > 0)
        *ret_usec = w->used_usec + (uint64_t)w->config.idle_unload_sec * 1000000;
    return w->unload || now_usec() >= *ret_usec;
}

/* Under the lock. */
static void sleep_until(Worker *w, uint64_t usec)
{
    struct timespec t = {(time_t)(usec / 1000000), (long)(usec % 1000000) * 1000};

    if (usec == UINT64_MAX)
        pthread_cond_wait(&w->wake, &w->lock);
    else
        (void)pthread_cond_clockwait(&w->wake, &w->lock, CLOCK_MONOTONIC, &t);
}

/* Sleeps until a turn would do something; false: the end. */
static bool wait_for_work(Worker *w)
{
    uint64_t until = UINT64_MAX;
    bool go;

    pthread_mutex_lock(&w->lock);
    while (!w->stop && !w->woken && !slots_runnable(&w->slots) &&
           (TAILQ_EMPTY(&w->queue) || !can_admit(w)) && !must_retire(w, &until))
        sleep_until(w, until);
    w->woken = false;
    go = !w->stop;
    pthread_mutex_unlock(&w->lock);
    return go;
}

static void free_forgotten(Worker *w)
{
    Conversation *c;

    pthread_mutex_lock(&w->lock);
    while ((c = LIST_FIRST(&w->forgotten))) {
        LIST_REMOVE(c, forgotten);
        slots_forget(c);
        conversation_free(c);
    }
    pthread_mutex_unlock(&w->lock);
}

static bool is_idle(Worker *w)
{
    uint64_t until;
    bool idle;

    pthread_mutex_lock(&w->lock);
    idle = must_retire(w, &until);
    if (!w->runtime)
        w->unload = false; /* done already */
    pthread_mutex_unlock(&w->lock);
    return idle;
}

static void *worker_main(void *userdata)
{
    Worker *w = userdata;

    while (wait_for_work(w)) {
        uint64_t begin;
        int r;

        atomic_fetch_add(&w->heartbeat, 1);
        free_forgotten(w);
        slots_drop_cancelled(&w->slots);
        if (is_idle(w))
            retire(w);
        admit(w);
        if (w->runtime && !slots_are_free(&w->slots))
            w->used_usec = now_usec();
        slots_encode(&w->slots);
        if (slots_collect(&w->slots) == 0)
            continue;
        begin = now_usec();
        r = decoder_forward(w->runtime->engine, w->slots.items, w->slots.n_items, ROUTE_GATES);
        slots_advance(&w->slots, r, now_usec() - begin);
        if (r == -EIO)
            require_reload(w); /* on a device opened anew */
    }
    free_forgotten(w);
    unload(w);
    return NULL;
}

int worker_new(const Config *config, const char *const *folders, Worker **ret_worker)
{
    Worker *w = calloc(1, sizeof *w);
    int r;

    if (!w)
        return -ENOMEM;
    *w = (Worker){.config = *config, .folders = folders};
    TAILQ_INIT(&w->queue);
    pthread_mutex_init(&w->lock, NULL);
    pthread_cond_init(&w->wake, NULL);
    r = posts_init(&w->posts);
    if (r >= 0)
        r = -pthread_create(&w->thread, NULL, worker_main, w);
    w->started = r >= 0;
    if (r < 0) {
        worker_free(w);
        return r;
    }
    pthread_setname_np(w->thread, "worker");
    *ret_worker = w;
    return 0;
}

Worker *worker_free(Worker *w)
{
    if (!w)
        return NULL;
    if (w->started) {
        pthread_mutex_lock(&w->lock);
        w->stop = true;
        pthread_cond_signal(&w->wake);
        pthread_mutex_unlock(&w->lock);
        pthread_join(w->thread, NULL);
    }
    assert(TAILQ_EMPTY(&w->queue));
    posts_deinit(&w->posts);
    pthread_cond_destroy(&w->wake);
    pthread_mutex_destroy(&w->lock);
    free(w);
    return NULL;
}

/* Under the lock. */
static void wake(Worker *w)
{
    w->woken = true;
    pthread_cond_signal(&w->wake);
}

void worker_submit(Worker *w, Job *j)
{
    pthread_mutex_lock(&w->lock);
    TAILQ_INSERT_TAIL(&w->queue, j, link);
    wake(w);
    pthread_mutex_unlock(&w->lock);
}

void worker_forget(Worker *w, Conversation *c)
{
    pthread_mutex_lock(&w->lock);
    LIST_INSERT_HEAD(&w->forgotten, c, forgotten);
    wake(w);
    pthread_mutex_unlock(&w->lock);
}

void worker_wake(Worker *w)
{
    pthread_mutex_lock(&w->lock);
    wake(w);
    pthread_mutex_unlock(&w->lock);
}

void worker_configure(Worker *w, const Config *config)
{
    pthread_mutex_lock(&w->lock);
    if (!config_same_model(&w->config, config))
        w->reload = true;
    w->config = *config;
    wake(w);
    pthread_mutex_unlock(&w->lock);
}

void worker_unload(Worker *w)
{
    pthread_mutex_lock(&w->lock);
    w->unload = true;
    wake(w);
    pthread_mutex_unlock(&w->lock);
}

Posts *worker_posts(Worker *w)
{
    return &w->posts;
}

void worker_status(Worker *w, WorkerStatus *ret_status)
{
    pthread_mutex_lock(&w->lock);
    *ret_status = w->status;
    pthread_mutex_unlock(&w->lock);
}

uint64_t worker_heartbeat(const Worker *w)
{
    return atomic_load(&w->heartbeat);
}
