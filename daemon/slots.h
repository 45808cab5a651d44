#pragma once

/*
 * The jobs that the worker has in hand, each in a slot with its own timeline, prompt and logits.
 * Every turn the worker encodes a slice, collects the rows that are ready, runs one forward over
 * all of them, and advances each job. The worker's thread only.
 */

#include "daemon/posts.h"
#include "engine/base/detokenizer.h"

typedef struct Slot {
    Job *job; /* NULL: free */
    Session *session;
    uint32_t base;     /* its position without the job... */
    Counters counters; /* ... and what it had read by then */
    Feed feed;         /* kept from job to job */
    float *logits;     /* [vocab_size] */
    Exchange *replay;  /* of the conversation, the next to be fed again; NULL: there is none */
    size_t replayed;   /* rows and tokens of it */
    int32_t fed[LIMIT_ANSWER_TOKENS]; /* of the answer */
    size_t n_fed;
    bool closed; /* the answer has ended with a token that is not fed */
    Detokenizer detokenizer;
    uint64_t turn; /* of its admission */
} Slot;

typedef struct Slots {
    Runtime *runtime;
    Posts *posts;
    Slot slots[RUNTIME_SLOTS];
    BatchItem items[RUNTIME_SLOTS];
    Slot *of_item[RUNTIME_SLOTS];
    size_t n_items;
    unsigned first; /* whose rows are taken first, so that long prompts take turns */
    double usec_per_row;
    Conversations conversations; /* those with a timeline */
    uint64_t turn;
} Slots;

int slots_init(Slots *s, Runtime *runtime, Posts *posts);
/* Every slot is free by now. */
void slots_deinit(Slots *s);

unsigned slots_in_hand(const Slots *s);
bool slots_are_free(const Slots *s);
bool slots_have_room(const Slots *s);
/* Whether a turn would do anything. */
bool slots_runnable(const Slots *s);
unsigned slots_of(const Slots *s, const Account *account);
/* Whether it may have one of the slots now: bulk calls are kept to a few of them. */
bool slots_welcome(const Slots *s, const Job *j);
/* The conversation is over, no job of it is in hand. */
void slots_forget(Conversation *c);
/* Takes a job; there must be room. */
void slots_admit(Slots *s, Job *j);

/* A turn. */
void slots_drop_cancelled(Slots *s);
void slots_encode(Slots *s);
/* alone: nobody else waits for the worker. */
size_t slots_collect(Slots *s, bool alone);
void slots_advance(Slots *s, int result, uint64_t usec);
