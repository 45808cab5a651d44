#pragma once

/*
 * One accepted call on its way: received, decoding (the media helper), encoding, prefill, decode,
 * done. Calls that want vectors end after encoding. Calls about a collection go to the index next,
 * or at once when there is nothing to encode; a question about one is encoded, searched for, and
 * then goes to the worker again with what was found.
 *
 * A job has one owner at a time: the loop's thread until worker_submit(), then the worker until it
 * posts the end, then the loop again; and so with the index's thread. What two touch meanwhile is
 * atomic or under the owner's lock.
 */

#include <stdatomic.h>
#include <stdbool.h>
#include <sys/queue.h>

#include "daemon/account.h"
#include "daemon/conversation.h"
#include "daemon/runtime.h"
#include "encoders/media/media.h"
#include "fusion/index.h"
#include "ipc/handlers.h"

typedef enum JobState {
    JOB_RECEIVED,
    JOB_DECODING,
    JOB_ENCODING,
    JOB_PREFILL,
    JOB_DECODE,
    JOB_DONE,
} JobState;

#define JOB_OUTBOX_SIZE 8192
#define REBUILD_TEXTS   64 /* encoded between two visits to the index */

typedef struct Job Job;
typedef TAILQ_HEAD(JobList, Job) JobList;

/* What the index is asked for and has said. */
typedef struct JobIndex {
    ErrorCode *statuses;          /* [collection.n_items], of what is added */
    float question[SPACE_LENGTH]; /* of an answer */
    IndexRecords records;
    bool used[LIMIT_SOURCES]; /* which of them the answer was given */
    bool told;                /* the client knows them */
    bool more;
    uint64_t count;
    IndexCollection *list;
    size_t n_list;
    IndexText *texts; /* of a rebuild: those that are being encoded */
    size_t n_texts;
} JobIndex;

typedef struct Job {
    TAILQ_ENTRY(Job) link; /* of the intake, then of the worker's queue */
    Work *work;            /* borrowed until the end; NULL: a rebuild, which nobody waits for */
    WorkArgs *args;
    WorkKind kind;
    Account *account;
    char wanted[RUNTIME_NAME_SIZE]; /* the model that answers; "": the selected one */
    atomic_bool cancelled, paused;
    bool at_worker, at_index; /* the loop's notes of who owns it */
    bool searching;           /* an answer's question, before what it is about is found */
    bool at_home;             /* the model that answers has made the vectors of what was found */
    JobIndex index;

    JobState state;
    uint64_t since_usec, queued_usec, computed_usec; /* since: of the last switch between them */

    /* Items: media, then texts; of Classify, the labels. */
    size_t n_items, n_encoded;
    size_t n_decoded; /* media */
    Media media[LIMIT_MEDIA_ITEMS];
    Failure failures[LIMIT_MEDIA_ITEMS]; /* code ERROR_NONE: decoded */
    bool hashed[LIMIT_MEDIA_ITEMS];      /* its file is small, and this its SHA-256 */
    uint8_t contents[LIMIT_MEDIA_ITEMS][32];
    uint64_t charged;  /* bytes on the account */
    float *vectors;    /* [n_items, SPACE_LENGTH] */
    bool *truncated;   /* [n_items] */
    int vectors_fd;    /* of EmbedBulk: the reply, sealed */
    WorkScore *scores; /* [n_items - 1], of Classify */

    /* An answer's */
    Conversation *conversation; /* borrowed; NULL: it stands alone */
    uint32_t max_tokens, said;
    size_t prefilled;
    int32_t token; /* the next to feed */
    Sampler sampler;
    const char *finish;

    /* For the info */
    uint64_t tokens, weight_bytes, kv_bytes;
    char model[RUNTIME_NAME_SIZE], digest[RUNTIME_NAME_SIZE], backend[RUNTIME_NAME_SIZE];

    /* From the worker to the loop, under the worker's lock */
    STAILQ_ENTRY(Job) post_link;
    bool posted;
    char outbox[JOB_OUTBOX_SIZE];
    size_t outbox_length;
    JobState told_state;
    double told_progress;
    bool ended;
    Failure failure; /* of the whole job; ERROR_NONE: it went well */
} Job;

/* The account's reference is taken over on success. -ENOMEM, or -EBADMSG with the failure set. */
int job_new(Work *work, Account *account, uint32_t default_max_tokens, Job **ret_job,
            Failure *failure);
/* The same of the service's own; args are borrowed until the end. */
int job_new_own(WorkArgs *args, Account *account, Job **ret_job);
Job *job_free(Job *j);
DEFINE_CLEANUP(Job *, job_free);

/* Whether it is about a collection; needs the index. */
bool job_has_collection(const Job *j);
/* Whether text is wanted of it, in this pass of the worker's. */
bool job_answers(const Job *j);
/* One bad medium or text spoils that item only. */
bool job_is_batch(const Job *j);
/* Nobody is kept waiting by it. */
bool job_is_bulk(const Job *j);
/* Options of one item: of a collection's items they stand with each. */
Truncate job_truncate(const Job *j, size_t i);
bool job_high_detail(const Job *j, size_t i);
const uint32_t *job_region(const Job *j, size_t i);

/* Time until now counts as queued; from now on as computed, or the other way round. */
void job_begin_computing(Job *j);
void job_begin_waiting(Job *j);

/* Bytes on the account: -EBADMSG with the failure set when the uid would have too many. */
int job_charge(Job *j, uint64_t bytes, Failure *failure);
void job_uncharge(Job *j, uint64_t bytes);

/* The reply of EmbedBulk, made on the worker's thread: it may be large. */
int job_seal_vectors(Job *j);

/* Tells the client how it ended and frees the job. */
void job_finish(Job *j);
const char *job_state_name(JobState state);
uint64_t now_usec(void);
