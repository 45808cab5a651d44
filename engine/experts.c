#include "engine/experts.h"

#include <assert.h>
#include <errno.h>
#include <string.h>
#include <sys/mman.h>

#include "engine/base/direct.h"
#include "engine/ring.h"

#define PARTS     3    /* gate, up, down */
#define SLOTS_MIN 2    /* one computes while the other is read */
#define FILES_MAX 1024 /* that experts of one model lie in */
/* An expert is read ahead when it will be used with this likelihood, and displaces none that is
 * used more often than that: each wrong one delays a right one. */
#define LIKELY        0.6f
#define EXPECTED_RATE 0.25f

typedef enum SlotState {
    SLOT_FREE,
    SLOT_READING,
    SLOT_READY,
} SlotState;

typedef struct Slot {
    SlotState state;
    int32_t expert;   /* layer * n_experts + expert; -1: none */
    uint32_t reading; /* parts that are still read */
    int error;
    bool pinned;       /* the layer at hand uses it */
    bool late;         /* it was missing when the layer began */
    bool ahead;        /* read on expectation, and not yet used */
    uint64_t expected; /* the step for which it was last expected */
    ExpertWeights weights;
    char *data;
} Slot;

/* Where a matrix lies in its file. */
typedef struct Place {
    uint64_t offset;
    uint32_t file; /* in files */
} Place;

typedef struct File {
    int origin; /* descriptor of the weights */
    DirectFile reads;
} File;

struct Experts {
    const Model *model;
    Ring *ring;
    size_t n_slots, slot_bytes, block;
    Slot *slots;
    char *arena;
    size_t arena_bytes;
    int32_t *slot_of; /* [n_layers * n_experts]; -1: in the file only */
    Place *places;    /* [n_layers * n_experts, PARTS] */
    File files[FILES_MAX];
    uint32_t n_files;
    Slot **taken; /* [n_experts]: what the layer at hand uses */
    size_t n_taken;
    uint64_t step; /* layers begun */
    Forecast forecast;
    ExpertStats stats;
};

static int32_t expert_index(const Experts *x, uint32_t layer, size_t expert)
{
    return (int32_t)(layer * x->model->config.n_experts + expert);
}

static const Tensor *expert_part(const ExpertWeights *w, int part)
{
    return part == 0 ? &w->gate : part == 1 ? &w->up : &w->down;
}

static ExpertWeights *mapped(const Model *m, int32_t index)
{
    const ModelConfig *c = &m->config;

    return &m->layers[(uint32_t)index / c->n_experts]
                .units[c->n_shared + (uint32_t)index % c->n_experts];
}

uint64_t experts_bytes(const Model *model)
{
    const ModelConfig *c = &model->config;
    uint64_t bytes = 0;

    for (int32_t i = 0; i < (int32_t)(c->n_layers * c->n_experts); i++)
        bytes += unit_bytes(mapped(model, i));
    return bytes;
}

static int file_find(Experts *x, int origin, uint32_t *ret_file)
{
    for (uint32_t i = 0; i < x->n_files; i++)
        if (x->files[i].origin == origin) {
            *ret_file = i;
            return 0;
        }
    if (x->n_files == FILES_MAX)
        return -EFBIG;
    File *f = &x->files[x->n_files];
    int r = direct_open(origin, &f->reads);
    if (r < 0)
        return r;
    f->origin = origin;
    x->block = f->reads.block > x->block ? f->reads.block : x->block;
    *ret_file = x->n_files++;
    return 0;
}

static int places_fill(Experts *x, int32_t n)
{
    for (int32_t i = 0; i < n; i++)
        for (int part = 0; part < PARTS; part++) {
            Place *p = &x->places[i * PARTS + part];
            const Tensor *t = expert_part(mapped(x->model, i), part);
            int origin;

            if (!weights_locate(x->model->weights, t->data, &origin, &p->offset))
                return -ENOTSUP;
            int r = file_find(x, origin, &p->file);
            if (r < 0)
                return r;
        }
    return 0;
}

/* Room for a matrix wherever it begins in a block. */
static size_t part_room(const Experts *x, const Tensor *t)
{
    return (tensor_bytes(t) + 2 * x->block - 1) / x->block * x->block;
}

static size_t slot_room(const Experts *x, int32_t n)
{
    size_t most = 0;

    for (int32_t i = 0; i < n; i++) {
        size_t bytes = 0;

        for (int part = 0; part < PARTS; part++)
            bytes += part_room(x, expert_part(mapped(x->model, i), part));
        most = bytes > most ? bytes : most;
    }
    return most;
}

