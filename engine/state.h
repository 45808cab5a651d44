#pragma once

/*
 * What an open engine holds: sessions with their lanes, and the scratch of one forward. Private
 * to the engine.
 *
 * Everything here is sized in engine_open(); the step path allocates nothing. Between two ops
 * the host reads what ops wrote (gates) after sync().
 */

#include "engine/experts.h"
#include "engine/kv.h"
#include "engine/lookup.h"
#include "engine/model.h"
#include "engine/routing.h"

#define ROUTE_ALL_EXPERTS 4
#define LOGIT_ROWS        64 /* rows of the output head at a time */
#define AHEAD_ROWS        8  /* most rows of a forward for which experts are read ahead */

struct Session {
    Engine *engine;
    bool open;
    uint32_t position;
    Counters counters;
    KvLane *lanes; /* [n_layers, n_groups] */
};

typedef struct ForwardRow {
    Session *session;
    uint32_t position;
    float shift;
} ForwardRow;

/* Parameters and bytes of what a row or a forward uses, counted once at open. */
typedef struct Cost {
    uint64_t parameters, bytes;
} Cost;

typedef struct Costs {
    Cost fixed;                 /* what every row goes through, of all layers together */
    Cost group_router;          /* of all layers; not read when every gate is forced on */
    Cost group;                 /* one routed group of one layer */
    uint64_t expert_parameters; /* one routed expert of one layer */
    uint64_t head_bytes, embedding_row_bytes;
} Costs;

struct Engine {
    const Model *model;
    Backend *backend;
    EngineOptions options;
    Costs costs;
    uint64_t buffer_bytes; /* of all that is allocated below */
    Experts *store;        /* NULL: every expert is used where it is mapped */
    Lookup lookup;         /* with a store */

    KvPool pool;
    Session *sessions; /* [max_sessions] */
    KvLane *lanes;
    void **tables;
    float *frequencies; /* [head_dim / 2]: angle of a position */

    /* Of one forward; R = max_batch_rows, S = slots */
    size_t n_rows;
    ForwardRow *rows; /* [R] */
    float *x, *h;     /* [R, d_model] */
    float *delta;     /* [R]: density */
    float *hidden;    /* [R, d_density] */
    float *rope;      /* [R, head_dim]: cosines, then sines */
    float *scores;    /* [R, max(n_groups, n_experts)]: gates of the layer at hand */
    Packed *packed, *packed_slots;
    Packed *packed_ahead; /* with a store, as the next two: what the next layer's router sees */
    float *h_ahead;       /* [AHEAD_ROWS, d_model] */
    float *scores_ahead;  /* [AHEAD_ROWS, n_experts] */
    Routes groups, experts;
    float *q, *k, *v, *attended; /* [S, group width or head_dim] */
    float *cos_sin;              /* [S, head_dim]: rows of rope */
    float *gate, *up;            /* [S, d_expert] */
    float *y;                    /* [S, d_model] */
    Product *products;
    Tensor (*slabs)[3]; /* [n_groups]: the views that products point at */
    int32_t *slot_ids;  /* [S]: 0, 1, 2, …, for products that read a run of slots */
    AttentionRow *attention;
    int32_t *ids;
    float *logits; /* [LOGIT_ROWS, vocab_size] */

    Counters last;
    uint16_t *row_groups, *row_experts; /* [R] */
    uint64_t *row_kv_bytes;
    ProbeFunc probe;
    void *probe_userdata;
};

/* attention.c: x += routed attention of a layer. -ENOSPC: the page pool is empty. */
int attention_routed(Engine *e, uint32_t layer, Route route);
/* Caches the key and value of one row; fills the attention row except for q and out. */
int attention_append(Engine *e, uint32_t layer, uint32_t group, size_t row, float gate,
                     size_t slot);
/* attention-dense.c: x += attention of a layer whose groups all run. */
int attention_dense(Engine *e, uint32_t layer);
/* moe.c: x += shared and routed experts of a layer. -EIO: an expert cannot be read. */
int moe_routed(Engine *e, uint32_t layer, Route route);
/* router.c: which experts each row goes through, into e->experts. */
void experts_route(Engine *e, uint32_t layer, Route route);
/* Every expert's pre-activation for n packed rows: scores [n, n_experts]. */
void expert_scores(Engine *e, uint32_t layer, Packed *packed, size_t n, float *scores);
/* Has the store read what the router of a layer chooses when it is shown the rows of now; of many
 * rows, what they will likely use. */
void experts_foresee(Engine *e, uint32_t layer, Sight sight);
/* plain.c: every group, four experts, without lists: what the routed path must equal. */
int attention_plain(Engine *e, uint32_t layer);
void moe_plain(Engine *e, uint32_t layer);

/* Pre-activations of a gated router, of the rows of the forward: y[row * stride …]. */
typedef struct Router {
    const Tensor *weight, *bias, *density;
} Router;
void router_scores(Engine *e, const Router *router, Packed *packed, size_t n_rows, float *y,
                   size_t stride);
void probe_rows(Engine *e, int layer, const char *name, const float *rows, size_t n, size_t width);

/* counters.c */
void costs_init(Costs *c, const Model *m);
void counters_begin(Engine *e);
void counters_finish(Engine *e, const BatchItem *items, size_t count, Route route);
