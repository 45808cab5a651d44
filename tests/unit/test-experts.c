/*
 * A memory budget changes where experts are, never what comes out: the same bits at every budget,
 * for single rows, for prompts that need more experts than there is room for, and for files that
 * cannot be read around the page cache.
 */

#include <fcntl.h>
#include <linux/magic.h>
#include <sys/mman.h>
#include <sys/vfs.h>

#include "engine/base/direct.h"
#include "engine/engine.h"
#include "tests/test.h"
#include "tests/unit/tiny.h"

#define N 48
#define V TINY_VOCAB

typedef struct Fixture {
    char path[64];
    Weights *weights;
    Model *model;
    Backend *backend;
} Fixture;

static int32_t sequence[N];

static void fixture_init(Fixture *f, const char *folder)
{
    char sentence[WEIGHTS_ERROR_MAX] = "";
    size_t size;
    void *file = tiny_build(&(TinyOptions){.seed = 5, .gate_bias = 0.1f}, &size);

    snprintf(f->path, sizeof f->path, "%s/test-experts-XXXXXX", folder);
    int fd = mkstemp(f->path);
    ASSERT(fd >= 0);
    ASSERT_EQ(write(fd, file, size), size);
    ASSERT_OK(fsync(fd)); /* what is not written yet stays in memory */
    close(fd);
    free(file);
    if (weights_open(f->path, &f->weights, sentence) < 0)
        test_fail(__FILE__, __LINE__, "%s", sentence);
    ASSERT_OK(model_new(f->weights, &f->model));
    ASSERT_OK(backend_cpu_open(2, PRECISION_INT8, 0, &f->backend));
}

static void fixture_deinit(Fixture *f)
{
    backend_close(f->backend);
    model_free(f->model);
    weights_close(f->weights);
    unlink(f->path);
}

/* Logits of every row, in chunks of `chunk` rows. */
static ExpertStats run(Fixture *f, uint64_t memory, uint32_t chunk, float *ret_logits)
{
    EngineOptions options = {.max_sessions = 1, .max_batch_rows = 64, .memory = memory};
    _cleanup_(engine_closep) Engine *e = NULL;
    Session *s = NULL;

    if (engine_open(f->model, f->backend, &options, &e) < 0)
        test_fail(__FILE__, __LINE__, "%s", weights_error(f->weights));
    ASSERT_OK(session_open(e, &s));
    for (uint32_t done = 0; done < N; done += chunk) {
        BatchItem item = {.session = s,
                          .ids = sequence + done,
                          .n = chunk,
                          .all_logits = ret_logits + (size_t)done * V};
        ASSERT_OK(decoder_forward(e, &item, 1, ROUTE_GATES));
    }
    ExpertStats stats = engine_expert_stats(e);
    session_close(s);
    return stats;
}

/* The least budget, from the sentence that names it. */
static uint64_t least_budget(Fixture *f)
{
    EngineOptions options = {.max_sessions = 1, .max_batch_rows = 64, .memory = 1};
    static const char says[] = "it needs ";
    Engine *e = NULL;
    const char *at;

    ASSERT_ERROR(engine_open(f->model, f->backend, &options, &e), ENOSPC);
    at = strstr(weights_error(f->weights), says);
    ASSERT(at && strstr(weights_error(f->weights), "a memory budget of 1 bytes is too small"));
    uint64_t least = strtoull(at + sizeof says - 1, NULL, 10);

    options.memory = least - 1;
    ASSERT_ERROR(engine_open(f->model, f->backend, &options, &e), ENOSPC);
    options.memory = least;
    ASSERT_OK(engine_open(f->model, f->backend, &options, &e));
    engine_close(e);
    return least;
}

static void check_budget(Fixture *f, uint64_t memory, const float *expected, uint64_t *ret_slots)
{
    static const uint32_t chunks[] = {1, 3, 16, N};
    static float logits[N * V];

    for (size_t i = 0; i < sizeof chunks / sizeof *chunks; i++) {
        memset(logits, 0, sizeof logits);
        ExpertStats s = run(f, memory, chunks[i], logits);
        if (memcmp(logits, expected, sizeof logits) != 0)
            test_fail(__FILE__, __LINE__, "other bits with %llu bytes, %u rows at a time",
                      (unsigned long long)memory, chunks[i]);
        ASSERT_CMP(s.slots, >=, 2);
        ASSERT_CMP(s.late, >, 0); /* nothing is there at first */
        ASSERT_CMP(s.read_bytes, >=, s.late);
        *ret_slots = s.slots;
    }
}

static void budgets(const char *folder)
{
    static float expected[N * V];
    Fixture f = {0};
    uint64_t slots = 0, before = 0;

    fixture_init(&f, folder);
    ASSERT_EQ(run(&f, 0, 1, expected).slots, 0);
    uint64_t least = least_budget(&f);
    for (uint64_t more = 0; more <= 512 << 10; more = more ? 4 * more : 32 << 10) {
        check_budget(&f, least + more, expected, &slots);
        ASSERT_CMP(slots, >=, before);
        before = slots;
    }
    check_budget(&f, UINT64_MAX, expected, &slots);
    ASSERT_EQ(slots, TINY_LAYERS * TINY_EXPERTS);
    fixture_deinit(&f);
}

static void test_disk(void)
{
    budgets("/var/tmp");
}

