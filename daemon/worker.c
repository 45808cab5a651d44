#include "daemon/worker.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <malloc.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>

#include "daemon/models.h"
#include "daemon/slots.h"

/* Room for one model. */
typedef struct Place {
    /* Under the worker's lock */
    ModelStatus status;
    bool selected; /* it was opened as the model that is configured */
    bool leave;    /* as soon as nothing runs on it */

    /* The thread's own */
    Runtime *runtime; /* NULL: none is loaded */
    Slots slots;
    uint64_t used_usec; /* when a job was last in hand */
} Place;

struct Worker {
    pthread_t thread;
    bool started;
    const char *const *folders;
    Posts posts;
    atomic_uint_fast64_t heartbeat;
    Place places[LIMIT_LOADED_MODELS];
    Digests digests; /* the thread's own */

    pthread_mutex_t lock; /* of what follows */
    pthread_cond_t wake;
    JobList queue;
    Conversations forgotten;
    Config config;
    char selected[RUNTIME_NAME_SIZE]; /* the name of its model */
    bool stop, woken;
    uint64_t turn, change;
};

#define FOREACH_PLACE(p, w) for (Place *p = (w)->places; p < (w)->places + LIMIT_LOADED_MODELS; p++)

static void set_status(Worker *w, Place *p, const ModelStatus *status)
{
    pthread_mutex_lock(&w->lock);
    p->status = *status;
    p->status.change = ++w->change;
    pthread_mutex_unlock(&w->lock);
    eventfd_write(w->posts.fd, 1);
}

static void unload(Place *p)
{
    slots_deinit(&p->slots);
    p->runtime = runtime_close(p->runtime);
}

/* Nobody has asked for the weights, or somebody has asked to let them go. */
static void retire(Worker *w, Place *p)
{
    unload(p);
    malloc_trim(0); /* what loading freed, too, goes back to the system */
    set_status(w, p, &(ModelStatus){.state = WORKER_UNLOADED});
}

/* Under the lock: the name of the model that a job is for. What a question about a collection is
 * searched by must have made its vectors. */
static const char *model_of(const Worker *w, const Job *j)
{
    return *j->wanted && !j->searching ? j->wanted : w->selected;
}

static Place *place_of(Worker *w, const char *model)
{
    FOREACH_PLACE(p, w)
        if (p->runtime && strcmp(p->runtime->name, model) == 0)
            return p;
    return NULL;
}

/* The loaded model that was used longest ago, of those that nothing runs on. */
static Place *place_resting(Worker *w, const Place *but)
{
    Place *oldest = NULL;

    FOREACH_PLACE(p, w)
        if (p != but && p->runtime && slots_are_free(&p->slots) &&
            (!oldest || p->used_usec < oldest->used_usec))
            oldest = p;
    return oldest;
}

/* Under the lock: where a model can be loaded. What is told of one that failed stays as long as
 * there is room. */
static Place *place_spare(Worker *w, const char *model)
{
    Place *spare = NULL;

    FOREACH_PLACE(p, w) {
        if (p->runtime)
            continue;
        if (strcmp(p->status.name, model) == 0)
            return p;
        if (!spare || p->status.state == WORKER_UNLOADED)
            spare = p;
    }
    return spare ? spare : place_resting(w, NULL);
}

/* Under the lock: where a job may run now. NULL: it has to wait. A model that has to leave lets
 * the jobs in hand end first. */
static Place *place_for(Worker *w, const Job *j)
{
    const char *model = model_of(w, j);
    Place *p = place_of(w, model);

    if (!p)
        return place_spare(w, model);
    if (p->leave)
        return slots_are_free(&p->slots) ? p : NULL;
    return slots_have_room(&p->slots) && slots_welcome(&p->slots, j) ? p : NULL;
}

/* What the other models have of the memory budget. */
static uint64_t memory_held(Worker *w, const Place *but)
{
    uint64_t held = 0;

    FOREACH_PLACE(p, w)
        if (p != but && p->runtime)
            held += engine_memory(p->runtime->engine);
    return held;
}

/* What a model takes at the least, were all of it in memory; 0: it cannot be read. */
static uint64_t memory_wanted(const Worker *w, const Config *config)
{
    char path[CONFIG_NAME_MAX];
    ModelFiles files;

    return model_find(config->model, w->folders, path, sizeof path) >= 0 &&
                   model_files(AT_FDCWD, path, &files)
               ? files.bytes
               : 0;
}

/* Within what is left of the memory budget; resting models give theirs up. -EBUSY: those in use
 * have it. */
static int open_runtime(Worker *w, Place *p, Config *config, ModelStatus *status)
{
    uint64_t budget = config->memory_budget, wanted = budget > 0 ? memory_wanted(w, config) : 0;
    Place *resting;
    uint64_t held;
    int r = -ENOSPC;

    do {
        held = memory_held(w, p);
        resting = place_resting(w, p);
        if (budget > 0)
            config->memory_budget = budget > held ? budget - held : 1;
        if (budget == 0 || !resting || config->memory_budget >= wanted)
            r = runtime_open(config, w->folders, &w->digests, &p->runtime, status->reason);
        if (r != -ENOSPC || budget == 0 || held == 0)
            return r;
        if (resting)
            retire(w, resting);
    } while (resting);
    strcpy(status->reason, "The models in use leave no room for this one in MemoryBudget=: "
                           "try later.");
    return -EBUSY;
}

