#include "engine/base/pool.h"

#include <stdatomic.h>
#include <time.h>

#include "tests/test.h"

typedef struct Marks {
    atomic_uint times[10000];
    atomic_uint workers[POOL_THREADS_MAX];
    size_t grain;
} Marks;

static void mark(void *userdata, size_t begin, size_t end, unsigned worker)
{
    Marks *m = userdata;

    ASSERT_CMP(begin, <, end);
    atomic_fetch_add(&m->workers[worker], 1);
    for (size_t i = begin; i < end; i++)
        atomic_fetch_add(&m->times[i], 1);
}

/* Every index once, whatever the numbers of threads, indices and grain. */
static void test_once(void)
{
    static const size_t sizes[] = {0, 1, 2, 7, 64, 999, 10000}, grains[] = {1, 2, 3, 100, 20000};

    for (unsigned threads = 1; threads <= 5; threads += 2) {
        _cleanup_(pool_freep) Pool *pool = NULL;

        ASSERT_OK(pool_new(threads, &pool));
        ASSERT_EQ(pool_threads(pool), threads);
        for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++)
            for (size_t j = 0; j < sizeof grains / sizeof *grains; j++) {
                static Marks m;

                memset(&m, 0, sizeof m);
                pool_for(pool, sizes[i], grains[j], mark, &m);
                for (size_t k = 0; k < 10000; k++)
                    ASSERT_EQ(m.times[k], k < sizes[i]);
                for (unsigned k = threads; k < POOL_THREADS_MAX; k++)
                    ASSERT_EQ(m.workers[k], 0);
            }
    }
}

static void add_one(void *userdata, size_t begin, size_t end, unsigned worker)
{
    (void)worker;
    atomic_fetch_add((atomic_size_t *)userdata, end - begin);
}

/* Many short loops one after the other, some after a pause in which the workers fall asleep. */
static void test_many(void)
{
    _cleanup_(pool_freep) Pool *pool = NULL;
    atomic_size_t count = 0;

    ASSERT_OK(pool_new(4, &pool));
    for (int i = 0; i < 20000; i++)
        pool_for(pool, 8, 1, add_one, &count);
    ASSERT_EQ(count, 160000);
    for (int i = 0; i < 50; i++) {
        nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
        pool_for(pool, 8, 1, add_one, &count);
    }
    ASSERT_EQ(count, 160400);
}

static void meet(void *userdata, size_t begin, size_t end, unsigned worker)
{
    atomic_uint *here = userdata;
    time_t start = time(NULL);

    (void)begin;
    (void)end;
    (void)worker;
    atomic_fetch_add(here, 1);
    while (atomic_load(here) < 3 && time(NULL) < start + 20)
        ;
}

/* Three chunks that wait for each other need three threads at once. */
static void test_together(void)
{
    _cleanup_(pool_freep) Pool *pool = NULL;
    atomic_uint here = 0;

    ASSERT_OK(pool_new(3, &pool));
    nanosleep(&(struct timespec){.tv_nsec = 2000000}, NULL);
    pool_for(pool, 3, 1, meet, &here);
    ASSERT_EQ(here, 3);
}

/* Opened and closed at once, with threads that have hardly begun. */
static void test_open_close(void)
{
    for (int i = 0; i < 200; i++) {
        Pool *pool = NULL;

        ASSERT_OK(pool_new(1 + (unsigned)i % 5, &pool));
        ASSERT(!pool_free(pool));
    }
    ASSERT(!pool_free(NULL));
}

int main(void)
{
    RUN(test_once);
    RUN(test_many);
    RUN(test_together);
    RUN(test_open_close);
    return 0;
}
