#include "daemon/slots.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

#include "daemon/encode.h"

#define TURN_USEC     20000 /* nobody waits longer behind a long prompt or a large batch */
#define ROWS_AT_FIRST 32    /* of a chunk, until it is known how long a row takes */
#define BULK_SLOTS    (RUNTIME_SLOTS / 4)
#define ALONE_USEC    200000 /* when nobody waits, for a model that long chunks are good for */
#define ROWS_OF_A_MIX 16     /* fewer of a model without gates read as many experts, but for less */

int slots_init(Slots *s, Runtime *runtime, Posts *posts)
{
    *s = (Slots){.runtime = runtime, .posts = posts, .usec_per_row = TURN_USEC / ROWS_AT_FIRST};
    return 0;
}

void slots_deinit(Slots *s)
{
    Conversation *c;

    while ((c = LIST_FIRST(&s->conversations)))
        slots_forget(c);
    for (size_t i = 0; i < RUNTIME_SLOTS; i++) {
        assert(!s->slots[i].job);
        if (s->runtime)
            feed_deinit(&s->slots[i].feed, s->runtime);
        free(s->slots[i].logits);
    }
    *s = (Slots){0};
}

void slots_forget(Conversation *c)
{
    if (!c->session)
        return;
    c->session = session_close(c->session);
    c->home = NULL;
    LIST_REMOVE(c, link);
}

unsigned slots_in_hand(const Slots *s)
{
    unsigned n = 0;

    for (size_t i = 0; i < RUNTIME_SLOTS; i++)
        n += s->slots[i].job != NULL;
    return n;
}

bool slots_are_free(const Slots *s)
{
    return slots_in_hand(s) == 0;
}

bool slots_have_room(const Slots *s)
{
    return slots_in_hand(s) < RUNTIME_SLOTS;
}

unsigned slots_of(const Slots *s, const Account *account)
{
    unsigned n = 0;

    for (size_t i = 0; i < RUNTIME_SLOTS; i++)
        n += s->slots[i].job && s->slots[i].job->account == account;
    return n;
}

bool slots_welcome(const Slots *s, const Job *j)
{
    unsigned n = 0;

    for (size_t i = 0; i < RUNTIME_SLOTS; i++)
        n += s->slots[i].job && job_is_bulk(s->slots[i].job);
    return !job_is_bulk(j) || n < BULK_SLOTS;
}

static bool slot_waits(const Slots *s, const Slot *slot)
{
    return slot->job->state == JOB_DECODE &&
           (atomic_load(&slot->job->paused) || !posts_room(s->posts, slot->job));
}

bool slots_runnable(const Slots *s)
{
    for (size_t i = 0; i < RUNTIME_SLOTS; i++) {
        const Slot *slot = &s->slots[i];
        if (slot->job && (atomic_load(&slot->job->cancelled) || !slot_waits(s, slot)))
            return true;
    }
    return false;
}

static float shift_of(const Job *j)
{
    return (float)j->args->options.effort / 2;
}

/* A conversation keeps what was said, unless the question failed. */
static void slot_leave(Slot *slot)
{
    const Job *j = slot->job;
    Conversation *c = j->conversation;

    if (!c)
        session_close(slot->session);
    else if (j->failure.code == ERROR_NONE) {
        conversation_add(c, &slot->feed, slot->fed, slot->n_fed, shift_of(j));
        strcpy(c->digest, j->digest);
        c->last = slot->closed ? -1 : j->token;
    } else if (session_position(slot->session) < slot->base)
        slots_forget(c); /* it was not even made again */
    else
        session_truncate(slot->session, slot->base);
    slot->session = NULL;
}

/* Gives the job back to the loop. */
static void slot_end(Slots *s, Slot *slot)
{
    Job *j = slot->job;

    if (slot->session) {
        const Counters *c = session_counters(slot->session);
        j->weight_bytes += c->weight_bytes - slot->counters.weight_bytes;
        j->kv_bytes += c->kv_bytes - slot->counters.kv_bytes;
        slot_leave(slot);
    }
    slot->job = NULL;
    j->state = JOB_DONE;
    job_begin_waiting(j);
    posts_end(s->posts, j);
}

static void slot_fail(Slots *s, Slot *slot, ErrorCode code, const char *message)
{
    failure_set(&slot->job->failure, code, "%s", message);
    slot_end(s, slot);
}

