/*
 * The embedding under a memory budget stays in the file: of its pages no more are in memory than
 * there is room for, and the logits stay the same. Argument: make-moe.
 */

#include <linux/magic.h>
#include <sys/mman.h>
#include <sys/vfs.h>
#include <sys/wait.h>

#include "engine/engine.h"
#include "tests/test.h"

#define VOCAB 320
#define N     24

static void model_write(const char *make_moe, const char *path)
{
    pid_t child = fork();
    int status;

    ASSERT_CMP(child, >=, 0);
    if (child == 0) {
        execl(make_moe, make_moe, path, "tiny", (char *)NULL);
        _exit(127);
    }
    ASSERT_EQ(waitpid(child, &status, 0), child);
    ASSERT_EQ(status, 0);
    sync();
}

/* Pages that are wholly the embedding's, and in memory. */
static size_t embedding_pages(const Weights *w)
{
    const Tensor *t = weights_find(w, "token_embd.weight");
    uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE), data = (uintptr_t)t->data;
    uintptr_t first = (data + page - 1) / page * page;
    size_t n = (data + tensor_bytes(t) - first) / page, resident = 0;
    unsigned char in_memory[16];

    ASSERT_CMP(n, >=, 4);
    ASSERT_CMP(n, <=, 16);
    ASSERT_OK(mincore((void *)first, n * page, in_memory));
    for (size_t i = 0; i < n; i++)
        resident += in_memory[i] & 1;
    return resident;
}

/* Token by token, all over the vocabulary. */
static size_t run(const Model *m, const Weights *w, uint64_t memory, float *ret_logits)
{
    _cleanup_(backend_closep) Backend *b = NULL;
    _cleanup_(engine_closep) Engine *e = NULL;
    EngineOptions options = {
        .max_sessions = 1, .max_batch_rows = 1, .context = 64, .memory = memory};
    size_t most = 0;
    Session *s;

    ASSERT_OK(backend_cpu_open(1, PRECISION_INT8, 0, &b));
    ASSERT_OK(engine_open(m, b, &options, &e));
    ASSERT_OK(session_open(e, &s));
    for (int32_t i = 0; i < N; i++) {
        int32_t id = i * 97 % VOCAB;
        BatchItem item = {.session = s,
                          .ids = &id,
                          .n = 1,
                          .want_logits = true,
                          .logits = ret_logits + (size_t)i * VOCAB};

        ASSERT_OK(decoder_forward(e, &item, 1, ROUTE_GATES));
        size_t pages = embedding_pages(w);
        most = pages > most ? pages : most;
    }
    session_close(s);
    return most;
}

int main(int argc, char **argv)
{
    static float whole[N * VOCAB], bounded[N * VOCAB];
    char path[] = "/var/tmp/test-lookup-XXXXXX", sentence[WEIGHTS_ERROR_MAX] = "";
    struct statfs fs;
    Weights *w = NULL;
    Model *m = NULL;

    ASSERT_EQ(argc, 2);
    close(mkstemp(path));
    model_write(argv[1], path);
    if (weights_open(path, &w, sentence) < 0)
        test_fail(__FILE__, __LINE__, "%s", sentence);
    ASSERT_OK(model_new(w, &m));
    run(m, w, 0, whole);
    size_t most = run(m, w, 1 << 30, bounded);
    ASSERT_MEMEQ(bounded, whole, sizeof whole);
    ASSERT_CMP(most, >=, 1);
    ASSERT_OK(statfs(path, &fs));
    if (fs.f_type != TMPFS_MAGIC)
        ASSERT_CMP(most, <=, 2);
    model_free(m);
    weights_close(w);
    unlink(path);
    return 0;
}
