#pragma once

/*
 * A conversation over several questions: the timeline that is kept between them. Made on the loop's
 * thread, which counts its jobs; the rest is the worker's until it is given back by being
 * forgotten.
 */

#include <stdbool.h>
#include <sys/queue.h>

#include "engine/engine.h"

typedef struct Conversation {
    unsigned n_jobs; /* the loop's: 0 or 1 */
    bool closed;     /* the loop's: no further job will come */

    LIST_ENTRY(Conversation) link;      /* the worker's: of those that have a timeline */
    LIST_ENTRY(Conversation) forgotten; /* under the worker's lock */
    Session *session; /* NULL before the first question, and when the model left */
    bool begun;       /* a question was answered */
    int32_t last;     /* token of the last answer; the next question feeds it */
} Conversation;

typedef LIST_HEAD(Conversations, Conversation) Conversations;