static int slot_timeline(Slots *s, Slot *slot)
{
    Conversation *c = slot->job->conversation;
    int r;

    slot->replay = NULL;
    slot->replayed = slot->n_fed = 0;
    if (c && c->session)
        slot->session = c->session;
    else {
        r = session_open(s->runtime->engine, &slot->session);
        if (r < 0)
            return r;
        if (c) {
            c->session = slot->session;
            c->home = s;
            LIST_INSERT_HEAD(&s->conversations, c, link);
            slot->replay = STAILQ_FIRST(&c->exchanges);
        }
    }
    slot->base = c ? c->length : 0;
    slot->counters = *session_counters(slot->session);
    return 0;
}

/* What an answer needs besides; kept for the next one, so that only the first in a slot
 * allocates. */
static int slot_prepare(Slots *s, Slot *slot)
{
    if (!slot->logits)
        slot->logits = calloc(model_info(s->runtime->model)->vocab_size, sizeof *slot->logits);
    if (!slot->logits)
        return -ENOMEM;
    if (slot->feed.capacity == 0) {
        int r = feed_init(&slot->feed, s->runtime);
        if (r < 0)
            return r;
    }
    slot->closed = false;
    detokenizer_init(&slot->detokenizer, model_tokenizer(s->runtime->model));
    slot->job->sampler.options.every_id = !s->runtime->splice;
    return slot_timeline(s, slot);
}

static Slot *slot_free(Slots *s)
{
    for (size_t i = 0; i < RUNTIME_SLOTS; i++)
        if (!s->slots[i].job)
            return &s->slots[i];
    return NULL;
}

/* Its timeline is there, or can be made again: by the model that made it, from what was fed. One
 * that another model has begun without an answer is let go. */
static bool can_continue(const Slots *s, Conversation *c)
{
    if (c->session && c->home == s)
        return true;
    if (conversation_has_begun(c))
        return !c->session && !c->lost && strcmp(c->digest, s->runtime->digest) == 0;
    slots_forget(c);
    return true;
}

/* Whether it wants vectors of a model that makes none. */
static bool is_beyond(const Job *j, const Runtime *r)
{
    return !r->encoders && !job_answers(j) && (j->searching || j->n_items > 0);
}

void slots_admit(Slots *s, Job *j)
{
    const Runtime *r = s->runtime;
    Slot *slot = slot_free(s);

    assert(slot);
    job_begin_computing(j);
    j->at_home = strcmp(j->digest, r->digest) == 0;
    strcpy(j->model, r->name);
    strcpy(j->digest, r->digest);
    strcpy(j->backend, r->backend_name);
    j->state = JOB_ENCODING;
    slot->job = j;
    slot->turn = ++s->turn;
    if (is_beyond(j, r))
        slot_fail(s, slot, ERROR_NOT_SUPPORTED,
                  "This model reads text alone and makes no vectors: name one with encoders by "
                  "the option model, or select one by LoadModel.");
    if (!slot->job || !job_answers(j))
        return;
    if (j->conversation && !can_continue(s, j->conversation))
        slot_fail(s, slot, ERROR_MODEL_UNAVAILABLE,
                  "The model was loaded anew: open a new session.");
    else if (slot_prepare(s, slot) < 0)
        slot_fail(s, slot, ERROR_NO_MEMORY, "Out of memory.");
    else if (job_encode_begin(j, s->runtime, &slot->feed) < 0)
        slot_end(s, slot);
    else
        posts_state(s->posts, j, JOB_ENCODING, 0);
}

void slots_drop_cancelled(Slots *s)
{
    for (size_t i = 0; i < RUNTIME_SLOTS; i++)
        if (s->slots[i].job && atomic_load(&s->slots[i].job->cancelled))
            slot_fail(s, &s->slots[i], ERROR_CANCELLED, "The call was cancelled.");
}

/* Everything is encoded: an answer goes on to the decoder, other jobs are done. */
static void slot_encoded(Slots *s, Slot *slot)
{
    uint32_t used, room, context = engine_context(s->runtime->engine);
    Job *j = slot->job;

    if (j->kind == WORK_EMBED_BULK && job_seal_vectors(j) < 0)
        failure_set(&j->failure, ERROR_NO_MEMORY, "Out of memory.");
    if (job_encode_end(j, s->runtime, &slot->feed, slot->base) < 0 || j->kind != WORK_ASK) {
        slot_end(s, slot);
        return;
    }
    used = slot->base + (uint32_t)feed_length(&slot->feed);
    if (used > context - RUNTIME_ANSWER_ROOM) {
        slot_fail(s, slot, ERROR_TOO_LARGE,
                  "The conversation is too long for the model: open a new session.");
        return;
    }
    room = context - used;
    j->max_tokens = j->max_tokens < room ? j->max_tokens : room;
    j->state = JOB_PREFILL;
    posts_state(s->posts, j, JOB_PREFILL, 0);
}

