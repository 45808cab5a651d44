/* The vector index: what it keeps and finds, its ceilings, and what a killed writer and a damaged
 * file leave. --bench N times the search among N items. */

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "engine/cpu/cpuid.h"
#include "fusion/index.h"
#include "tests/test.h"

#define N INDEX_VECTOR

static const uint8_t digest[INDEX_DIGEST] = {1, 2, 3}, other[INDEX_DIGEST] = {4};
static char folder[] = "/tmp/test-index.XXXXXX", path[64];
static Pool *pool; /* of two, whatever the machine has */
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
    int r = index_purge(path);

    ASSERT(r == 0 || r == -ENOENT);
}

static Index *reopen(Index *x)
{
    index_close(x);
    ASSERT_OK(index_open(path, pool, 0, &x));
    return x;
}

static Index *fresh(void)
{
    Index *x;

    path_clear();
    ASSERT_OK(index_open(path, pool, 0, &x));
    ASSERT_OK(index_collection(x, "c"));
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

static const IndexWish wish = {.text_bytes = INDEX_TEXT_MAX, .max_bytes = 1 << 20};

static size_t count(Index *x, const char *name)
{
    IndexCollection c;

    ASSERT_OK(index_info(x, name, &c));
    return c.n_items;
}

/* The ids that a search finds. */
static IndexRecords search(Index *x, const uint8_t *model, const IndexQuery *q, bool *ret_more)
{
    IndexRecords hits;
    bool more;

    ASSERT_OK(index_search(x, "c", model, q, &wish, &hits, ret_more ? ret_more : &more));
    return hits;
}

static void test_keep(void)
{
    Index *x = fresh();
    float(*v)[N] = vectors_make(10);
    const char *const ids[] = {"i1", "none", "i4"};
    IndexCollection *list;
    IndexRecords found;
    struct stat st;
    char name[80];
    size_t n;

    ASSERT_OK(stat(path, &st));
    ASSERT_EQ(st.st_mode & 0777, 0700);
    snprintf(name, sizeof name, "%s/index.db", path);
    ASSERT_OK(stat(name, &st));
    ASSERT_EQ(st.st_mode & 0777, 0600);
    put(x, 0, 10, v);
    put(x, 5, 5, v); /* in place of those of the same name */
    ASSERT_EQ(count(x, "c"), 10);
    ASSERT_OK(index_remove(x, "c", (const char *[]){"i0", "i3", "none", "i3"}, 4, &n));
    ASSERT_EQ(n, 2);
    ASSERT_OK(index_get(x, "c", ids, 3, &wish, &found));
    ASSERT_EQ(found.n, 2);
    ASSERT_STREQ(found.list[0].id, "i1");
    ASSERT_STREQ(found.list[0].text, "i1");
    ASSERT_EQ(found.list[0].modality, MODALITY_IMAGE);
    ASSERT_EQ(found.list[0].n_pairs, 2);
    ASSERT_STREQ(found.list[0].pairs[1].key, "kind");
    ASSERT_STREQ(found.list[0].pairs[1].value, "odd");
    ASSERT(!found.list[0].stale);
    ASSERT_NEAR(cosine(found.list[0].vector, v[1]), 1, 1e-5);
    ASSERT_EQ(found.list[1].n_pairs, 0);
    index_records_free(&found);
    ASSERT_ERROR(index_get(x, "c", &ids[1], 1, &wish, &found), ENOENT);
    ASSERT_ERROR(index_get(x, "c", ids, 3, &(IndexWish){.max_bytes = 10}, &found), E2BIG);
    ASSERT_OK(index_names(x, "c", "i1", 3, &found));
    ASSERT_EQ(found.n, 3);
    ASSERT_STREQ(found.list[0].id, "i2");
    ASSERT_STREQ(found.list[2].id, "i5");
    index_records_free(&found);
    ASSERT_OK(index_names(x, "c", "", 100, &found));
    ASSERT_EQ(found.n, 8);
    index_records_free(&found);
    ASSERT_OK(index_names(x, "c", "i9", 1, &found));
    ASSERT_EQ(found.n, 0);
    index_records_free(&found);
    ASSERT_ERROR(index_names(x, "d", "", 1, &found), ENOENT);
    x = reopen(x);
    ASSERT_EQ(count(x, "c"), 8);
    ASSERT_OK(index_collection(x, "a"));
    ASSERT_OK(index_list(x, &list, &n));
    ASSERT_EQ(n, 2);
    ASSERT_STREQ(list[0].name, "a");
    ASSERT(!list[0].has_model && list[1].has_model);
    ASSERT_EQ(memcmp(list[1].digest, digest, sizeof digest), 0);
    free(list);
    ASSERT_OK(index_delete(x, "c"));
    ASSERT_ERROR(index_remove(x, "c", ids, 1, &n), ENOENT);
    ASSERT_ERROR(index_delete(x, "c"), ENOENT);
    ASSERT_OK(index_collection(x, "c")); /* nothing of the old one is in the new one */
    ASSERT_EQ(count(x, "c"), 0);
    ASSERT(index_is_current(x));
    path_clear();
    ASSERT(!index_is_current(x));
    index_close(x);
    free(v);
}

/* A text is cut between characters. */
static void test_text(void)
{
    Index *x = fresh();
    const char *const id = "\u00e4\u00f6\u00fc";
    float v[N];
    IndexItem item = {.id = id, .text = "\u00e4\u00f6\u00fc", .vector = v};
    IndexRecords found;

    vector_make(v);
    ASSERT_OK(index_put(x, "c", digest, &item, 1));
    for (size_t max = 0; max < 9; max++) {
        ASSERT_OK(index_get(x, "c", &id, 1, &(IndexWish){max, 100}, &found));
        if (max == 0)
            ASSERT(!found.list[0].text);
        else
            ASSERT_EQ(strlen(found.list[0].text), max < 6 ? max / 2 * 2 : 6);
        index_records_free(&found);
    }
    index_close(x);
}

/* The first ten are those of a comparison in f32, nearly always, and only of those that pass. */
static void test_search(void)
{
    enum { COUNT = 3000, QUERIES = 50 };
    Index *x = fresh();
    float(*v)[N] = vectors_make(COUNT);
    const IndexPair pair = {"kind", "odd"};
    size_t found = 0, wanted = 0;
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
        IndexRecords hits = search(x, digest, &q, &more);
        ASSERT_EQ(hits.n, 10);
        ASSERT(more);
        for (size_t i = 0; i < hits.n; i++) {
            const IndexRecord *hit = &hits.list[i];
            size_t at = strtoul(hit->id + 1, NULL, 10), better = 0;

            ASSERT(!filtered || (at % 3 == MODALITY_IMAGE && at % 2));
            ASSERT_EQ(hit->rank, i + 1);
            ASSERT_NEAR(hit->score, cosine(v[at], query), 1e-3);
            ASSERT(i == 0 || hit->score <= hit[-1].score);
            for (size_t o = 0; o < COUNT; o++)
                better += (!filtered || (o % 3 == MODALITY_IMAGE && o % 2)) &&
                          cosine(v[o], query) > cosine(v[at], query);
            found += better < 10;
            wanted++;
        }
        index_records_free(&hits);
    }
    fprintf(stderr, "recall %zu of %zu\n", found, wanted);
    ASSERT(found * 100 >= wanted * 99);
    index_close(x);
    free(v);
}

