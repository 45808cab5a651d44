#pragma once

/*
 * A fixed set of threads that share loops. The caller's thread takes part; a pool of one starts
 * none. Work is split in fixed ranges, so results never depend on the number of threads as long
 * as one index's work does not. Idle threads spin for a moment and then sleep: a loop that
 * follows soon after another starts within a microsecond.
 */

#include <stddef.h>

#include "engine/base/cleanup.h"

#define POOL_THREADS_MAX 64

typedef struct Pool Pool;
/* Runs indices [begin, end). worker is 0 … n_threads - 1, for per-thread scratch. */
typedef void (*PoolFunc)(void *userdata, size_t begin, size_t end, unsigned worker);

/* n_threads 0: the CPUs this process may run on. At most POOL_THREADS_MAX are started. -ENOMEM, or
 * what pthread_create() says. */
int pool_new(unsigned n_threads, Pool **ret_pool);
Pool *pool_free(Pool *pool);
DEFINE_CLEANUP(Pool *, pool_free);
unsigned pool_threads(const Pool *pool);
/* Splits [0, n) into chunks of at least `grain` and returns when all ran. One chunk runs on the
 * caller's thread without waking anybody. Not re-entrant. */
void pool_for(Pool *pool, size_t n, size_t grain, PoolFunc func, void *userdata);
