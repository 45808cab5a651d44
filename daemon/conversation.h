#pragma once

/*
 * A conversation over several questions: the timeline that is kept between them, and what was fed
 * into it, so that the timeline can be made again after the weights have left memory. Made on the
 * loop's thread, which counts its jobs; the rest is the worker's until it is given back by being
 * forgotten.
 */

#include <stdbool.h>
#include <stddef.h>
#include <sys/queue.h>

#include "daemon/feed.h"

/* One question with its answer: first the prompt, then the tokens of the answer. */
typedef struct Exchange {
    STAILQ_ENTRY(Exchange) link;
    float shift;  /* of the gates: more or less effort leaves other rows behind */
    float *rows;  /* [n_rows, d_model]; none of a model that reads text alone */
    int32_t *ids; /* [n_ids] */
    size_t n_rows, n_ids;
} Exchange;

typedef struct Conversation {
    unsigned n_jobs;               /* the loop's: 0 or 1 */
    bool closed;                   /* the loop's: no further job will come */
    char model[RUNTIME_NAME_SIZE]; /* that it was opened with; "": the selected one */

    LIST_ENTRY(Conversation) link;      /* the worker's: of those that have a timeline */
    LIST_ENTRY(Conversation) forgotten; /* under the worker's lock */
    Session *session; /* NULL before the first question, and when the model left */
    const void *home; /* the Slots that the session belongs to */
    STAILQ_HEAD(Exchanges, Exchange) exchanges;
    uint32_t length;                /* tokens of all exchanges */
    bool lost;                      /* there was no memory for one of them */
    char digest[RUNTIME_NAME_SIZE]; /* of the model; "" before a question was answered */
    int32_t last; /* token of the last answer that the next question feeds; -1: none */
} Conversation;

typedef LIST_HEAD(Conversations, Conversation) Conversations;

/* NULL: no memory. */
Conversation *conversation_new(const char *model);
/* Its timeline is closed. */
Conversation *conversation_free(Conversation *c);
/* Whether a question was answered. */
bool conversation_has_begun(const Conversation *c);
/* Keeps copies of what was fed, for a question and of its answer. Without memory the conversation
 * is lost when its timeline is. */
void conversation_add(Conversation *c, const Feed *question, const int32_t *answer, size_t n_answer,
                      float shift);