static void test_memory_file_system(void)
{
    if (access("/dev/shm", W_OK) == 0)
        budgets("/dev/shm");
}

/* With room for all of them each expert is read once, and from then on is there. */
static void test_read_once(void)
{
    static float logits[N * V];
    Fixture f = {0};

    fixture_init(&f, "/var/tmp");
    ExpertStats s = run(&f, UINT64_MAX, 1, logits);
    ASSERT_CMP(s.read_bytes, <=, s.slots * s.slot_bytes);
    ASSERT_CMP(s.resident, >, s.late + s.ahead);
    fixture_deinit(&f);
}

/* Pages that are wholly this tensor's, and how many of them are in memory. */
static size_t pages_resident(const Tensor *t, size_t *ret_pages)
{
    enum { PAGES_MAX = 1024 };
    uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE), data = (uintptr_t)t->data;
    uintptr_t first = (data + page - 1) / page * page;
    uintptr_t end = (data + tensor_bytes(t)) / page * page;
    unsigned char in_memory[PAGES_MAX];
    size_t n = 0;

    *ret_pages = first < end ? (end - first) / page : 0;
    ASSERT_CMP(*ret_pages, <=, PAGES_MAX);
    if (*ret_pages > 0)
        ASSERT_OK(mincore((void *)first, end - first, in_memory));
    for (size_t i = 0; i < *ret_pages; i++)
        n += in_memory[i] & 1;
    return n;
}

/* Whether the page cache of a file is memory that can be given back. */
static bool is_on_disk(const char *path)
{
    int fd = open(path, O_RDONLY);
    struct statfs fs;
    DirectFile file;

    ASSERT_CMP(fd, >=, 0);
    ASSERT_OK(fstatfs(fd, &fs));
    ASSERT_OK(direct_open(fd, &file));
    bool direct = file.direct && fs.f_type != TMPFS_MAGIC;
    direct_close(&file);
    close(fd);
    return direct;
}

/* Pages of experts, or of everything else. */
static size_t weights_resident(const Weights *w, bool experts, size_t *ret_pages)
{
    size_t resident = 0, pages, total = 0;
    Tensor t;

    for (size_t i = 0; i < weights_tensor_count(w); i++)
        if ((strstr(weights_tensor_at(w, i, &t), "_exps") != NULL) == experts) {
            resident += pages_resident(&t, &pages);
            total += pages;
        }
    ASSERT_CMP(total, >, 8);
    *ret_pages = total;
    return resident;
}

/* Memory was short: nothing of the file is left. Then something of it is used. */
static void file_evict_and_touch(const Fixture *f)
{
    int fd = open(f->path, O_RDONLY);
    size_t pages;
    Tensor t;

    ASSERT_CMP(fd, >=, 0);
    for (size_t i = 0; i < weights_tensor_count(f->weights); i++) {
        weights_tensor_at(f->weights, i, &t);
        uintptr_t page = (uintptr_t)t.data / 4096 * 4096;
        madvise((void *)page, (uintptr_t)t.data + tensor_bytes(&t) - page, MADV_DONTNEED);
    }
    ASSERT_OK(posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED));
    close(fd);
    ASSERT_EQ(weights_resident(f->weights, false, &pages), 0);
    (void)*(volatile const char *)t.data;
}

/* Experts are in the slots alone, whatever reads the file; the rest of it stays in memory. */
static void test_page_cache(void)
{
    static float logits[N * V];
    char before[65], after[65];
    Fixture whole = {0}, f = {0};
    size_t pages;

    fixture_init(&whole, "/var/tmp");
    fixture_init(&f, "/var/tmp");
    if (is_on_disk(f.path)) {
        ASSERT_OK(weights_digest(whole.weights, before));
        run(&f, least_budget(&f), 3, logits);
        ASSERT_OK(weights_digest(f.weights, after));
        ASSERT_STREQ(after, before);
        ASSERT_EQ(weights_resident(f.weights, true, &pages), 0);
        size_t others = weights_resident(f.weights, false, &pages);
        ASSERT_EQ(others, pages);
        file_evict_and_touch(&f);
        ASSERT_EQ(weights_resident(f.weights, true, &pages), 0);
    }
    fixture_deinit(&f);
    fixture_deinit(&whole);
}

/* Weights in memory have no file to read from. */
static void test_no_file(void)
{
    EngineOptions options = {.memory = UINT64_MAX};
    char sentence[WEIGHTS_ERROR_MAX];
    Fixture f = {0};
    Engine *e = NULL;
    size_t size;
    void *file = tiny_build(&(TinyOptions){.seed = 5}, &size);

    ASSERT_OK(weights_open_memory(file, size, &f.weights, sentence));
    ASSERT_OK(model_new(f.weights, &f.model));
    ASSERT_OK(backend_cpu_open(1, PRECISION_INT8, 0, &f.backend));
    ASSERT_ERROR(engine_open(f.model, f.backend, &options, &e), ENOTSUP);
    ASSERT(strstr(weights_error(f.weights), "no memory budget is possible"));
    fixture_deinit(&f);
    free(file);
}

int main(void)
{
    for (int i = 0; i < N; i++)
        sequence[i] = 8 + i * 37 % (V - 8);
    RUN(test_disk);
    RUN(test_memory_file_system);
    RUN(test_read_once);
    RUN(test_page_cache);
    RUN(test_no_file);
    return 0;
}
