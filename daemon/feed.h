#pragma once

/*
 * What a question feeds into a timeline before its answer: rows, of a model with encoders, or token
 * ids, of one that reads text alone. One of the two stays empty.
 */

#include "daemon/runtime.h"

typedef struct Feed {
    Prompt rows;
    int32_t *ids; /* [capacity] */
    size_t n_ids, capacity;
} Feed;

/* Room for a question as long as the model reads. -ENOMEM. */
int feed_init(Feed *f, Runtime *r);
/* Takes a zeroed one as well. */
void feed_deinit(Feed *f, Runtime *r);
/* Starts over. */
void feed_clear(Feed *f);

static inline size_t feed_length(const Feed *f)
{
    return f->rows.n + f->n_ids;
}

/* How many more there is room for. */
static inline size_t feed_room(const Feed *f)
{
    return f->capacity - feed_length(f);
}