static void expect(Index *x, const uint8_t *model, const IndexQuery *q, size_t n, bool more)
{
    bool found_more;
    IndexRecords hits = search(x, model, q, &found_more);

    ASSERT_EQ(hits.n, n);
    ASSERT_EQ(found_more, more);
    index_records_free(&hits);
}

static void test_limits(void)
{
    Index *x = fresh();
    float(*v)[N] = vectors_make(100);
    const IndexPair absent = {"kind", "even"};
    const char *const id = "i7";
    size_t n;

    put(x, 0, 100, v);
    IndexQuery q = {.vector = v[7], .limit = 5, .offset = 0, .min_score = 0.99f};
    IndexRecords hits = search(x, digest, &q, NULL);
    ASSERT_EQ(hits.n, 1);
    ASSERT_STREQ(hits.list[0].id, "i7");
    index_records_free(&hits);
    q.offset = 1;
    expect(x, digest, &q, 0, false);
    q.min_score = -1;
    q.offset = 95;
    expect(x, digest, &q, 5, false);
    q.offset = 94;
    expect(x, digest, &q, 5, true);
    q.offset = 0;
    q.pairs = &absent;
    q.n_pairs = 1;
    expect(x, digest, &q, 0, false);
    q.n_pairs = 0;
    q.min_score = 0.99f;
    ASSERT_OK(index_remove(x, "c", &id, 1, &n));
    expect(x, digest, &q, 0, false);
    index_close(x);
    free(v);
}

