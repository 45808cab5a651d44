#include <math.h>

#include "engine/cpu/cpuid.h"
#include "engine/engine.h"
#include "tests/test.h"

/* Random checkpoints of make_models.py: every logit of every position against the f32 logits of
 * transformers. argv: pairs of a model and its logits. */

#define LIMIT   1e-4 /* |ours - theirs| / |theirs| over the logits of a position */
#define PROMPTS 4

static const size_t lengths[PROMPTS] = {1, 2, 17, 300};

typedef struct Case {
    Weights *weights, *expected;
    Model *model;
    size_t vocab;
} Case;

static Weights *file_open(const char *path)
{
    char error[WEIGHTS_ERROR_MAX];
    Weights *w = NULL;

    if (weights_open(path, &w, error) < 0)
        test_fail(__FILE__, __LINE__, "%s: %s", path, error);
    return w;
}

static void case_open(Case *c, const char *model, const char *expected)
{
    *c = (Case){.weights = file_open(model), .expected = file_open(expected)};
    if (model_new(c->weights, &c->model) < 0)
        test_fail(__FILE__, __LINE__, "%s: %s", model, weights_error(c->weights));
    c->vocab = model_info(c->model)->vocab_size;
}

static void case_close(Case *c)
{
    model_free(c->model);
    weights_close(c->weights);
    weights_close(c->expected);
}

static const float *fixture(const Case *c, size_t length, const char *what)
{
    char name[32];

    snprintf(name, sizeof(name), "%zu.%s", length, what);
    const Tensor *t = weights_find(c->expected, name);
    return t ? t->data : NULL;
}

static double distance(const float *a, const float *b, size_t n)
{
    double error = 0, norm = 0;

    for (size_t i = 0; i < n; i++) {
        error += ((double)a[i] - b[i]) * ((double)a[i] - b[i]);
        norm += (double)b[i] * b[i];
    }
    return sqrt(error / norm);
}

/* The largest distance of any position. `chunk` rows go in at a time. */
static double prompt_distance(const Case *c, Engine *e, size_t length, size_t chunk)
{
    _cleanup_(session_closep) Session *s = NULL;
    _cleanup_free_ float *logits = calloc(length * c->vocab, sizeof(*logits));
    _cleanup_free_ int32_t *ids = calloc(length, sizeof(*ids));
    const float *expected = fixture(c, length, "logits");
    double worst = 0;

    ASSERT(logits && ids && expected);
    for (size_t i = 0; i < length; i++)
        ids[i] = (int32_t)fixture(c, length, "ids")[i];
    ASSERT_OK(session_open(e, &s));
    for (size_t done = 0; done < length; done += chunk) {
        BatchItem item = {
            .session = s,
            .ids = ids + done,
            .n = (uint32_t)(length - done < chunk ? length - done : chunk),
            .all_logits = logits + done * c->vocab,
        };
        ASSERT_OK(decoder_forward(e, &item, 1, ROUTE_GATES));
    }
    for (size_t i = 0; i < length; i++)
        worst = fmax(worst, distance(logits + i * c->vocab, expected + i * c->vocab, c->vocab));
    return worst;
}

static void engine_check(const Case *c, Backend *b, EngineCache cache, double limit)
{
    EngineOptions options = {.max_sessions = 2, .max_batch_rows = 128, .cache = cache};
    _cleanup_(engine_closep) Engine *e = NULL;

    ASSERT_OK(engine_open(c->model, b, &options, &e));
    for (size_t i = 0; i < PROMPTS; i++) {
        if (!fixture(c, lengths[i], "ids"))
            continue;
        double whole = prompt_distance(c, e, lengths[i], 128);
        double single = prompt_distance(c, e, lengths[i], lengths[i] > 20 ? 7 : 1);
        fprintf(stderr, "  %zu tokens: %.2g, in steps %.2g\n", lengths[i], whole, single);
        ASSERT_CMP(whole, <=, limit);
        ASSERT_CMP(single, <=, limit);
    }
}

static void model_check(const char *model, const char *expected)
{
    static const char *const isas[] = {"plain", "avx2", "avx512", "avx512vnni", "avx512bf16"};
    Case c;

    case_open(&c, model, expected);
    for (size_t i = 0; i < sizeof(isas) / sizeof(*isas); i++) {
        _cleanup_(backend_closep) Backend *b = NULL;
        unsigned mask;

        ASSERT_OK(cpu_mask_parse(isas[i], &mask));
        if ((mask & cpu_features()) != mask)
            continue;
        ASSERT_OK(backend_cpu_open(2, PRECISION_F32, mask, &b));
        fprintf(stderr, "%s: %s\n", model, b->detail);
        engine_check(&c, b, CACHE_DEFAULT, LIMIT);
    }
    case_close(&c);
}

int main(int argc, char **argv)
{
    ASSERT_CMP(argc, >=, 3);
    for (int i = 1; i + 1 < argc; i += 2)
        model_check(argv[i], argv[i + 1]);
    return 0;
}
