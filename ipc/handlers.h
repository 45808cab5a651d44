#pragma once

/*
 * All that the bus side knows of the daemon, and the daemon of the bus: the work that clients ask
 * for, the Handlers that do it, and how its results come back. Tests give Handlers of their own.
 *
 * A Work is one accepted call. It ends exactly once, with one of the work_finish_ functions or
 * work_fail(), on the thread of the event loop; until then its arguments stay where they are.
 * cancel() only asks: the client has left, has cancelled or its deadline has passed, and the work
 * should end soon, with whatever comes first.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "ipc/error.h"
#include "ipc/limits.h"

typedef struct Work Work;

typedef enum WorkKind {
    WORK_EMBED_TEXT,
    WORK_EMBED_MEDIA,
    WORK_EMBED_BULK,
    WORK_CLASSIFY,
    WORK_ASK,
    WORK_LOAD,    /* of the model that the question names; without items */
    WORK_SESSION, /* never work: what OpenSession's options are read as */
    WORK_OPEN_COLLECTION,
    WORK_DELETE_COLLECTION,
    WORK_LIST_COLLECTIONS,
    WORK_ADD_TEXT,
    WORK_ADD_MEDIA,
    WORK_ADD_VECTORS,
    WORK_REMOVE, /* the items that the texts name, as the next */
    WORK_GET,
    WORK_LIST, /* identifiers behind the question, at most the limit */
    WORK_SYNC,
    WORK_SEARCH,
    WORK_SEARCH_MEDIA,
    WORK_SEARCH_VECTOR,
    WORK_REBUILD, /* the daemon's own, never asked for */
} WorkKind;

/* Sound UTF-8, NUL-terminated besides. */
typedef struct String {
    const char *data;
    size_t length;
} String;

typedef enum VectorType {
    VECTOR_F32,
    VECTOR_F16,
} VectorType;

typedef enum Truncate {
    TRUNCATE_ERROR,
    TRUNCATE_HEAD, /* keep the head */
    TRUNCATE_TAIL, /* keep the tail */
} Truncate;

typedef enum MediaHint {
    HINT_ANY,
    HINT_IMAGE,
    HINT_AUDIO,
} MediaHint;

typedef struct CallOptions {
    uint32_t dimension; /* of the vectors: a whole space or one of its halves */
    VectorType dtype;
    Truncate truncate;
    bool high_detail;
    uint32_t region[4];   /* x, y, width, height in source pixels; width 0 = all */
    uint32_t deadline_ms; /* 0 = none */
    uint32_t max_tokens;  /* 0 = the daemon's own default */
    double effort, temperature, top_p;
    uint64_t seed;
    String system;       /* data NULL = none */
    const char *model;   /* name, in the message; NULL = the selected one */
    bool think;          /* thoughts before the answer, of models that can */
    bool beside;         /* LoadModel: the selected model stays that */
    const char *session; /* path, in the message; NULL = none */
    bool signals;        /* the client wants to be told by signals, too */
    char handle_token[LIMIT_HANDLE_TOKEN + 1];
} CallOptions;

typedef struct MediaInput {
    int fd; /* unchecked; -1 if taken */
    MediaHint hint;
} MediaInput;

typedef struct WordPair {
    const char *key, *value;
} WordPair;

/* What is added to a collection, beside the text or medium of the same number. */
typedef struct ItemInput {
    String id;
    WordPair *pairs;
    size_t n_pairs;
    Truncate truncate;
    bool high_detail;
    uint32_t region[4];
    ErrorCode status; /* not ERROR_NONE: it cannot be added */
} ItemInput;

typedef struct CollectionArgs {
    char name[LIMIT_NAME + 1]; /* "" = none: the work is about no collection */
    uid_t uid;                 /* whose it is */
    ItemInput *items;
    size_t n_items;
    WordPair *pairs; /* filter; of AddVectors, the metadata */
    size_t n_pairs;
    unsigned modalities; /* mask of 1 << MODALITY_…, in the order of ServerFacts; 0 = all */
    uint32_t limit, offset, text_bytes;
    double min_score;
    const char *model;      /* of AddVectors: a digest in hexadecimal */
    const uint8_t *vectors; /* of AddVectors and SearchVector, little-endian, not aligned */
} CollectionArgs;

typedef struct WorkArgs {
    WorkKind kind;
    String *texts; /* EmbedText, EmbedBulk; labels of Classify */
    size_t n_texts;
    char *bulk; /* what the texts of EmbedBulk point into */
    size_t bulk_size;
    String question;
    MediaInput *media;
    size_t n_media;
    CallOptions options;
    CollectionArgs collection;
} WorkArgs;

/* What every answer says of itself. Strings are borrowed for the call. */
typedef struct WorkInfo {
    const char *model, *digest, *backend;
    uint32_t dimension;
    VectorType dtype;
    bool normalised;
    const bool *truncated; /* per item; NULL = none of them */
    size_t n_items;
    uint64_t tokens; /* read and, in answers, written */
    double effort;
    uint64_t weight_bytes, kv_bytes;
    double queued_ms, computed_ms;
    bool search, more; /* more: of searches, there are hits after these */
} WorkInfo;