/* A row's first byte. */
static void scratch(const char *file)
{
    int fd = open(file, O_RDWR | O_CLOEXEC);

    ASSERT(fd >= 0 || errno == ENOENT);
    if (fd >= 0) {
        ASSERT_EQ(pwrite(fd, "\377", 1, 64 + 16 * (rand() % 100)), 1);
        close(fd);
    }
}

/* Whatever is added and removed, before and after a matrix is there, a search finds what is left;
 * and so it does from a file that was left, damaged or taken away. */
static void test_matrix(void)
{
    enum { COUNT = 5000 };
    Index *x = fresh();
    float(*v)[N] = vectors_make(COUNT);
    bool there[COUNT] = {false};
    char file[80];
    size_t n;

    snprintf(file, sizeof file, "%s/1.rows", path);
    for (int turn = 0; turn < 60; turn++) {
        size_t first = (size_t)rand() % (COUNT - 500), some = 1 + (size_t)rand() % 500;
        size_t at = (size_t)rand() % COUNT;
        IndexQuery q = {.vector = v[at], .limit = 1, .min_score = 0.99f};

        if (turn % 3 != 2) {
            put(x, first, some, v + first);
            for (size_t i = first; i < first + some; i++)
                there[i] = true;
        } else
            for (size_t i = first; i < first + some; i++) {
                char id[24];
                snprintf(id, sizeof id, "i%zu", i);
                ASSERT_OK(index_remove(x, "c", (const char *[]){id}, 1, &n));
                ASSERT_EQ(n, there[i]);
                there[i] = false;
            }
        index_close(x);
        if (turn % 10 == 5)
            unlink(file);
        if (turn % 10 == 7 && truncate(file, 3000) < 0)
            ASSERT_EQ(errno, ENOENT);
        if (turn % 10 == 9)
            scratch(file);
        ASSERT_OK(index_open(path, pool, 0, &x));
        if (turn % 2)
            expect(x, digest, &q, there[at], false);
    }
    for (size_t at = 0; at < COUNT; at += 97) {
        IndexQuery q = {.vector = v[at], .limit = 1, .min_score = 0.99f};
        expect(x, digest, &q, there[at], false);
    }
    index_close(x);
    free(v);
}

/* A write leaves the matrix as it was but for what it adds: the file is not made again. */
static void test_append(void)
{
    Index *x = fresh();
    float(*v)[N] = vectors_make(2000);
    IndexQuery q = {.vector = v[1999], .limit = 1, .min_score = 0.99f};
    struct stat before, after;
    char file[80];

    snprintf(file, sizeof file, "%s/1.rows", path);
    put(x, 0, 1000, v);
    expect(x, digest, &q, 0, false);
    ASSERT_OK(stat(file, &before));
    put(x, 1000, 1000, v + 1000);
    x = reopen(x);
    expect(x, digest, &q, 1, false);
    ASSERT_OK(stat(file, &after));
    ASSERT_EQ(before.st_ino, after.st_ino);
    ASSERT_EQ(after.st_size - before.st_size, 1000 * 16);
    index_close(x);
    free(v);
}

static void test_refuse(void)
{
    Index *x = fresh();
    float v[N] = {0}, good[N];
    char name[INDEX_NAME_MAX + 2];
    IndexItem items[2];
    IndexRecords hits;
    bool more;

    vector_make(good);
    items[0] = (IndexItem){.id = "a", .text = "", .vector = good};
    items[1] = (IndexItem){.id = "b", .text = "", .vector = v};
    ASSERT_ERROR(index_put(x, "c", digest, items, 2), EINVAL); /* all zeros */
    v[3] = NAN;
    ASSERT_ERROR(index_put(x, "c", digest, items, 2), EINVAL);
    ASSERT_EQ(count(x, "c"), 0); /* the good one went with the bad one */
    ASSERT_OK(index_put(x, "c", digest, items, 1));
    ASSERT_ERROR(index_put(x, "c", other, items, 1), ESTALE);
    ASSERT_ERROR(index_put(x, "d", digest, items, 1), ENOENT);
    ASSERT_ERROR(index_collection(x, ""), EINVAL);
    memset(name, 'n', sizeof name - 1);
    name[sizeof name - 1] = 0;
    ASSERT_ERROR(index_collection(x, name), EINVAL);
    IndexQuery q = {.vector = good, .limit = 1};
    ASSERT_ERROR(index_search(x, "c", other, &q, &wish, &hits, &more), ESTALE);
    q.limit = 0;
    ASSERT_ERROR(index_search(x, "c", digest, &q, &wish, &hits, &more), EINVAL);
    q.limit = INDEX_HITS_MAX + 1;
    ASSERT_ERROR(index_search(x, "c", digest, &q, &wish, &hits, &more), EINVAL);
    for (int i = 1; i < INDEX_COLLECTIONS_MAX; i++) {
        snprintf(name, sizeof name, "n%d", i);
        ASSERT_OK(index_collection(x, name));
    }
    ASSERT_ERROR(index_collection(x, "one more"), EDQUOT);
    index_close(x);
}

