/*
 * The vector index beside others, for search.py: keeps the vectors of a file, then answers each
 * line on standard input, the number of a query, with microseconds and the numbers of the best ten.
 *
 * usage: bench-search FOLDER VECTORS QUERIES; files of f32 [n, 256]
 */

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "fusion/index.h"
#include "tests/test.h"

#define BATCH   10000
#define THREADS 2
#define BEST    10

static const uint8_t digest[INDEX_DIGEST] = {1};

static double now(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static const float *vectors_open(const char *path, size_t *ret_n)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    struct stat st;
    void *p;

    ASSERT(fd >= 0 && fstat(fd, &st) == 0);
    p = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
    ASSERT(p != MAP_FAILED);
    close(fd);
    *ret_n = (size_t)st.st_size / (INDEX_VECTOR * sizeof(float));
    return p;
}

static void keep(Index *x, const float *vectors, size_t first, size_t n)
{
    IndexItem *items = calloc(n, sizeof *items);
    char(*ids)[24] = calloc(n, sizeof *ids);

    ASSERT(items && ids);
    for (size_t i = 0; i < n; i++) {
        snprintf(ids[i], sizeof ids[i], "%zu", first + i);
        items[i] =
            (IndexItem){.id = ids[i], .text = "", .vector = vectors + (first + i) * INDEX_VECTOR};
    }
    ASSERT_OK(index_put(x, "c", digest, items, n));
    free(items);
    free(ids);
}

static void answer(Index *x, const float *query)
{
    const IndexQuery q = {.vector = query, .limit = BEST, .min_score = -1};
    const IndexWish wish = {.max_bytes = 1 << 20};
    double start = now();
    IndexRecords hits;
    bool more;

    ASSERT_OK(index_search(x, "c", digest, &q, &wish, &hits, &more));
    printf("%.1f", 1e6 * (now() - start));
    for (size_t i = 0; i < hits.n; i++)
        printf(" %s", hits.list[i].id);
    printf("\n");
    fflush(stdout);
    index_records_free(&hits);
}

int main(int argc, char **argv)
{
    const float *vectors, *queries;
    size_t n, n_queries, number;
    double start;
    Pool *pool;
    Index *x;

    ASSERT(argc == 4);
    vectors = vectors_open(argv[2], &n);
    queries = vectors_open(argv[3], &n_queries);
    ASSERT_OK(pool_new(THREADS, &pool));
    ASSERT_OK(index_open(argv[1], pool, 0, &x));
    ASSERT_OK(index_collection(x, "c"));
    start = now();
    for (size_t first = 0; first < n; first += BATCH)
        keep(x, vectors, first, n - first < BATCH ? n - first : BATCH);
    ASSERT_OK(index_sync(x));
    printf("%.1f\n", now() - start);
    fflush(stdout);
    while (scanf("%zu", &number) == 1 && number < n_queries)
        answer(x, queries + number * INDEX_VECTOR);
    index_close(x);
    pool_free(pool);
    return 0;
}
