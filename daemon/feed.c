#include "daemon/feed.h"

#include <errno.h>
#include <stdlib.h>

int feed_init(Feed *f, Runtime *r)
{
    size_t capacity = engine_context(r->engine) - RUNTIME_ANSWER_ROOM;
    int e;

    if (r->splice) {
        e = prompt_init(&f->rows, r->splice, capacity);
        if (e < 0)
            return e;
    } else {
        f->ids = calloc(capacity, sizeof *f->ids);
        if (!f->ids)
            return -ENOMEM;
    }
    f->capacity = capacity;
    return 0;
}

void feed_deinit(Feed *f, Runtime *r)
{
    if (f->rows.rows)
        prompt_deinit(&f->rows, r->splice);
    free(f->ids);
    *f = (Feed){0};
}

void feed_clear(Feed *f)
{
    f->rows.n = f->n_ids = 0;
}
