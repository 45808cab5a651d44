#include "daemon/conversation.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

Conversation *conversation_new(const char *model)
{
    Conversation *c = calloc(1, sizeof *c);

    if (!c)
        return NULL;
    assert(strlen(model) < sizeof c->model);
    strcpy(c->model, model);
    STAILQ_INIT(&c->exchanges);
    return c;
}

static Exchange *exchange_free(Exchange *e)
{
    if (!e)
        return NULL;
    free(e->rows);
    free(e->ids);
    free(e);
    return NULL;
}
DEFINE_CLEANUP(Exchange *, exchange_free);

Conversation *conversation_free(Conversation *c)
{
    Exchange *e;

    if (!c)
        return NULL;
    assert(!c->session);
    while ((e = STAILQ_FIRST(&c->exchanges))) {
        STAILQ_REMOVE_HEAD(&c->exchanges, link);
        exchange_free(e);
    }
    free(c);
    return NULL;
}

bool conversation_has_begun(const Conversation *c)
{
    return *c->digest != '\0';
}

static Exchange *exchange_new(const Feed *f, const int32_t *answer, size_t n_answer, float shift)
{
    _cleanup_(exchange_freep) Exchange *e = calloc(1, sizeof *e);
    size_t rows_size = f->rows.n * f->rows.d_model * sizeof *e->rows;

    if (!e)
        return NULL;
    *e = (Exchange){.shift = shift, .n_rows = f->rows.n, .n_ids = f->n_ids + n_answer};
    e->rows = malloc(rows_size + 1);
    e->ids = calloc(e->n_ids + 1, sizeof *e->ids);
    if (!e->rows || !e->ids)
        return NULL;
    if (f->rows.n > 0)
        memcpy(e->rows, f->rows.rows, rows_size);
    if (f->n_ids > 0)
        memcpy(e->ids, f->ids, f->n_ids * sizeof *e->ids);
    memcpy(e->ids + f->n_ids, answer, n_answer * sizeof *e->ids);
    return steal_ptr(&e);
}

void conversation_add(Conversation *c, const Feed *question, const int32_t *answer, size_t n_answer,
                      float shift)
{
    Exchange *e = c->lost ? NULL : exchange_new(question, answer, n_answer, shift);

    c->length += (uint32_t)(feed_length(question) + n_answer);
    if (e)
        STAILQ_INSERT_TAIL(&c->exchanges, e, link);
    else
        c->lost = true;
}