/* What a job needs that was taken off the queue. */
typedef struct Turn {
    Job *job;
    Place *place;
    char model[RUNTIME_NAME_SIZE];
    bool selected;
    Config config; /* to open the model with */
} Turn;

static int load(Worker *w, const Turn *t)
{
    ModelStatus status = {.state = WORKER_LOADING};
    uint64_t begin = now_usec();
    Config config = t->config;
    Place *p = t->place;
    int r;

    strcpy(status.name, t->model);
    set_status(w, p, &status);
    r = open_runtime(w, p, &config, &status);
    if (r < 0) {
        failure_set(&t->job->failure, r == -EBUSY ? ERROR_BUSY : ERROR_MODEL_UNAVAILABLE, "%.180s",
                    status.reason);
        status.state = WORKER_FAILED;
    } else {
        const ModelInfo *info = model_info(p->runtime->model);
        slots_init(&p->slots, p->runtime, &w->posts);
        p->used_usec = now_usec();
        status.state = WORKER_READY;
        strcpy(status.digest, p->runtime->digest);
        strcpy(status.backend, p->runtime->backend_name);
        snprintf(status.family, sizeof status.family, "%s", info->family);
        status.senses = p->runtime->splice != NULL;
        status.context_length = engine_context(p->runtime->engine);
        status.memory = engine_memory(p->runtime->engine);
    }
    status.load_usec = now_usec() - begin;
    set_status(w, p, r == -EBUSY ? &(ModelStatus){.state = WORKER_UNLOADED} : &status);
    return r;
}

/* The one that is selected now takes the part of those that were, which leave; whether there are
 * any. */
static bool select_place(Worker *w, Place *selected)
{
    bool any = false;

    pthread_mutex_lock(&w->lock);
    FOREACH_PLACE(p, w)
        if (p != selected && p->selected) {
            p->selected = false;
            p->leave = any = true;
        }
    selected->selected = true;
    pthread_mutex_unlock(&w->lock);
    return any;
}

static unsigned slots_of_all(Worker *w, const Account *account)
{
    unsigned n = 0;

    FOREACH_PLACE(p, w)
        n += slots_of(&p->slots, account);
    return n;
}

/* Under the lock: whose turn it is. Of the uids that have least in hand, the one served longest
 * ago. */