/* Another model: texts are made anew in several goes, over a restart, and what is no text stays
 * stale until it is put again. */
static void test_rebuild(void)
{
    enum { COUNT = 30 };
    Index *x = fresh();
    float(*v)[N] = vectors_make(2 * COUNT), (*w)[N] = v + COUNT;
    IndexQuery q = {.vector = w[3], .limit = 1, .min_score = 0.99f};
    IndexRecords hits;
    IndexCollection c;
    IndexText *texts;
    size_t n, total = 0;
    bool more;

    put(x, 0, COUNT, v);
    ASSERT_OK(index_rebuild_begin(x, "c", digest)); /* nothing to do */
    ASSERT_OK(index_info(x, "c", &c));
    ASSERT(!c.rebuilding && c.n_stale == 0);
    ASSERT_OK(index_rebuild_begin(x, "c", other));
    for (;;) {
        ASSERT_OK(index_info(x, "c", &c));
        ASSERT(c.rebuilding);
        ASSERT_EQ(c.n_stale, COUNT - total);
        ASSERT_NEAR(c.progress, (double)total / (COUNT / 3), 1e-6);
        ASSERT_ERROR(index_search(x, "c", other, &q, &wish, &hits, &more), ESTALE);
        ASSERT_ERROR(index_search(x, "c", digest, &q, &wish, &hits, &more), ESTALE);
        ASSERT_OK(index_rebuild_next(x, "c", 4, 100, &texts, &n));
        if (n == 0)
            break;
        for (size_t i = 0; i < n; i++)
            texts[i].vector = w[strtoul(texts[i].text + 1, NULL, 10)];
        ASSERT_ERROR(index_rebuild_put(x, "c", digest, texts, n), ESTALE);
        ASSERT_OK(index_rebuild_put(x, "c", other, texts, n));
        index_texts_free(texts, n);
        total += n;
        x = reopen(x);
    }
    index_texts_free(texts, 0);
    ASSERT_EQ(total, COUNT / 3);
    expect(x, other, &q, 1, false);
    q.vector = w[4]; /* a picture */
    expect(x, other, &q, 0, false);
    ASSERT_OK(index_info(x, "c", &c));
    ASSERT(!c.rebuilding);
    ASSERT_EQ(c.n_stale, COUNT - COUNT / 3);
    ASSERT_OK(index_get(x, "c", (const char *[]){"i3", "i4"}, 2, &wish, &hits));
    ASSERT(!hits.list[0].stale && hits.list[1].stale);
    index_records_free(&hits);
    IndexItem item = {.id = "i4", .modality = MODALITY_IMAGE, .text = "", .vector = w[4]};
    ASSERT_OK(index_put(x, "c", other, &item, 1));
    expect(x, other, &q, 1, false);
    index_close(x);
    free(v);
}

