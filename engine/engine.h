#pragma once

/*
 * The decoder: a loaded model, the timelines that run on it, and one forward for rows of several
 * of them.
 *
 * Model: weights bound to names and checked. Session: one timeline with its own caches of keys
 * and values. Engine: a model on a backend with scratch and a page pool sized at open;
 * decoder_forward() steps any number of sessions together. Used by one thread at a time.
 * Formulas: engine/MODEL.md.
 */

#include <stdbool.h>
#include <stdint.h>

#include "engine/backend.h"
#include "engine/base/tokenizer.h"
#include "engine/base/weights.h"

typedef struct Model Model;
typedef struct Engine Engine;
typedef struct Session Session;

typedef struct ModelInfo {
    const char *family; /* "percept" */
    bool gated;         /* groups and experts by gates, which effort moves: MODEL.md, section 8 */
    uint32_t d_model, n_layers, n_heads, n_groups, n_experts, expert_cap, context_length,
        vocab_size;
    uint64_t parameters;         /* every tensor of the file */
    uint64_t decoder_parameters; /* MODEL.md section 10 */
    uint64_t file_bytes;
} ModelInfo;

/* Binds a file to its family's row and checks every key and tensor. Weights are borrowed until
 * model_free. -ENOTSUP: no such family; -EBADMSG: a key or tensor is missing or out of range.
 * weights_error() names it. */
int model_new(Weights *weights, Model **ret_model);
Model *model_free(Model *m);
DEFINE_CLEANUP(Model *, model_free);
const ModelInfo *model_info(const Model *m);
const Tokenizer *model_tokenizer(const Model *m);
/* SHA-256 of the file as 64 hex digits: computed on first use, which reads all of it. */
int model_digest(const Model *m, char ret_hex[65]);

typedef enum EngineCache {
    CACHE_DEFAULT,
    CACHE_F32,
    CACHE_F16,
    CACHE_Q8, /* heads of a multiple of 32 */
} EngineCache;

typedef struct EngineOptions {
    uint32_t max_sessions;   /* default 16 */
    uint32_t max_batch_rows; /* rows of one forward, default 256 */
    uint32_t context;        /* most rows of a session, default and at most the model's */
    /* Cached rows over all sessions, were every gate open; default max_sessions * 512, at least
     * one context. */
    uint32_t max_tokens;
    /* What keys and values are kept in; by default as MODEL.md, section 1, has it. */
    EngineCache cache;
    /* Most bytes that weights and buffers may hold in memory, 0 = no limit; keys and values come on
     * top. Experts that do not fit stay in the file and are read when a layer needs them. */
    uint64_t memory;
} EngineOptions;
EngineOptions engine_options_default(void);

/* -EINVAL: options past their ceilings; -ENOSPC: the memory budget is too small, and
 * weights_error() names the least; -ENOTSUP: no budget or no such cache for these weights, as
 * weights_error() says; -ENOMEM. */
int engine_open(const Model *model, Backend *backend, const EngineOptions *options,
                Engine **ret_engine);
Engine *engine_close(Engine *e);
DEFINE_CLEANUP(Engine *, engine_close);
/* Most rows that a session can have. */
uint32_t engine_context(const Engine *e);
/* Bytes that weights and buffers take in memory, as of EngineOptions.memory: of a file without a
 * budget all of it, which is mapped and in memory as far as it was used. */
uint64_t engine_memory(const Engine *e);

/* -ENOSPC when max_sessions are open. */
int session_open(Engine *e, Session **ret_session);
Session *session_close(Session *s);
DEFINE_CLEANUP(Session *, session_close);
uint32_t session_position(const Session *s);
/* Forgets rows from `position` on (prefix reuse). */
void session_truncate(Session *s, uint32_t position);

/* Which gates run: everyday use is ROUTE_GATES. The others exist for comparison and tests, of
 * models that are gated. */
typedef enum Route {
    ROUTE_GATES,
    ROUTE_ALL,   /* every group and the four largest experts, gates 1 */
    ROUTE_PLAIN, /* the same mathematics through the ungrouped path */
} Route;

/* Rows of one session in a forward. Exactly one of ids and rows is set. Borrowed until the call
 * returns. */
typedef struct BatchItem {
    Session *session;
    const int32_t *ids; /* [n] token ids, or */
    const float *rows;  /* [n, d_model] vectors from fusion */
    uint32_t n;
    float shift;       /* s of these rows: effort / 2 */
    bool want_logits;  /* of the last row */
    float *logits;     /* [vocab_size], written when want_logits; caller's memory */
    float *all_logits; /* [n, vocab_size] or NULL: of every row (scoring) */
} BatchItem;

/* Counters: totals since the session was opened (session) or of the last forward (engine). */
typedef struct Counters {
    uint64_t rows;              /* rows computed */
    uint64_t weight_bytes;      /* slabs read: each once a forward, for all its sessions */
    uint64_t head_bytes;        /* of those, the output head */
    uint64_t kv_bytes;          /* keys and values read */
    uint64_t group_rows;        /* routed groups active (the always-on one not counted)... */
    uint64_t expert_rows;       /* ... and routed experts, over rows and layers */
    uint64_t active_parameters; /* decoder parameters used, summed over rows */
} Counters;

/* Appends every item's rows to its session; a session may stand in one item only. -E2BIG: a
 * session would pass the context; -ENOSPC: the page pool is empty; -EINVAL: an id out of range,
 * no row, or more rows than max_batch_rows; -EIO: the device failed. Nothing is changed on
 * failure. */
int decoder_forward(Engine *e, const BatchItem *items, size_t count, Route route);

/* Where the experts were that forwards needed, since the engine was opened; nothing without a
 * memory budget. */
typedef struct ExpertStats {
    uint64_t slots, slot_bytes; /* room for experts in memory */
    uint64_t resident;          /* there already */
    uint64_t ahead;             /* read ahead in time */
    uint64_t late;              /* waited for */
    uint64_t read_bytes;
} ExpertStats;
ExpertStats engine_expert_stats(const Engine *e);

const Counters *session_counters(const Session *s);
const Counters *engine_counters(const Engine *e);
/* Per-row routing of the last forward, for the density picture: routed groups (without the
 * always-on one) and routed experts of each row, summed over layers, and its density. Borrowed
 * until the next forward. */
typedef struct RouteTrace {
    const uint16_t *groups;
    const uint16_t *experts;
    const float *density;
    size_t n;
} RouteTrace;
RouteTrace engine_trace(const Engine *e);
/* Called after each stage when set, for parity tests: `density` [n, 1], `layer{i}/gates` [n,
 * n_groups], `layer{i}/experts` [n, n_experts] (after the cap, zero elsewhere), `layer{i}/out`
 * [n, d_model], `logits` [wanted, vocab_size]. */
typedef void (*ProbeFunc)(void *userdata, const char *name, const float *rows, size_t n,
                          size_t width);
void engine_set_probe(Engine *e, ProbeFunc probe, void *userdata);

/* Picks the next token; unless every id may be said, the special ids below 8 other than <eos> are
 * never picked (MODEL.md, section 6). */
typedef struct SamplerOptions {
    float temperature; /* 0 = greedy */
    float top_p;       /* 1 = off */
    uint64_t seed;
    bool every_id; /* of models that are not gated */
} SamplerOptions;
typedef struct Sampler {
    SamplerOptions options;
    uint64_t state[2];
} Sampler;
void sampler_init(Sampler *s, const SamplerOptions *options);
/* logits [n] is overwritten when temperature > 0. Ties go to the lower id. */
int32_t sampler_next(Sampler *s, float *logits, size_t n);