static void slot_encode(Slots *s, Slot *slot, uint64_t until)
{
    Job *j = slot->job;
    Feed *feed = job_answers(j) ? &slot->feed : NULL;

    if (j->searching) {
        (void)job_encode_question(j, s->runtime);
        slot_end(s, slot);
        return;
    }
    while (j->n_encoded < j->n_items) {
        if (job_encode_next(j, s->runtime, feed) < 0) {
            slot_end(s, slot);
            return;
        }
        if (now_usec() >= until && j->n_encoded < j->n_items)
            return;
    }
    slot_encoded(s, slot);
}

/* One item of each at least, so that a large batch holds up nobody; bulk calls come last. */
void slots_encode(Slots *s)
{
    uint64_t until = now_usec() + TURN_USEC;

    for (unsigned bulk = 0; bulk < 2; bulk++)
        for (size_t i = 0; i < RUNTIME_SLOTS; i++) {
            Slot *slot = &s->slots[i];
            if (slot->job && slot->job->state == JOB_ENCODING && job_is_bulk(slot->job) == bulk)
                slot_encode(s, slot, until);
        }
}

static void collect(Slots *s, Slot *slot, const BatchItem *item)
{
    BatchItem *i = &s->items[s->n_items];

    *i = *item;
    i->session = slot->session;
    i->shift = item->shift;
    i->logits = slot->logits;
    s->of_item[s->n_items++] = slot;
}

static size_t rows_of_a_turn(const Slots *s, bool alone)
{
    bool gated = model_info(s->runtime->model)->gated;
    double usec = alone && !gated ? ALONE_USEC : TURN_USEC, rows = usec / s->usec_per_row;
    size_t least = gated ? 1 : ROWS_OF_A_MIX;

    return rows < (double)least                  ? least
           : rows > RUNTIME_ROWS - RUNTIME_SLOTS ? RUNTIME_ROWS - RUNTIME_SLOTS
                                                 : (size_t)rows;
}

static void collect_prompt(Slots *s, Slot *slot, size_t *budget)
{
    Job *j = slot->job;
    const Feed *f = &slot->feed;
    size_t left = feed_length(f) - j->prefilled, n = left < *budget ? left : *budget;

    *budget -= n;
    if (n > 0)
        collect(s, slot,
                &(BatchItem){
                    .rows = f->ids ? NULL : f->rows.rows + j->prefilled * f->rows.d_model,
                    .ids = f->ids ? f->ids + j->prefilled : NULL,
                    .n = (uint32_t)n,
                    .shift = shift_of(j),
                    .want_logits = n == left,
                });
}

/* Once more what was fed before the weights left memory: it becomes the same timeline. */
static void collect_replay(Slots *s, Slot *slot, size_t *budget)
{
    const Exchange *e = slot->replay;
    bool ids = slot->replayed >= e->n_rows;
    size_t done = ids ? slot->replayed - e->n_rows : slot->replayed;
    size_t left = (ids ? e->n_ids : e->n_rows) - done, n = left < *budget ? left : *budget;

    *budget -= n;
    if (n > 0)
        collect(s, slot,
                &(BatchItem){
                    .rows = ids ? NULL : e->rows + done * slot->feed.rows.d_model,
                    .ids = ids ? e->ids + done : NULL,
                    .n = (uint32_t)n,
                    .shift = e->shift,
                });
}

size_t slots_collect(Slots *s, bool alone)
{
    size_t budget = rows_of_a_turn(s, alone);

    s->n_items = 0;
    for (size_t i = 0; i < RUNTIME_SLOTS; i++) {
        Slot *slot = &s->slots[i];
        if (slot->job && slot->job->state == JOB_DECODE && !slot_waits(s, slot))
            collect(s, slot,
                    &(BatchItem){
                        .ids = &slot->job->token,
                        .n = 1,
                        .shift = shift_of(slot->job),
                        .want_logits = true,
                    });
    }
    for (size_t i = 0; i < RUNTIME_SLOTS; i++) {
        Slot *slot = &s->slots[(s->first + i) % RUNTIME_SLOTS];
        if (slot->job && slot->job->state == JOB_PREFILL && slot->replay)
            collect_replay(s, slot, &budget);
        else if (slot->job && slot->job->state == JOB_PREFILL)
            collect_prompt(s, slot, &budget);
    }
    s->first = (s->first + 1) % RUNTIME_SLOTS;
    return s->n_items;
}

