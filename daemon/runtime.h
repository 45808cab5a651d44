#pragma once

/*
 * A loaded model with everything that runs on it. Opened, used and closed by the worker's thread;
 * the names may be read by others while it is open.
 */

#include "daemon/cache.h"
#include "daemon/config.h"
#include "daemon/digests.h"
#include "encoders/encoder.h"
#include "engine/chat.h"
#include "engine/engine.h"
#include "fusion/space.h"
#include "fusion/splice.h"

#define RUNTIME_SLOTS       16
#define RUNTIME_ROWS        256 /* of one forward */
#define RUNTIME_ANSWER_ROOM 16  /* tokens that a question must leave */
#define RUNTIME_ERROR_MAX   320
#define RUNTIME_NAME_SIZE   128

typedef struct Runtime {
    Weights *weights;
    Model *model;
    Backend *backend;
    Engine *engine;
    /* A model that reads text alone has none of these... */
    Encoders *encoders;
    Space *space;
    Splice *splice;
    const ChatForm *form; /* ... but this, where its form of conversation is known */
    Cache *cache;         /* NULL: none is wanted */
    int32_t *ids;         /* [LIMIT_TEXT_BYTES]: tokens of one text, before it is cut */
    char name[RUNTIME_NAME_SIZE], digest[RUNTIME_NAME_SIZE], backend_name[RUNTIME_NAME_SIZE];
    /* Bytes of weights that one run of each encoder reads. */
    uint64_t encoder_bytes[_MODALITY_COUNT];
} Runtime;

/* folders: where models are looked for, NULL-terminated. digests: those that are known, and the new
 * one. On failure ret_error is a sentence without paths. */
int runtime_open(const Config *config, const char *const *folders, Digests *digests,
                 Runtime **ret_runtime, char ret_error[RUNTIME_ERROR_MAX]);
Runtime *runtime_close(Runtime *r);
DEFINE_CLEANUP(Runtime *, runtime_close);
