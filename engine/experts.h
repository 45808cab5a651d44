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
 * Of each layer: begin, then wait before the late units are used, then end; its units stay where
 * they are between begin and end.
 */

#include "engine/model.h"

typedef struct Experts Experts;

/* `bytes`: what all slots together may take. -ENOSPC when they are too few, and ret_least is
 * how many it takes; -ENOTSUP when the experts do not lie in a file; -ENOMEM. */
int experts_new(const Model *model, uint64_t bytes, Experts **ret_experts, uint64_t *ret_least);
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
/* Until the late ones are there. -EIO: the file cannot be read. */
int experts_wait(Experts *x);
const ExpertWeights *experts_unit(const Experts *x, uint32_t layer, size_t unit);
void experts_end(Experts *x);

/* Experts that a layer will likely choose: missing ones are read ahead. */
void experts_expect(Experts *x, uint32_t layer, const int32_t *chosen, size_t n);
/* Tells what a layer chose, once a forward: n_units as in experts_begin(). */
void experts_used(Experts *x, uint32_t layer, const int32_t *unit_first, size_t n_units);

void experts_stats(const Experts *x, ExpertStats *ret_stats);
