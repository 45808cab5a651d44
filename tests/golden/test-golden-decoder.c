/*
 * The decoder against the reference in PyTorch, stage by stage, in f32: normalised error |a - b|
 * / |b| at most 1e-4. Arguments: a model file and the fixtures that train/golden.py made from
 * it.
 */

#include "engine/cpu/cpuid.h"
#include "engine/engine.h"
#include "tests/test.h"

#define LIMIT     1e-4
#define PROMPTS   4
#define NAME_SIZE 64

typedef struct Check {
    const Weights *golden;
    const char *prompt;
    size_t rows_seen, stages;
    double worst;
} Check;

static double distance(const float *a, const float *b, size_t n)
{
    double difference = 0, size = 0;
    for (size_t i = 0; i < n; i++) {
        difference += ((double)a[i] - b[i]) * ((double)a[i] - b[i]);
        size += (double)b[i] * b[i];
    }
    return size > 0 ? sqrt(difference / size) : sqrt(difference);
}

static const Tensor *fixture(const Weights *golden, const char *prompt, const char *stage)
{
    char name[NAME_SIZE];
    snprintf(name, sizeof(name), "%s/%s", prompt, stage);
    return weights_find(golden, name);
}

static void stage_check(Check *c, const char *name, const float *rows, size_t n, size_t width)
{
    const Tensor *t = fixture(c->golden, c->prompt, name);
    if (!t)
        test_fail(__FILE__, __LINE__, "%s/%s is not in the fixtures", c->prompt, name);
    if (t->ne[0] != (int64_t)width || t->ne[1] != (int64_t)n)
        test_fail(__FILE__, __LINE__, "%s/%s: %lld x %lld in the fixtures, %zu x %zu here",
                  c->prompt, name, (long long)t->ne[1], (long long)t->ne[0], n, width);

    double d = distance(rows, t->data, n * width);
    if (!(d <= LIMIT))
        test_fail(__FILE__, __LINE__, "%s/%s: normalised error %.3g", c->prompt, name, d);
    if (d > c->worst)
        c->worst = d;
    c->stages++;
}

static void on_probe(void *userdata, const char *name, const float *rows, size_t n, size_t width)
{
    if (strcmp(name, "logits") == 0) /* the fixtures keep the last rows only: checked at the end */
        return;
    stage_check(userdata, name, rows, n, width);
}

static void prompt_check(Engine *e, const Weights *golden, size_t index, uint32_t n_layers)
{
    char prompt[16];
    snprintf(prompt, sizeof(prompt), "prompt%zu", index);
    const Tensor *rows = fixture(golden, prompt, "rows"), *shift = fixture(golden, prompt, "shift");
    const Tensor *logits = fixture(golden, prompt, "logits");
    ASSERT(rows && shift && logits);

    size_t n = (size_t)rows->ne[1], vocab = (size_t)logits->ne[0], kept = (size_t)logits->ne[1];
    _cleanup_free_ float *all = calloc(n * vocab, sizeof(float));
    _cleanup_(session_closep) Session *s = NULL;
    ASSERT(all && kept <= n);
    ASSERT_OK(session_open(e, &s));

    Check c = {.golden = golden, .prompt = prompt};
    engine_set_probe(e, on_probe, &c);
    BatchItem item = {
        .session = s,
        .rows = rows->data,
        .n = (uint32_t)n,
        .shift = *(const float *)shift->data,
        .all_logits = all,
    };
    ASSERT_OK(decoder_forward(e, &item, 1, ROUTE_GATES));
    engine_set_probe(e, NULL, NULL);
    stage_check(&c, "logits", all + (n - kept) * vocab, kept, vocab);
    fprintf(stderr, "%s: %zu rows, %zu stages, worst %.2g\n", prompt, n, c.stages, c.worst);
    ASSERT_EQ(c.stages, 2 + 3 * n_layers); /* density, logits; gates, experts and output of each */

    /* The same prompt from ids, where the fixtures have them: the embedding is exact. */
    const Tensor *ids = fixture(golden, prompt, "ids");
    if (!ids)
        return;
    _cleanup_free_ int32_t *tokens = calloc(n, sizeof(*tokens));
    _cleanup_free_ float *last = calloc(vocab, sizeof(*last));
    ASSERT(tokens && last && (size_t)ids->ne[0] == n);
    for (size_t i = 0; i < n; i++)
        tokens[i] = (int32_t)((const float *)ids->data)[i];
    session_truncate(s, 0);
    BatchItem again = {
        .session = s,
        .ids = tokens,
        .n = (uint32_t)n,
        .shift = item.shift,
        .want_logits = true,
        .logits = last,
    };
    ASSERT_OK(decoder_forward(e, &again, 1, ROUTE_GATES));
    ASSERT(distance(last, (const float *)logits->data + (kept - 1) * vocab, vocab) <= LIMIT);
}

