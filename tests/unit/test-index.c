/* The vector index: what it keeps and finds, its ceilings, and what a killed writer and a damaged
 * file leave. --bench N times the search among N items. */

#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "fusion/index.h"
#include "tests/test.h"

#define N INDEX_VECTOR

static const uint8_t digest[INDEX_DIGEST] = {1, 2, 3}, other[INDEX_DIGEST] = {4};
static char folder[] = "/tmp/test-index.XXXXXX", path[64];
static uint64_t state = 88172645463325252u;

static float noise(void)
{
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return (float)(state >> 40) / (1 << 23) - 1;
}

static void vector_make(float *v)
{
    float sum = 0;

    for (size_t i = 0; i < N; i++) {
        v[i] = noise();
        sum += v[i] * v[i];
    }
    for (size_t i = 0; i < N; i++)
        v[i] /= sqrtf(sum);
}

static double cosine(const float *a, const float *b)
{
    double ab = 0, aa = 0, bb = 0;

    for (size_t i = 0; i < N; i++) {
        ab += (double)a[i] * b[i];
        aa += (double)a[i] * a[i];
        bb += (double)b[i] * b[i];
    }
    return ab / sqrt(aa * bb);
}

static void path_clear(void)
{
    char name[80];

    unlink(path);
    snprintf(name, sizeof name, "%s-wal", path);
    unlink(name);
    snprintf(name, sizeof name, "%s-shm", path);
    unlink(name);
}

static Index *fresh(void)
{
    Index *x;

    path_clear();
    ASSERT_OK(index_open(path, &x));
    ASSERT_OK(index_collection(x, "c", digest));
    return x;
}

static void put(Index *x, size_t first, size_t n, float (*vectors)[N])
{
    IndexItem *items = calloc(n, sizeof *items);
    static const IndexPair pairs[] = {{"kind", "odd"}, {"by", "me"}};
    char(*ids)[24] = calloc(n, sizeof *ids);

    ASSERT(items && ids);
    for (size_t i = 0; i < n; i++) {
        snprintf(ids[i], sizeof ids[i], "i%zu", first + i);
        items[i] = (IndexItem){.id = ids[i],
                               .modality = (Modality)((first + i) % 3),
                               .text = ids[i],
                               .pairs = pairs,
                               .n_pairs = (first + i) % 2 ? 2 : 0,
                               .vector = vectors[i]};
    }
    ASSERT_OK(index_put(x, "c", digest, items, n));
    free(items);
    free(ids);
}

static float (*vectors_make(size_t n))[N]
{
    float(*v)[N] = malloc(n * sizeof *v);

    ASSERT(v);
    for (size_t i = 0; i < n; i++)
        vector_make(v[i]);
    return v;
}

static void test_keep(void)
{
    Index *x = fresh();
    float(*v)[N] = vectors_make(10);
    const char *const ids[] = {"i1", "i3", "none"};
    struct stat st;
    Modality modality;
    char *text;
    size_t n;

    ASSERT_OK(stat(path, &st));
    ASSERT_EQ(st.st_mode & 0777, 0600);
    put(x, 0, 10, v);
    put(x, 5, 5, v); /* in place of those of the same name */
    ASSERT_OK(index_count(x, "c", &n));
    ASSERT_EQ(n, 10);
    ASSERT_OK(index_remove(x, "c", ids, 3, &n));
    ASSERT_EQ(n, 2);
    ASSERT_ERROR(index_text(x, "c", "i1", &modality, &text), ENOENT);
    ASSERT_OK(index_text(x, "c", "i4", &modality, &text));
    ASSERT_EQ(modality, MODALITY_IMAGE);
    ASSERT_STREQ(text, "i4");
    free(text);
    index_close(x);
    ASSERT_OK(index_open(path, &x));
    ASSERT_OK(index_count(x, "c", &n));
    ASSERT_EQ(n, 8);
    ASSERT_OK(index_delete(x, "c"));
    ASSERT_ERROR(index_count(x, "c", &n), ENOENT);
    ASSERT_ERROR(index_delete(x, "c"), ENOENT);
    ASSERT_OK(index_collection(x, "c", other)); /* nothing of the old one is in the new one */
    ASSERT_OK(index_count(x, "c", &n));
    ASSERT_EQ(n, 0);
    index_close(x);
    free(v);
}

