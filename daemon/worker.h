#pragma once

/*
 * The one thread that touches models. It loads one when the first job comes that wants it, and
 * then, turn by turn, serves all jobs together: one forward of a model reads each weight once for
 * everybody. After the configured time without a job it lets a model's weights go, or earlier where
 * another model needs its place or its share of the memory budget.
 */

#include "daemon/config.h"
#include "daemon/posts.h"

typedef struct Worker Worker;

typedef enum WorkerState {
    WORKER_UNLOADED,
    WORKER_LOADING,
    WORKER_READY,
    WORKER_FAILED, /* to load; the next job tries again */
} WorkerState;

/* One model, or, of WORKER_UNLOADED, none. */
typedef struct ModelStatus {
    WorkerState state;
    uint64_t change; /* another number after every change */
    char name[RUNTIME_NAME_SIZE];
    char digest[RUNTIME_NAME_SIZE], backend[RUNTIME_NAME_SIZE], family[32]; /* of WORKER_READY... */
    bool senses;                    /* ... has encoders, so that it makes vectors */
    uint32_t context_length;        /* ... */
    uint64_t memory;                /* ... bytes of weights and buffers */
    char reason[RUNTIME_ERROR_MAX]; /* of WORKER_FAILED */
    uint64_t load_usec;
} ModelStatus;

typedef struct WorkerStatus {
    ModelStatus models[LIMIT_LOADED_MODELS];
} WorkerStatus;

/* Of the model of this name; NULL: it is not in memory, and did not fail to be. */
const ModelStatus *model_status(const WorkerStatus *status, const char *name);
/* Whether one is on its way into memory. */
bool model_is_loading(const WorkerStatus *status);

/* folders as in runtime_open(), borrowed until worker_free(). */
int worker_new(const Config *config, const char *const *folders, Worker **ret_worker);
/* Every job has come back by now. */
Worker *worker_free(Worker *w);
DEFINE_CLEANUP(Worker *, worker_free);

/* Takes the job until its end is posted. */
void worker_submit(Worker *w, Job *j);
/* Frees a conversation of which no job is under way. */
void worker_forget(Worker *w, Conversation *c);
/* After a job's flags were changed, or its text was taken. */
void worker_wake(Worker *w);
/* From the next job on; models that it changes are loaded again once nothing runs on them. A
 * selected model leaves when another has taken its part. */
void worker_configure(Worker *w, const Config *config);

/* The weights leave memory as soon as nothing runs on them; the next job loads them again. */
void worker_unload(Worker *w, const char *model);

/* Readable when something was posted or the status has changed. */
Posts *worker_posts(Worker *w);
void worker_status(Worker *w, WorkerStatus *ret_status);
/* Rises with every turn. */
uint64_t worker_heartbeat(const Worker *w);