static Job *queue_next(Worker *w)
{
    Job *j, *best = NULL;
    unsigned best_slots = 0;

    TAILQ_FOREACH(j, &w->queue, link)
    {
        unsigned n = slots_of_all(w, j->account);
        if (!place_for(w, j))
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

/* Under the lock: the model of a turn, by its name or, if it is the selected one, as that is
 * configured. */
static void turn_fill(Worker *w, Turn *t, Job *j)
{
    t->job = j;
    t->place = place_for(w, j);
    strcpy(t->model, model_of(w, j));
    t->selected = strcmp(t->model, w->selected) == 0;
    t->config = w->config;
    if (!t->selected)
        strcpy(t->config.model, t->model);
    j->account->worker_turn = ++w->turn;
}

/* False: nothing waits, or there is no room for it. */
static bool queue_take(Worker *w, Turn *ret_turn)
{
    Job *j;

    pthread_mutex_lock(&w->lock);
    queue_drop_cancelled(w);
    j = queue_next(w);
    if (j) {
        TAILQ_REMOVE(&w->queue, j, link);
        turn_fill(w, ret_turn, j);
    }
    pthread_mutex_unlock(&w->lock);
    return j != NULL;
}

/* Whether another model stands there, or one that has to be opened anew. */
static bool must_change(Worker *w, const Turn *t)
{
    bool change;

    pthread_mutex_lock(&w->lock);
    change = t->place->leave || strcmp(t->place->runtime->name, t->model) != 0;
    t->place->leave = t->place->leave && !change;
    t->place->selected = t->place->selected && !change;
    pthread_mutex_unlock(&w->lock);
    return change;
}

/* Under the lock: whether a model can be let go, and since when it will be for want of use. */
static bool must_retire(Worker *w, const Place *p, uint64_t *ret_usec)
{
    Job *j;

    *ret_usec = UINT64_MAX;
    if (!p->runtime || !slots_are_free(&p->slots))
        return false;
    TAILQ_FOREACH(j, &w->queue, link)
    if (strcmp(model_of(w, j), p->runtime->name) == 0)
        return false;
    if (w->config.idle_unload_sec > 0)
        *ret_usec = p->used_usec + (uint64_t)w->config.idle_unload_sec * 1000000;
    return p->leave || now_usec() >= *ret_usec;
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

/* Under the lock: whether a turn would do something, and since when it will. */
static bool has_work(Worker *w, uint64_t *ret_until)
{
    *ret_until = UINT64_MAX;
    if (w->stop || w->woken || queue_next(w))
        return true;
    FOREACH_PLACE(p, w) {
        uint64_t usec;
        if ((p->runtime && slots_runnable(&p->slots)) || must_retire(w, p, &usec))
            return true;
        *ret_until = usec < *ret_until ? usec : *ret_until;
    }
    return false;
}

/* Sleeps until a turn would do something; false: the end. */
static bool wait_for_work(Worker *w)
{
    uint64_t until;
    bool go;

    pthread_mutex_lock(&w->lock);
    while (!has_work(w, &until))
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

static bool is_idle(Worker *w, Place *p)
{
    uint64_t until;
    bool idle;

    pthread_mutex_lock(&w->lock);
    idle = must_retire(w, p, &until);
    if (idle || !p->runtime)
        p->leave = p->selected = false;
    pthread_mutex_unlock(&w->lock);
    return idle;
}

/* What nothing runs on and nobody waits for. */
static void retire_idle(Worker *w)
{
    FOREACH_PLACE(p, w)
        if (is_idle(w, p))
            retire(w, p);
}

/* Queued jobs into free slots. */
static void admit(Worker *w)
{
    Turn t;

    while (queue_take(w, &t)) {
        if (t.place->runtime && must_change(w, &t))
            unload(t.place);
        if (!t.place->runtime && load(w, &t) < 0)
            posts_end(&w->posts, t.job);
        else {
            slots_admit(&t.place->slots, t.job);
            if (t.selected && select_place(w, t.place))
                retire_idle(w);
        }
    }
}

/* What jobs wait for in one model: a slice of encoding, then one forward. */
static void place_turn(Worker *w, Place *p, bool alone)
{
    uint64_t begin;
    int r;

    if (!slots_are_free(&p->slots))
        p->used_usec = now_usec();
    slots_encode(&p->slots);
    if (slots_collect(&p->slots, alone) == 0)
        return;
    begin = now_usec();
    r = decoder_forward(p->runtime->engine, p->slots.items, p->slots.n_items, ROUTE_GATES);
    slots_advance(&p->slots, r, now_usec() - begin);
    if (r != -EIO)
        return;
    pthread_mutex_lock(&w->lock);
    p->leave = true; /* opened anew, on a device that is, too */
    pthread_mutex_unlock(&w->lock);
}

static void *worker_main(void *userdata)
{
    Worker *w = userdata;

    while (wait_for_work(w)) {
        unsigned in_hand = 0;

        atomic_fetch_add(&w->heartbeat, 1);
        free_forgotten(w);
        FOREACH_PLACE(p, w)
            slots_drop_cancelled(&p->slots);
        retire_idle(w);
        admit(w);
        FOREACH_PLACE(p, w)
            in_hand += slots_in_hand(&p->slots);
        FOREACH_PLACE(p, w)
            if (p->runtime)
                place_turn(w, p, in_hand == 1);
    }
    free_forgotten(w);
    FOREACH_PLACE(p, w)
        unload(p);
    return NULL;
}

int worker_new(const Config *config, const char *const *folders, Worker **ret_worker)
{
    Worker *w = calloc(1, sizeof *w);
    int r;

    if (!w)
        return -ENOMEM;
    *w = (Worker){.config = *config, .folders = folders};
    (void)model_name(config->model, w->selected, sizeof w->selected);
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
    char selected[RUNTIME_NAME_SIZE];
    bool all, file;

    (void)model_name(config->model, selected, sizeof selected);
    pthread_mutex_lock(&w->lock);
    all = !config_same_engine(&w->config, config);
    file = strcmp(w->config.model, config->model) != 0;
    FOREACH_PLACE(p, w)
        /* Another file may have the same name. */
        p->leave =
            p->leave || all ||
            (file && strcmp(p->status.name, selected) == 0 && strcmp(w->selected, selected) == 0);
    w->config = *config;
    strcpy(w->selected, selected);
    wake(w);
    pthread_mutex_unlock(&w->lock);
}

void worker_unload(Worker *w, const char *model)
{
    pthread_mutex_lock(&w->lock);
    FOREACH_PLACE(p, w)
        if (strcmp(p->status.name, model) == 0)
            p->leave = true;
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
    for (size_t i = 0; i < LIMIT_LOADED_MODELS; i++)
        ret_status->models[i] = w->places[i].status;
    pthread_mutex_unlock(&w->lock);
}

uint64_t worker_heartbeat(const Worker *w)
{
    return atomic_load(&w->heartbeat);
}

const ModelStatus *model_status(const WorkerStatus *status, const char *name)
{
    for (size_t i = 0; i < LIMIT_LOADED_MODELS; i++)
        if (strcmp(status->models[i].name, name) == 0)
            return &status->models[i];
    return NULL;
}

bool model_is_loading(const WorkerStatus *status)
{
    for (size_t i = 0; i < LIMIT_LOADED_MODELS; i++)
        if (status->models[i].state == WORKER_LOADING)
            return true;
    return false;
}