/* The first ten are those of a comparison in f32, nearly always, and only of those that pass. */
static void test_search(void)
{
    enum { COUNT = 3000, QUERIES = 50 };
    Index *x = fresh();
    float(*v)[N] = vectors_make(COUNT);
    const IndexPair pair = {"kind", "odd"};
    size_t found = 0, wanted = 0, n;
    IndexHit *hits;
    bool more;

    put(x, 0, COUNT, v);
    for (int k = 0; k < QUERIES; k++) {
        bool filtered = k % 2;
        IndexQuery q = {.limit = 10, .min_score = -1};
        float query[N];

        vector_make(query);
        q.vector = query;
        if (filtered) {
            q.modalities = 1u << MODALITY_IMAGE;
            q.pairs = &pair;
            q.n_pairs = 1;
        }
        ASSERT_OK(index_search(x, "c", digest, &q, &hits, &n, &more));
        ASSERT_EQ(n, 10);
        ASSERT(more);
        for (size_t i = 0; i < n; i++) {
            size_t at = strtoul(hits[i].id + 1, NULL, 10), better = 0;

            ASSERT(!filtered || (at % 3 == MODALITY_IMAGE && at % 2));
            ASSERT_EQ(hits[i].rank, i + 1);
            ASSERT_NEAR(hits[i].score, cosine(v[at], query), 1e-3);
            ASSERT(i == 0 || hits[i].score <= hits[i - 1].score);
            for (size_t o = 0; o < COUNT; o++)
                better += (!filtered || (o % 3 == MODALITY_IMAGE && o % 2)) &&
                          cosine(v[o], query) > cosine(v[at], query);
            found += better < 10;
            wanted++;
        }
        index_hits_free(hits, n);
    }
    fprintf(stderr, "recall %zu of %zu\n", found, wanted);
    ASSERT(found * 100 >= wanted * 99);
    index_close(x);
    free(v);
}

static void test_limits(void)
{
    Index *x = fresh();
    float(*v)[N] = vectors_make(100);
    const IndexPair absent = {"kind", "even"};
    IndexHit *hits;
    size_t n;
    bool more;

    put(x, 0, 100, v);
    IndexQuery q = {.vector = v[7], .limit = 5, .offset = 0, .min_score = 0.99f};
    ASSERT_OK(index_search(x, "c", digest, &q, &hits, &n, &more));
    ASSERT_EQ(n, 1);
    ASSERT(!more);
    ASSERT_STREQ(hits[0].id, "i7");
    index_hits_free(hits, n);
    q.offset = 1;
    ASSERT_OK(index_search(x, "c", digest, &q, &hits, &n, &more));
    ASSERT_EQ(n, 0);
    index_hits_free(hits, n);
    q.offset = 0;
    q.pairs = &absent;
    q.n_pairs = 1;
    ASSERT_OK(index_search(x, "c", digest, &q, &hits, &n, &more));
    ASSERT_EQ(n, 0);
    index_hits_free(hits, n);

    /* The matrix follows what is written. */
    const char *const id = "i7";
    q.n_pairs = 0;
    ASSERT_OK(index_remove(x, "c", &id, 1, &n));
    ASSERT_OK(index_search(x, "c", digest, &q, &hits, &n, &more));
    ASSERT_EQ(n, 0);
    index_hits_free(hits, n);
    index_close(x);
    free(v);
}

static void test_refuse(void)
{
    Index *x = fresh();
    float v[N] = {0}, good[N];
    char name[INDEX_NAME_MAX + 2];
    IndexItem items[2];
    IndexHit *hits;
    size_t n;
    bool more;

    vector_make(good);
    items[0] = (IndexItem){.id = "a", .text = "", .vector = good};
    items[1] = (IndexItem){.id = "b", .text = "", .vector = v};
    ASSERT_ERROR(index_put(x, "c", digest, items, 2), EINVAL); /* all zeros */
    v[3] = NAN;
    ASSERT_ERROR(index_put(x, "c", digest, items, 2), EINVAL);
    ASSERT_OK(index_count(x, "c", &n));
    ASSERT_EQ(n, 0); /* the good one went with the bad one */
    ASSERT_ERROR(index_put(x, "c", other, items, 1), ESTALE);
    ASSERT_ERROR(index_put(x, "d", digest, items, 1), ENOENT);
    ASSERT_ERROR(index_collection(x, "c", other), ESTALE);
    ASSERT_ERROR(index_collection(x, "", digest), EINVAL);
    memset(name, 'n', sizeof name - 1);
    name[sizeof name - 1] = 0;
    ASSERT_ERROR(index_collection(x, name, digest), EINVAL);
    IndexQuery q = {.vector = good, .limit = 1};
    ASSERT_ERROR(index_search(x, "c", other, &q, &hits, &n, &more), ESTALE);
    q.limit = 0;
    ASSERT_ERROR(index_search(x, "c", digest, &q, &hits, &n, &more), EINVAL);
    q.limit = INDEX_HITS_MAX + 1;
    ASSERT_ERROR(index_search(x, "c", digest, &q, &hits, &n, &more), EINVAL);
    for (int i = 1; i < INDEX_COLLECTIONS_MAX; i++) {
        snprintf(name, sizeof name, "n%d", i);
        ASSERT_OK(index_collection(x, name, digest));
    }
    ASSERT_ERROR(index_collection(x, "one more", digest), EDQUOT);
    index_close(x);
}