/* A writer tells by a pipe how many items it has synced, until it is killed. */
static void test_kill(void)
{
    enum { BATCH = 7 };
    float(*v)[N] = vectors_make(BATCH);

    for (int k = 0; k < 20; k++) {
        size_t acknowledged = 0, told, rows;
        int ends[2], status;
        pid_t pid;
        Index *x;

        path_clear();
        ASSERT_OK(pipe(ends));
        pid = fork();
        ASSERT(pid >= 0);
        if (pid == 0) {
            IndexQuery q = {.vector = v[0], .limit = 1};
            pool = NULL; /* its threads are the parent's */
            x = fresh();
            for (size_t first = 0;; first += BATCH) {
                put(x, first, BATCH, v);
                expect(x, digest, &q, 1, true);
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

        ASSERT_OK(index_open(path, pool, 0, &x));
        rows = count(x, "c");
        ASSERT(rows >= acknowledged && rows % BATCH == 0); /* nothing is half there */
        IndexQuery q = {.vector = v[0], .limit = 1000, .min_score = 0.99f};
        expect(x, digest, &q, rows / BATCH < 1000 ? rows / BATCH : 1000, rows / BATCH > 1000);
        index_close(x);
    }
    free(v);
}

static void test_damage(void)
{
    Index *x = fresh();
    float(*v)[N] = vectors_make(200);
    IndexQuery q = {.vector = v[0], .limit = 10, .min_score = -1};
    IndexRecords hits;
    struct stat st;
    char file[80];
    bool more;
    int fd, r;

    snprintf(file, sizeof file, "%s/index.db", path);
    put(x, 0, 200, v);
    index_close(x);
    fd = open(file, O_RDWR | O_CLOEXEC);
    ASSERT(fd >= 0);
    ASSERT_OK(fstat(fd, &st));
    for (off_t at = 4096; at < st.st_size; at += 4096)
        ASSERT_EQ(pwrite(fd, "\377\377\377\377\377\377\377\377", 8, at), 8);
    r = index_open(path, pool, 0, &x);
    if (r >= 0) {
        r = index_search(x, "c", digest, &q, &wish, &hits, &more);
        index_close(x);
    }
    ASSERT_EQ(r, -EBADMSG);
    ASSERT_EQ(pwrite(fd, "no database at all", 18, 0), 18);
    ASSERT_ERROR(index_open(path, pool, 0, &x), EBADMSG);
    close(fd);
    free(v);
}

static double now(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* Best of several, with `threads` of them and the kernels that mask leaves. */
static double bench_search(unsigned threads, const char *isa, const float *query)
{
    IndexQuery q = {.vector = query, .limit = 10, .min_score = -1};
    double best = 1e9;
    unsigned mask;
    Pool *p;
    Index *x;

    ASSERT_OK(cpu_mask_parse(isa, &mask));
    ASSERT_OK(pool_new(threads, &p));
    ASSERT_OK(index_open(path, p, mask, &x));
    for (int k = 0; k < 21; k++) {
        double start = now();
        IndexRecords hits = search(x, digest, &q, NULL);

        if (k == 0)
            printf("first search after opening: %.1f ms\n", 1e3 * (now() - start));
        else if (now() - start < best)
            best = now() - start;
        index_records_free(&hits);
    }
    index_close(x);
    pool_free(p);
    return best;
}

static void search_once(Index *x, const float *query)
{
    IndexQuery q = {.vector = query, .limit = 10, .min_score = -1};
    IndexRecords hits = search(x, digest, &q, NULL);

    index_records_free(&hits);
}

static void bench(size_t n_items)
{
    enum { BATCH = 10000 };
    static const char *const isas[] = {"plain", "avx2", "avx512vnni"};
    float(*v)[N] = vectors_make(BATCH);
    Index *x = fresh();
    double start = now();

    for (size_t first = 0; first < n_items; first += BATCH)
        put(x, first, n_items - first < BATCH ? n_items - first : BATCH, v);
    ASSERT_OK(index_sync(x));
    printf("%zu items: written in %.1f s\n", n_items, now() - start);
    start = now();
    search_once(x, v[0]);
    printf("first search, which makes the matrix: %.1f ms\n", 1e3 * (now() - start));
    start = now();
    put(x, n_items - 1, 1, v);
    search_once(x, v[0]);
    printf("one item written, and a search: %.1f ms\n", 1e3 * (now() - start));
    index_close(x);
    for (unsigned threads = 1; threads <= 2; threads++)
        for (size_t i = 0; i < 3; i++)
            printf("search, %u thread%s, %s: %.2f ms\n", threads, threads > 1 ? "s" : "", isas[i],
                   1e3 * bench_search(threads, isas[i], v[0]));
    free(v);
}

int main(int argc, char **argv)
{
    ASSERT(mkdtemp(folder));
    snprintf(path, sizeof path, "%s/u1", folder);
    ASSERT_OK(pool_new(2, &pool));
    if (argc > 2 && strcmp(argv[1], "--bench") == 0) {
        bench(strtoul(argv[2], NULL, 10));
    } else {
        RUN(test_keep);
        RUN(test_text);
        RUN(test_search);
        RUN(test_limits);
        RUN(test_matrix);
        RUN(test_append);
        RUN(test_refuse);
        RUN(test_rebuild);
        RUN(test_kill);
        RUN(test_damage);
    }
    path_clear();
    rmdir(folder);
    pool_free(pool);
    return 0;
}