/* What the last token left of a character goes out as well. */
static void slot_answered(Slots *s, Slot *slot, const char *finish)
{
    size_t length;
    const char *text = detokenizer_finish(&slot->detokenizer, &length);

    posts_text(s->posts, slot->job, text, length);
    slot->job->finish = finish;
    slot_end(s, slot);
}

/* Takes the next token from the logits: its text goes out, itself into the next forward. */
static void slot_sample(Slots *s, Slot *slot)
{
    const Tokenizer *tokenizer = model_tokenizer(s->runtime->model);
    Job *j = slot->job;
    const char *text;
    size_t length;

    j->token = sampler_next(&j->sampler, slot->logits, model_info(s->runtime->model)->vocab_size);
    if (tokenizer_is_stop(tokenizer, j->token)) {
        /* Where turns are text, the next question brings the end of this one. */
        slot->closed = !s->runtime->splice;
        slot_answered(s, slot, "stop");
        return;
    }
    text = detokenizer_push(&slot->detokenizer, j->token, &length);
    posts_text(s->posts, j, text, length);
    j->tokens++;
    if (++j->said == j->max_tokens)
        slot_answered(s, slot, "length");
}

static void slot_replayed(Slot *slot, size_t n)
{
    slot->replayed += n;
    if (slot->replayed < slot->replay->n_rows + slot->replay->n_ids)
        return;
    slot->replay = STAILQ_NEXT(slot->replay, link);
    slot->replayed = 0;
}

static void slot_advance(Slots *s, Slot *slot, const BatchItem *item)
{
    Job *j = slot->job;

    if (j->state == JOB_DECODE) {
        slot->fed[slot->n_fed++] = j->token;
        slot_sample(s, slot);
        return;
    }
    if (slot->replay) {
        slot_replayed(slot, item->n);
        return;
    }
    j->prefilled += item->n;
    if (j->prefilled < feed_length(&slot->feed)) {
        posts_state(s->posts, j, JOB_PREFILL,
                    (double)j->prefilled / (double)feed_length(&slot->feed));
        return;
    }
    j->state = JOB_DECODE;
    posts_state(s->posts, j, JOB_DECODE, 0);
    slot_sample(s, slot);
}

/* A conversation that has no question in hand; what was fed is kept, so that it can go on. */
static Conversation *resting_conversation(const Slots *s)
{
    Conversation *c, *found = NULL;

    LIST_FOREACH(c, &s->conversations, link) {
        bool resting = !c->lost;
        for (size_t i = 0; i < RUNTIME_SLOTS; i++)
            resting = resting && !(s->slots[i].job && s->slots[i].job->conversation == c);
        if (resting && c->length > 0)
            found = c; /* the last is the oldest */
    }
    return found;
}

/* The caches are full: a conversation that rests gives way, or else the youngest of these, and the
 * others go on in the next turn. */
static void give_way(Slots *s)
{
    Conversation *resting = resting_conversation(s);
    Slot *youngest = s->of_item[0];

    if (resting) {
        slots_forget(resting);
        return;
    }
    for (size_t i = 1; i < s->n_items; i++)
        if (s->of_item[i]->turn > youngest->turn)
            youngest = s->of_item[i];
    slot_fail(s, youngest, ERROR_BUSY, "Too many long questions at once: try later.");
}

void slots_advance(Slots *s, int result, uint64_t usec)
{
    size_t n_rows = 0;

    if (result == -ENOSPC) {
        give_way(s);
        return;
    }
    for (size_t i = 0; i < s->n_items; i++) {
        n_rows += s->items[i].n;
        if (result < 0)
            slot_fail(s, s->of_item[i], ERROR_DEVICE_LOST, "The device failed: try again.");
        else
            slot_advance(s, s->of_item[i], &s->items[i]);
    }
    /* A few rows cost more each: only chunks say how long a chunk takes. */
    if (n_rows >= ROWS_AT_FIRST / 2)
        s->usec_per_row += ((double)usec / (double)n_rows - s->usec_per_row) / 4;
}
