#pragma once

/*
 * Reads of files that go on while their caller computes: an io_uring, or, where the kernel or a
 * sandbox has none, reads done on the spot. Used by one thread. Private to the engine.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "engine/base/cleanup.h"

#define RING_READS_MAX 256 /* under way at a time */

typedef struct Ring Ring;

int ring_new(Ring **ret_ring);
/* Waits for the reads under way. */
Ring *ring_free(Ring *r);
DEFINE_CLEANUP(Ring *, ring_free);

/* How many more reads may be queued. */
size_t ring_room(const Ring *r);
/* Queues a read; `to` belongs to the ring until ring_next() returns its tag. */
void ring_read(Ring *r, int fd, uint64_t offset, void *to, size_t size, uint64_t tag);
/* Starts what is queued. */
void ring_submit(Ring *r);
/* One read that is done: its tag, and bytes or a negative errno. false when none is under way, or,
 * unless `wait`, none is done yet. */
bool ring_next(Ring *r, bool wait, uint64_t *ret_tag, int *ret_result);