/* A writer tells by a pipe how many items it has synced, until it is killed. */
static void test_kill(void)
{
    enum { BATCH = 7 };
    float(*v)[N] = vectors_make(BATCH);

    for (int k = 0; k < 20; k++) {
        size_t acknowledged = 0, told, n, rows;
        int ends[2], status;
        IndexHit *hits;
        bool more;
        pid_t pid;
        Index *x;

        path_clear();
        ASSERT_OK(pipe(ends));
        pid = fork();
        ASSERT(pid >= 0);
        if (pid == 0) {
            x = fresh();
            for (size_t first = 0;; first += BATCH) {
                put(x, first, BATCH, v);
                ASSERT_OK(index_sync(x));
                told = first + BATCH;
                ASSERT_EQ(write(ends[1], &told, sizeof told), sizeof told);
            }
        }
        close(ends[1]);
        ASSERT_EQ(read(ends[0], &acknowledged, sizeof told), sizeof told);
        usleep((useconds_t)(k * 1500));
        kill(pid, SIGKILL);
        ASSERT_EQ(waitpid(pid, &status, 0), pid);
        ASSERT(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
        while (read(ends[0], &told, sizeof told) == sizeof told)
            acknowledged = told;
        close(ends[0]);

        ASSERT_OK(index_open(path, &x));
        ASSERT_OK(index_count(x, "c", &rows));
        ASSERT(rows >= acknowledged && rows % BATCH == 0); /* nothing is half there */
        IndexQuery q = {.vector = v[0], .limit = 1000, .min_score = 0.99f};
        ASSERT_OK(index_search(x, "c", digest, &q, &hits, &n, &more));
        ASSERT_EQ(n, rows / BATCH < 1000 ? rows / BATCH : 1000);
        index_hits_free(hits, n);
        index_close(x);
    }
    free(v);
}

static void test_damage(void)
{
    Index *x = fresh();
    float(*v)[N] = vectors_make(200);
    IndexQuery q = {.vector = v[0], .limit = 10, .min_score = -1};
    struct stat st;
    IndexHit *hits;
    size_t n;
    bool more;
    int fd, r;

    put(x, 0, 200, v);
    index_close(x);
    fd = open(path, O_RDWR | O_CLOEXEC);
    ASSERT(fd >= 0);
    ASSERT_OK(fstat(fd, &st));
    for (off_t at = 4096; at < st.st_size; at += 4096)
        ASSERT_EQ(pwrite(fd, "\377\377\377\377\377\377\377\377", 8, at), 8);
    r = index_open(path, &x);
    if (r >= 0) {
        r = index_search(x, "c", digest, &q, &hits, &n, &more);
        index_close(x);
    }
    ASSERT_EQ(r, -EBADMSG);
    ASSERT_EQ(pwrite(fd, "no database at all", 18, 0), 18);
    ASSERT_ERROR(index_open(path, &x), EBADMSG);
    close(fd);
    free(v);
}

static double now(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static void bench(size_t count)
{
    enum { BATCH = 10000 };
    float(*v)[N] = vectors_make(BATCH);
    IndexQuery q = {.vector = v[0], .limit = 10, .min_score = -1};
    Index *x = fresh();
    double start = now(), best = 1e9;
    size_t n;

    for (size_t first = 0; first < count; first += BATCH)
        put(x, first, count - first < BATCH ? count - first : BATCH, v);
    ASSERT_OK(index_sync(x));
    printf("%zu items: written in %.1f s\n", count, now() - start);
    for (int k = 0; k < 12; k++) {
        IndexHit *hits;
        bool more;

        start = now();
        ASSERT_OK(index_search(x, "c", digest, &q, &hits, &n, &more));
        if (k == 0)
            printf("first search, which reads the vectors: %.1f ms\n", 1e3 * (now() - start));
        else if (now() - start < best)
            best = now() - start;
        index_hits_free(hits, n);
    }
    printf("search: %.2f ms\n", 1e3 * best);
    index_close(x);
    free(v);
}

int main(int argc, char **argv)
{
    ASSERT(mkdtemp(folder));
    snprintf(path, sizeof path, "%s/index.db", folder);
    if (argc > 2 && strcmp(argv[1], "--bench") == 0) {
        bench(strtoul(argv[2], NULL, 10));
    } else {
        RUN(test_keep);
        RUN(test_search);
        RUN(test_limits);
        RUN(test_refuse);
        RUN(test_kill);
        RUN(test_damage);
    }
    path_clear();
    rmdir(folder);
    return 0;
}