/* With every gate on, the routed path gives the plain path's bits. */
static void plain_check(const Model *m, const Weights *golden, Precision precision)
{
    const Tensor *rows = fixture(golden, "prompt1", "rows");
    size_t n = (size_t)rows->ne[1], vocab = model_info(m)->vocab_size;
    _cleanup_free_ float *all = calloc(n * vocab, sizeof(float));
    _cleanup_free_ float *plain = calloc(n * vocab, sizeof(float));
    _cleanup_(backend_closep) Backend *b = NULL;
    _cleanup_(engine_closep) Engine *e = NULL;

    ASSERT(all && plain);
    ASSERT_OK(backend_cpu_open(2, precision, 0, &b));
    ASSERT_OK(engine_open(m, b, NULL, &e));
    for (int route = 0; route < 2; route++) {
        _cleanup_(session_closep) Session *s = NULL;
        ASSERT_OK(session_open(e, &s));
        BatchItem item = {
            .session = s,
            .rows = rows->data,
            .n = (uint32_t)n,
            .all_logits = route ? plain : all,
        };
        ASSERT_OK(decoder_forward(e, &item, 1, route ? ROUTE_PLAIN : ROUTE_ALL));
    }
    ASSERT_MEMEQ(all, plain, n * vocab * sizeof(float));
}

int main(int argc, char **argv)
{
    static const char *const isas[] = {"plain", "avx2", "avx512", "avx512vnni", "avx512bf16"};
    char error[WEIGHTS_ERROR_MAX];
    _cleanup_(weights_closep) Weights *w = NULL, *golden = NULL;
    _cleanup_(model_freep) Model *m = NULL;

    if (argc != 3 || access(argv[1], R_OK) < 0 || access(argv[2], R_OK) < 0)
        SKIP("give a model file and its fixtures");
    if (weights_open(argv[1], &w, error) < 0 || weights_open(argv[2], &golden, error) < 0)
        test_fail(__FILE__, __LINE__, "%s", error);
    if (model_new(w, &m) < 0)
        test_fail(__FILE__, __LINE__, "%s", weights_error(w));

    for (size_t i = 0; i < sizeof(isas) / sizeof(*isas); i++) {
        _cleanup_(backend_closep) Backend *b = NULL;
        _cleanup_(engine_closep) Engine *e = NULL;
        unsigned mask;

        ASSERT_OK(cpu_mask_parse(isas[i], &mask));
        if ((mask & cpu_features()) != mask)
            continue;
        ASSERT_OK(backend_cpu_open(2, PRECISION_F32, mask, &b));
        ASSERT_OK(engine_open(m, b, NULL, &e));
        fprintf(stderr, "%s\n", b->detail);
        for (size_t j = 0; j < PROMPTS; j++)
            prompt_check(e, golden, j, model_info(m)->n_layers);
    }
    plain_check(m, golden, PRECISION_F32);
    plain_check(m, golden, PRECISION_INT8);
    return 0;
}