/* One item of EmbedMedia: a vector, or why there is none. */
typedef struct WorkItem {
    ErrorCode status;
    const uint8_t *vector;
} WorkItem;

typedef struct WorkScore {
    size_t label; /* index of the text */
    double score;
} WorkScore;

/* An item of a collection. */
typedef struct WorkRecord {
    const char *id, *modality;
    const char *text; /* NULL = it is not told */
    const WordPair *pairs;
    size_t n_pairs;
    bool stale;    /* Get */
    double score;  /* hits... */
    uint32_t rank; /* ... from 1 */
} WorkRecord;

typedef struct WorkCollection {
    const char *name, *model, *state;
    uint64_t n_items, n_stale;
    double progress;
} WorkCollection;

typedef struct ServiceStatus {
    const char *state; /* "unloaded", "loading", "ready" or "failed" */
    const char *backend, *degraded_reason;
    uint32_t queue_depth;
} ServiceStatus;

typedef enum AdminVerb {
    ADMIN_UNLOAD,
    ADMIN_RELOAD,
} AdminVerb;

/* What org.freedesktop.LogControl1 lets an administrator look at and change. */
typedef enum LogSetting {
    LOG_SETTING_LEVEL,
    LOG_SETTING_TARGET,
} LogSetting;

typedef struct Handlers {
    /* 0: accepted. Otherwise -EBADMSG with the failure set, and the work is over. */
    int (*start)(void *userdata, Work *work, Failure *failure);
    void (*cancel)(void *userdata, Work *work);
    /* The reader of a streamed answer is slow: only this work waits. */
    void (*pause)(void *userdata, Work *work, bool paused);
    /* A conversation of several WORK_ASKs with a model, the selected one if that is NULL; closed
     * once, with a work under way perhaps. -EBADMSG with the failure set. */
    int (*open_session)(void *userdata, const char *model, void **ret_conversation,
                        Failure *failure);
    void (*close_session)(void *userdata, void *conversation);
    /* The caller has been checked. model: of ADMIN_UNLOAD. -EBADMSG with the failure set. */
    int (*administer)(void *userdata, AdminVerb verb, const char *model, Failure *failure);
    void (*status)(void *userdata, ServiceStatus *ret_status);
    const char *(*get_log)(void *userdata, LogSetting setting);
    /* The caller has been checked. -EBADMSG with the failure set. */
    int (*set_log)(void *userdata, LogSetting setting, const char *value, Failure *failure);
} Handlers;

WorkArgs *work_args(Work *w);
const char *work_sender(const Work *w); /* unique name; "" after the client left */
uid_t work_uid(const Work *w);
const char *work_path(const Work *w); /* of a Request; "" otherwise */
/* Of a question in a session; NULL otherwise. Valid until the work ends. */
void *work_conversation(const Work *w);
/* CLOCK_MONOTONIC when the call was read. */
uint64_t work_arrived_usec(const Work *w);
void work_set_job(Work *w, void *job); /* borrowed by the work until it ends */
void *work_job(const Work *w);

/* Answers only: the next bytes, and how far it is (a word such as "prefill"; 0 to 1). */
void work_text(Work *w, const char *bytes, size_t n);
void work_progress(Work *w, const char *stage, double progress);
/* What it is answered from; once, before the first bytes. */
void work_sources(Work *w, const WorkRecord *sources, size_t n);

void work_fail(Work *w, ErrorCode code, const char *message);
/* vectors [n_texts * vector_size] bytes */
void work_finish_vectors(Work *w, const uint8_t *vectors, size_t vector_size, const WorkInfo *info);
/* memfd, which is taken: the same, sealed */
void work_finish_bulk(Work *w, int memfd, const WorkInfo *info);
void work_finish_items(Work *w, const WorkItem *items, size_t vector_size, const WorkInfo *info);
/* scores in falling order, [n_texts]; metric names their scale */
void work_finish_scores(Work *w, const WorkScore *scores, const char *metric, const WorkInfo *info);
void work_finish_empty(Work *w);
/* The path of the collection that was opened. */
void work_finish_opened(Work *w);
void work_finish_collections(Work *w, const WorkCollection *list, size_t n);
/* What became of each item, [n_items]. */
void work_finish_statuses(Work *w, const ErrorCode *statuses);
/* Of AddVectors and Remove. */
void work_finish_count(Work *w, uint64_t n);
/* Of Get; and of searches, with their info. */
void work_finish_names(Work *w, const WorkRecord *records, size_t n);
void work_finish_records(Work *w, const WorkRecord *records, size_t n);
void work_finish_hits(Work *w, const WorkRecord *hits, size_t n, const WorkInfo *info);
/* finish: "stop" or "length" */
void work_finish_answer(Work *w, const char *finish, const WorkInfo *info);
