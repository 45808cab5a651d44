#include "engine/base/pool.h"

#include <assert.h>
#include <linux/futex.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/syscall.h>
#include <time.h>

/* An idle thread watches for work this long before it sleeps: longer than the pause between two
 * operations of a forward, short enough that an idle service costs nothing. */
#define SPIN_NS 50000
/* Turns of the spin loop between two looks at the clock. */
#define SPIN_TURNS 64
/* Turns after which a waiting caller lets others run: a worker may have lost its CPU. */
#define WAIT_TURNS 4096

struct Pool {
    /* Chunks of the present loop in the upper half, chunks taken in the lower. Whoever raises the
     * lower half owns a chunk, and until that chunk is done the fields below stay as they are. */
    _Alignas(64) atomic_uint_fast64_t ticket;
    _Alignas(64) atomic_uint done;
    _Alignas(64) PoolFunc func;
    void *userdata;
    size_t n, grain;
    _Alignas(64) atomic_uint sleepers;
    atomic_uint wakes; /* the futex */
    atomic_bool stop;
    unsigned n_threads, n_started;
    struct Worker {
        Pool *pool;
        pthread_t thread;
        unsigned index;
    } workers[POOL_THREADS_MAX];
};

static inline void relax(void)
{
#if defined(__x86_64__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

static uint64_t now_ns(void)
{
    struct timespec ts;

    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

static bool work_left(uint64_t ticket)
{
    return (uint32_t)ticket < (uint32_t)(ticket >> 32);
}

/* Takes and runs chunks until none is left. */
static void pool_run(Pool *pool, unsigned worker)
{
    uint64_t ticket = atomic_load_explicit(&pool->ticket, memory_order_acquire);

    while (work_left(ticket)) {
        if (!atomic_compare_exchange_weak_explicit(&pool->ticket, &ticket, ticket + 1,
                                                   memory_order_acq_rel, memory_order_acquire))
            continue;

        size_t begin = (size_t)(uint32_t)ticket * pool->grain;
        size_t end = begin + pool->grain < pool->n ? begin + pool->grain : pool->n;

        pool->func(pool->userdata, begin, end, worker);
        atomic_fetch_add_explicit(&pool->done, 1, memory_order_release);
        ticket = atomic_load_explicit(&pool->ticket, memory_order_acquire);
    }
}

/* True when there may be work, false when the spin time passed without any. */
static bool pool_spin(Pool *pool)
{
    uint64_t deadline = now_ns() + SPIN_NS;

    do {
        for (int i = 0; i < SPIN_TURNS; i++) {
            if (work_left(atomic_load_explicit(&pool->ticket, memory_order_acquire)) ||
                atomic_load_explicit(&pool->stop, memory_order_relaxed))
                return true;
            relax();
        }
    } while (now_ns() < deadline);
    return false;
}

/* The caller publishes work and then looks for sleepers; a sleeper counts itself and then looks for
 * work. Both in one total order, so one of them sees the other. */
static void pool_sleep(Pool *pool)
{
    unsigned wakes;

    atomic_fetch_add(&pool->sleepers, 1);
    wakes = atomic_load(&pool->wakes);
    if (!work_left(atomic_load(&pool->ticket)) && !atomic_load(&pool->stop))
        syscall(SYS_futex, &pool->wakes, FUTEX_WAIT_PRIVATE, wakes, NULL, NULL, 0);
    atomic_fetch_sub(&pool->sleepers, 1);
}

static void pool_wake(Pool *pool)
{
    if (atomic_load(&pool->sleepers) == 0)
        return;
    atomic_fetch_add(&pool->wakes, 1);
    syscall(SYS_futex, &pool->wakes, FUTEX_WAKE_PRIVATE, POOL_THREADS_MAX, NULL, NULL, 0);
}

static void *worker_main(void *userdata)
{
    struct Worker *worker = userdata;
    Pool *pool = worker->pool;

    while (!atomic_load(&pool->stop)) {
        if (pool_spin(pool))
            pool_run(pool, worker->index);
        else
            pool_sleep(pool);
    }
    return NULL;
}

static unsigned cpus_allowed(void)
{
    cpu_set_t set;

    if (sched_getaffinity(0, sizeof set, &set) < 0)
        return 1;
    return (unsigned)CPU_COUNT(&set);
}

int pool_new(unsigned n_threads, Pool **ret_pool)
{
    _cleanup_(pool_freep) Pool *pool = NULL;

    if (n_threads == 0)
        n_threads = cpus_allowed();
    if (n_threads > POOL_THREADS_MAX)
        n_threads = POOL_THREADS_MAX;

    pool = aligned_alloc(64, (sizeof *pool + 63) / 64 * 64);
    if (!pool)
        return -ENOMEM;
    *pool = (Pool){.n_threads = n_threads};

    for (unsigned i = 1; i < n_threads; i++) {
        struct Worker *worker = &pool->workers[i];

        *worker = (struct Worker){.pool = pool, .index = i};
        int r = pthread_create(&worker->thread, NULL, worker_main, worker);
        if (r > 0)
            return -r;
        pool->n_started = i;
    }

    *ret_pool = steal_ptr(&pool);
    return 0;
}

Pool *pool_free(Pool *pool)
{
    if (!pool)
        return NULL;
    atomic_store(&pool->stop, true);
    pool_wake(pool);
    for (unsigned i = 1; i <= pool->n_started; i++)
        pthread_join(pool->workers[i].thread, NULL);
    free(pool);
    return NULL;
}

unsigned pool_threads(const Pool *pool)
{
    return pool->n_threads;
}

void pool_for(Pool *pool, size_t n, size_t grain, PoolFunc func, void *userdata)
{
    size_t chunks;

    assert(grain > 0);
    if (n == 0)
        return;
    if (pool->n_threads == 1 || n <= grain) {
        func(userdata, 0, n, 0);
        return;
    }
    if (n / grain >= UINT32_MAX)
        grain = n / UINT32_MAX + 1;
    chunks = (n + grain - 1) / grain;

    pool->func = func;
    pool->userdata = userdata;
    pool->n = n;
    pool->grain = grain;
    atomic_store_explicit(&pool->done, 0, memory_order_relaxed);
    atomic_store(&pool->ticket, (uint64_t)chunks << 32);
    pool_wake(pool);

    pool_run(pool, 0);
    for (unsigned turns = 0;
         atomic_load_explicit(&pool->done, memory_order_acquire) != (unsigned)chunks; turns++) {
        if (turns < WAIT_TURNS)
            relax();
        else
            sched_yield();
    }
}
