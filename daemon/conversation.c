#include "daemon/conversation.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

Conversation *conversation_new(void)
{
    Conversation *c = calloc(1, sizeof *c);

    if (c)
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

static Exchange *exchange_new(const Prompt *prompt, const int32_t *ids, size_t n_ids, float shift)
{
    _cleanup_(exchange_freep) Exchange *e = calloc(1, sizeof *e);
    size_t rows_size = prompt->n * prompt->d_model * sizeof *e->rows;

    if (!e)
        return NULL;
    *e = (Exchange){.shift = shift, .n_rows = prompt->n, .n_ids = n_ids};
    e->rows = malloc(rows_size);
    e->ids = malloc((n_ids + 1) * sizeof *e->ids);
    if (!e->rows || !e->ids)
        return NULL;
    memcpy(e->rows, prompt->rows, rows_size);
    memcpy(e->ids, ids, n_ids * sizeof *e->ids);
    return steal_ptr(&e);
}

void conversation_add(Conversation *c, const Prompt *prompt, const int32_t *ids, size_t n_ids,
                      float shift)
{
    Exchange *e = c->lost ? NULL : exchange_new(prompt, ids, n_ids, shift);

    c->length += (uint32_t)(prompt->n + n_ids);
    if (e)
        STAILQ_INSERT_TAIL(&c->exchanges, e, link);
    else
        c->lost = true;
}