static int slots_init(Experts *x)
{
    x->slots = calloc(x->n_slots, sizeof(*x->slots));
    if (!x->slots)
        return -ENOMEM;
    x->arena_bytes = x->n_slots * x->slot_bytes;
    x->arena =
        mmap(NULL, x->arena_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (x->arena == MAP_FAILED) {
        x->arena = NULL;
        return -ENOMEM;
    }
    (void)madvise(x->arena, x->arena_bytes, MADV_HUGEPAGE);
    for (size_t i = 0; i < x->n_slots; i++)
        x->slots[i] = (Slot){.expert = -1, .data = x->arena + i * x->slot_bytes};
    return 0;
}

static WeightsRange tensor_range(const Tensor *t)
{
    return (WeightsRange){t->data, (const char *)t->data + tensor_bytes(t)};
}

/* Everything but experts stays where it is mapped, and experts are not there. */
static int mapping_bound(const Experts *x, int32_t n, const Tensor *absent)
{
    size_t n_parts = (size_t)n * PARTS;
    _cleanup_free_ WeightsRange *parts = calloc(n_parts + 1, sizeof(*parts));

    if (!parts)
        return -ENOMEM;
    for (size_t i = 0; i < n_parts; i++)
        parts[i] =
            tensor_range(expert_part(mapped(x->model, (int32_t)(i / PARTS)), (int)(i % PARTS)));
    if (absent)
        parts[n_parts++] = tensor_range(absent);
    weights_bound(x->model->weights, parts, n_parts);
    return 0;
}

static int experts_init(Experts *x, uint64_t bytes, const Tensor *absent, uint64_t *ret_least)
{
    const ModelConfig *c = &x->model->config;
    int32_t n = (int32_t)(c->n_layers * c->n_experts);

    x->slot_of = malloc((size_t)n * sizeof(*x->slot_of));
    x->taken = calloc(c->n_experts, sizeof(*x->taken));
    x->places = calloc((size_t)n * PARTS, sizeof(*x->places));
    if (!x->slot_of || !x->taken || !x->places)
        return -ENOMEM;
    memset(x->slot_of, -1, (size_t)n * sizeof(*x->slot_of));

    int r = forecast_init(&x->forecast, (size_t)n, (float)c->expert_cap / (float)c->n_experts);
    if (r < 0)
        return r;
    r = places_fill(x, n);
    if (r < 0)
        return r;
    x->slot_bytes = slot_room(x, n);
    x->n_slots = bytes / x->slot_bytes < (uint64_t)n ? (size_t)(bytes / x->slot_bytes) : (size_t)n;
    if (x->n_slots < SLOTS_MIN) {
        *ret_least = SLOTS_MIN * x->slot_bytes;
        return -ENOSPC;
    }
    r = slots_init(x);
    if (r < 0)
        return r;
    r = mapping_bound(x, n, absent);
    if (r < 0)
        return r;
    x->stats.slots = x->n_slots;
    x->stats.slot_bytes = x->slot_bytes;
    return ring_new(&x->ring);
}

int experts_new(const Model *model, uint64_t bytes, const Tensor *absent, Experts **ret_experts,
                uint64_t *ret_least)
{
    _cleanup_(experts_freep) Experts *x = calloc(1, sizeof(*x));

    if (!x)
        return -ENOMEM;
    x->model = model;
    int r = experts_init(x, bytes, absent, ret_least);
    if (r < 0)
        return r;
    *ret_experts = steal_ptr(&x);
    return 0;
}

Experts *experts_free(Experts *x)
{
    if (!x)
        return NULL;
    ring_free(x->ring); /* reads into the arena end first */
    for (uint32_t i = 0; i < x->n_files; i++)
        direct_close(&x->files[i].reads);
    if (x->arena)
        munmap(x->arena, x->arena_bytes);
    free(x->slots);
    free(x->slot_of);
    free(x->taken);
    forecast_deinit(&x->forecast);
    free(x->places);
    free(x);
    return NULL;
}

/* The slot to give up: a free one, else of those not expected from step `step` on the one whose
 * expert is used least of late. NULL when that is used in more than `rate` of the forwards, or all
 * are in use. */
static Slot *slot_choose(Experts *x, uint64_t step, float rate)
{
    Slot *best = NULL;

    for (size_t i = 0; i < x->n_slots; i++) {
        Slot *s = &x->slots[i];

        if (s->state == SLOT_FREE)
            return s;
        if (s->state != SLOT_READY || s->pinned || s->expected >= step)
            continue;
        if (x->forecast.rates[s->expert] < rate) {
            rate = x->forecast.rates[s->expert];
            best = s;
        }
    }
    return best;
}

/* Starts to read an expert into a slot. */
static void slot_fill(Experts *x, Slot *s, int32_t index)
{
    const ExpertWeights *from = mapped(x->model, index);
    Tensor *to[] = {&s->weights.gate, &s->weights.up, &s->weights.down};
    char *at = s->data;

    if (s->expert >= 0)
        x->slot_of[s->expert] = -1;
    s->expert = index;
    s->state = SLOT_READING;
    s->reading = PARTS;
    s->error = 0;
    x->slot_of[index] = (int32_t)(s - x->slots);
    for (int part = 0; part < PARTS; part++) {
        const Tensor *t = expert_part(from, part);
        const Place *p = &x->places[index * PARTS + part];
        size_t skip = p->offset % x->block;
        size_t size = (skip + tensor_bytes(t) + x->block - 1) / x->block * x->block;

        *to[part] = *t;
        to[part]->data = at + skip;
        ring_read(x->ring, x->files[p->file].reads.fd, p->offset - skip, at, size,
                  (uint64_t)(s - x->slots) * PARTS + (uint64_t)part);
        at += part_room(x, t);
        x->stats.read_bytes += size;
    }
}

/* Books a part that is there. The last block of a file may be short. */
static void part_finish(Experts *x, uint64_t tag, int result)
{
    Slot *s = &x->slots[tag / PARTS];
    int part = (int)(tag % PARTS);
    const Tensor *t = expert_part(&s->weights, part);
    const Place *p = &x->places[s->expert * PARTS + part];

    if (result < 0 || (size_t)result < p->offset % x->block + tensor_bytes(t))
        s->error = -EIO;
    direct_forget(&x->files[p->file].reads, p->offset, tensor_bytes(t));
    if (--s->reading > 0)
        return;
    s->state = SLOT_READY;
    if (s->error) {
        x->slot_of[s->expert] = -1;
        s->expert = -1;
        s->state = SLOT_FREE;
    }
}

/* Everything that is done by now; with `wait`, at least one part. */
static bool reap(Experts *x, bool wait)
{
    uint64_t tag;
    int result;
    bool any = false;

    while (ring_next(x->ring, wait && !any, &tag, &result)) {
        part_finish(x, tag, result);
        any = true;
    }
    return any;
}

/* A slot for an expert that is needed, which waits for one that is still read if it must. */
static Slot *slot_take(Experts *x, int32_t index)
{
    int32_t at = x->slot_of[index];

    if (at >= 0) {
        Slot *s = &x->slots[at];

        x->stats.ahead += s->ahead && s->state == SLOT_READY;
        x->stats.resident += !s->ahead && s->state == SLOT_READY;
        s->late = s->state == SLOT_READING;
        s->ahead = false;
        return s;
    }
    if (ring_room(x->ring) < PARTS)
        return NULL;
    Slot *s = slot_choose(x, x->step, 2);
    if (!s)
        s = slot_choose(x, UINT64_MAX, 2);
    if (!s)
        return NULL;
    slot_fill(x, s, index);
    s->late = true;
    s->ahead = false;
    return s;
}

/* What the layer will use and is there must not make room for what is not. */
static void units_expect(Experts *x, uint32_t layer, const int32_t *unit_first, size_t begin,
                         size_t n_units)
{
    uint32_t n_shared = x->model->config.n_shared;

    for (size_t unit = begin < n_shared ? n_shared : begin; unit < n_units; unit++) {
        int32_t at = x->slot_of[expert_index(x, layer, unit - n_shared)];

        if (at >= 0 && unit_first[unit] < unit_first[unit + 1])
            x->slots[at].expected = x->step;
    }
}

size_t experts_begin(Experts *x, uint32_t layer, const int32_t *unit_first, size_t begin,
                     size_t n_units)
{
    uint32_t n_shared = x->model->config.n_shared;
    size_t unit;

    x->step++;
    reap(x, false);
    units_expect(x, layer, unit_first, begin, n_units);
    for (unit = begin; unit < n_units; unit++) {
        if (unit < n_shared || unit_first[unit] == unit_first[unit + 1])
            continue;
        Slot *s = slot_take(x, expert_index(x, layer, unit - n_shared));
        /* The first one must have a slot, and gets one once reads ahead are done. */
        while (!s && x->n_taken == 0 && reap(x, true))
            s = slot_take(x, expert_index(x, layer, unit - n_shared));
        if (!s)
            break;
        s->pinned = true;
        x->taken[x->n_taken++] = s;
        x->stats.late += s->late;
    }
    ring_submit(x->ring);
    return unit;
}

static const Slot *unit_slot(const Experts *x, uint32_t layer, size_t unit)
{
    int32_t at = x->slot_of[expert_index(x, layer, unit - x->model->config.n_shared)];

    return at < 0 ? NULL : &x->slots[at];
}

bool experts_late(const Experts *x, uint32_t layer, size_t unit)
{
    if (unit < x->model->config.n_shared)
        return false;
    const Slot *s = unit_slot(x, layer, unit);
    return !s || s->late;
}

/* Whether a taken unit is still read. */
static bool unit_reading(const Experts *x, uint32_t layer, size_t unit)
{
    return experts_late(x, layer, unit) && unit_slot(x, layer, unit) &&
           unit_slot(x, layer, unit)->state == SLOT_READING;
}

int experts_wait(Experts *x, uint32_t layer, const int32_t *unit_first, size_t begin, size_t end,
                 size_t *ret_end)
{
    bool waited = false;
    size_t unit;

    reap(x, false);
    for (unit = begin; unit < end; unit++) {
        if (unit_first[unit] == unit_first[unit + 1] || !experts_late(x, layer, unit))
            continue;
        if (waited && unit_reading(x, layer, unit))
            break;
        while (unit_reading(x, layer, unit))
            if (!reap(x, true))
                return -EIO;
        if (!unit_slot(x, layer, unit))
            return -EIO;
        waited = true;
    }
    *ret_end = unit;
    return 0;
}

const ExpertWeights *experts_unit(const Experts *x, uint32_t layer, size_t unit)
{
    const Slot *s;

    if (unit < x->model->config.n_shared)
        return &x->model->layers[layer].units[unit];
    s = unit_slot(x, layer, unit);
    assert(s && s->state == SLOT_READY);
    return &s->weights;
}

void experts_end(Experts *x)
{
    for (size_t i = 0; i < x->n_taken; i++)
        x->taken[i]->pinned = x->taken[i]->late = false;
    x->n_taken = 0;
}

/* Reads an expert of the next layer ahead, unless that is more likely to cost than to gain. */
static void expert_expect(Experts *x, int32_t index, float likelihood)
{
    if (likelihood < LIKELY || ring_room(x->ring) < PARTS)
        return;
    Slot *s = slot_choose(x, x->step, EXPECTED_RATE);
    if (!s)
        return;
    slot_fill(x, s, index);
    s->ahead = true;
    s->expected = x->step + 1;
}

void experts_expect(Experts *x, uint32_t layer, Sight sight, const int32_t *chosen, size_t n)
{
    for (size_t rank = 0; rank < n; rank++) {
        int32_t index = expert_index(x, layer, (size_t)chosen[rank]);
        int32_t at = x->slot_of[index];

        if (at >= 0) {
            x->slots[at].expected = x->step + 1;
            continue;
        }
        forecast_note(&x->forecast, sight, index, rank);
        expert_expect(x, index, forecast_trust(&x->forecast, sight, rank));
    }
    ring_submit(x->ring);
}

void experts_expect_any(Experts *x, uint32_t layer, size_t n_rows)
{
    int32_t first = expert_index(x, layer, 0), n = (int32_t)x->model->config.n_experts;

    for (int32_t i = first; i < first + n; i++)
        if (x->slot_of[i] >= 0)
            x->slots[x->slot_of[i]].expected = x->step + 1;
    for (int32_t i = first; i < first + n; i++)
        if (x->slot_of[i] < 0)
            expert_expect(x, i, forecast_any(&x->forecast, i, n_rows));
    ring_submit(x->ring);
}

void experts_used(Experts *x, uint32_t layer, const int32_t *unit_first, size_t n_rows)
{
    const ModelConfig *c = &x->model->config;

    forecast_learn(&x->forecast, expert_index(x, layer, 0), unit_first + c->n_shared, c->n_experts,
                   n_rows);
}

void experts_stats(const Experts *x, ExpertStats *ret_stats)
{
    *ret_stats = x->stats;
}
