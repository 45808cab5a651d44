#pragma once

/*
 * The routed experts of a model within a memory budget: all of them live in the file, some in slots
 * in memory. What a layer needs is read into slots before it runs, and what the next layer will
 * likely need is read while this one computes. A slot is given up by how often its expert was used
 * of late. Private to the engine.
 *
 * Reads go around the page cache where the file system lets them, so that the budget is not spent
 * twice.
 *
 * Of each layer: begin, then wait before late units are used, then end; its units stay where they
 * are between begin and end.
 */

#include "engine/forecast.h"
#include "engine/model.h"

typedef struct Experts Experts;

/* `bytes`: what all slots together may take. absent: a tensor that is to stay in the file besides,
 * or NULL. -ENOSPC when they are too few, and ret_least is
 * how many it takes; -ENOTSUP when the experts do not lie in a file; -ENOMEM. */
int experts_new(const Model *model, uint64_t bytes, const Tensor *absent, Experts **ret_experts,
                uint64_t *ret_least);
Experts *experts_free(Experts *x);
DEFINE_CLEANUP(Experts *, experts_free);
/* Bytes of all routed experts in the file. */
uint64_t experts_bytes(const Model *model);

/* Takes units of a layer from `begin` on that have rows, as many as fit; the reads of those
 * that are missing go on. Returns the end of what was taken. unit_first: as in Routes. */
size_t experts_begin(Experts *x, uint32_t layer, const int32_t *unit_first, size_t begin,
                     size_t n_units);
/* Whether a taken unit was missing when it was taken. */
bool experts_late(const Experts *x, uint32_t layer, size_t unit);
/* Waits for the first late unit of [begin, end). Returns how far units are there now, in the order
 * in which they are read. -EIO: the file cannot be read. */
int experts_wait(Experts *x, uint32_t layer, const int32_t *unit_first, size_t begin, size_t end,
                 size_t *ret_end);
const ExpertWeights *experts_unit(const Experts *x, uint32_t layer, size_t unit);
void experts_end(Experts *x);

/* What the next layer's router chooses when it is shown a row of now, best first: missing ones
 * are read ahead when that was right often enough. */
void experts_expect(Experts *x, uint32_t layer, Sight sight, const int32_t *chosen, size_t n);
/* The same for a prompt of many rows: those are read ahead that one of them will likely use. */
void experts_expect_any(Experts *x, uint32_t layer, size_t n_rows);
/* Tells what a layer chose, once a forward. */
void experts_used(Experts *x, uint32_t layer, const int32_t *unit_first, size_t n_rows);

void experts_stats(const Experts *x, ExpertStats *ret_stats);
