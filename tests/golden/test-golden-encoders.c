/*
 * Encoders and fusion against the reference in PyTorch, stage by stage, in f32: normalised error
 * |a - b| / |b| at most 1e-4. Arguments: a model file and the fixtures that train/golden.py made
 * from it.
 */

#include "encoders/encoder.h"
#include "fusion/space.h"
#include "fusion/splice.h"
#include "tests/test.h"

#define LIMIT     1e-4
#define NAME_SIZE 64
#define QUESTION  "How many circles are there?"

typedef struct Golden {
    const Weights *fixtures;
    Encoders *encoders;
    Space *space;
    Splice *splice;
    char item[16]; /* the fixture under way */
    size_t stages;
    double worst;
} Golden;

static double distance(const float *a, const float *b, size_t n)
{
    double difference = 0, size = 0;

    for (size_t i = 0; i < n; i++) {
        difference += ((double)a[i] - b[i]) * ((double)a[i] - b[i]);
        size += (double)b[i] * b[i];
    }
    return size > 0 ? sqrt(difference / size) : sqrt(difference);
}

/* NULL when the fixtures have no such item. */
static const Tensor *fixture(const Golden *g, const char *item, const char *stage)
{
    char name[NAME_SIZE];

    snprintf(name, sizeof name, "%s/%s", item, stage);
    return weights_find(g->fixtures, name);
}

static void stage_check(Golden *g, const char *name, const float *rows, size_t n, size_t width)
{
    const Tensor *t = fixture(g, g->item, name);
    double d;

    if (!t)
        test_fail(__FILE__, __LINE__, "%s/%s is not in the fixtures", g->item, name);
    if (t->ne[0] != (int64_t)width || t->ne[1] != (int64_t)n)
        test_fail(__FILE__, __LINE__, "%s/%s: %lld x %lld in the fixtures, %zu x %zu here", g->item,
                  name, (long long)t->ne[1], (long long)t->ne[0], n, width);
    d = distance(rows, t->data, n * width);
    if (!(d <= LIMIT))
        test_fail(__FILE__, __LINE__, "%s/%s: normalised error %.3g", g->item, name, d);
    g->worst = d > g->worst ? d : g->worst;
    g->stages++;
}

static void on_probe(void *userdata, const char *name, const float *rows, size_t n, size_t width)
{
    stage_check(userdata, name, rows, n, width);
}

/* Each takes the item's input from the fixtures and encodes it; false when there is none. */
static bool image_encode(Golden *g, Encoded *ret_encoded)
{
    const Tensor *rgb = fixture(g, g->item, "rgb"), *budget = fixture(g, g->item, "budget");
    size_t n;

    if (!rgb)
        return false;
    ASSERT(budget);
    n = (size_t)(rgb->ne[0] * rgb->ne[1] * rgb->ne[2]);
    _cleanup_free_ uint8_t *bytes = malloc(n);
    ASSERT(bytes && rgb->ne[0] == 3);
    for (size_t i = 0; i < n; i++)
        bytes[i] = (uint8_t)((const float *)rgb->data)[i];
    ImageView view = {bytes, (uint32_t)rgb->ne[1], (uint32_t)rgb->ne[2]};
    ASSERT_OK(encoders_image(
        g->encoders, &view, *(const float *)budget->data > ENCODER_IMAGE_PATCHES_LOW, ret_encoded));

    const Tensor *grid = fixture(g, g->item, "grid");
    ASSERT(grid);
    ASSERT_EQ(ret_encoded->grid_rows, ((const float *)grid->data)[0]);
    ASSERT_EQ(ret_encoded->grid_cols, ((const float *)grid->data)[1]);
    return true;
}

static bool audio_encode(Golden *g, Encoded *ret_encoded)
{
    const Tensor *samples = fixture(g, g->item, "samples");

    if (!samples)
        return false;
    AudioView view = {samples->data, (size_t)samples->ne[0]};
    ASSERT_OK(encoders_audio(g->encoders, &view, ret_encoded));
    return true;
}

static bool text_encode(Golden *g, Encoded *ret_encoded)
{
    const Tensor *ids = fixture(g, g->item, "ids");
    int32_t tokens[ENCODER_TEXT_TOKENS];

    if (!ids)
        return false;
    ASSERT(ids->ne[0] <= ENCODER_TEXT_TOKENS);
    for (int64_t i = 0; i < ids->ne[0]; i++)
        tokens[i] = (int32_t)((const float *)ids->data)[i];
    ASSERT_OK(encoders_text(g->encoders, tokens, (size_t)ids->ne[0], ret_encoded));
    return true;
}

typedef bool (*Encode)(Golden *g, Encoded *ret_encoded);

/* All items of one kind: at least one, or the fixtures are not what they should be. */
static void items_check(Golden *g, const char *kind, Encode encode)
{
    float vector[SPACE_LENGTH];
    size_t i = 0;
    Encoded encoded;

    for (;; i++) {
        snprintf(g->item, sizeof g->item, "%s%zu", kind, i);
        g->stages = 0;
        g->worst = 0;
        if (!encode(g, &encoded))
            break;
        ASSERT_OK(space_project(g->space, &encoded, vector));
        stage_check(g, "vector", vector, 1, SPACE_LENGTH);
        fprintf(stderr, "%s: %zu rows, %zu stages, worst %.2g\n", g->item, encoded.n, g->stages,
                g->worst);
    }
    ASSERT_CMP(i, >, 0);
}

static void media_append(Golden *g, Prompt *p, Encode encode, const char *item)
{
    float vector[SPACE_LENGTH];
    Encoded encoded;

    snprintf(g->item, sizeof g->item, "%s", item);
    ASSERT(encode(g, &encoded));
    ASSERT_OK(space_project(g->space, &encoded, vector));
    ASSERT_OK(splice_media(g->splice, p, &encoded, vector));
}

/* The rows that enter the decoder, of prompts without a picture, with one, and with a sound
 * as well. */
static void prompt_check(Golden *g, const char *item, bool image, bool audio)
{
    const Tensor *rows = fixture(g, item, "rows");
    Prompt p;

    ASSERT(rows);
    ASSERT_OK(prompt_init(&p, g->splice, (size_t)rows->ne[1]));
    ASSERT_OK(splice_begin(g->splice, &p, NULL, 0));
    if (image)
        media_append(g, &p, image_encode, "image0");
    if (audio)
        media_append(g, &p, audio_encode, "audio0");
    ASSERT_OK(splice_question(g->splice, &p, "\n " QUESTION " \t", strlen(QUESTION) + 4));
    snprintf(g->item, sizeof g->item, "%s", item);
    stage_check(g, "rows", p.rows, p.n, p.d_model);
    prompt_deinit(&p, g->splice);
}

int main(int argc, char **argv)
{
    char error[WEIGHTS_ERROR_MAX];
    _cleanup_(weights_closep) Weights *w = NULL, *fixtures = NULL;
    _cleanup_(backend_closep) Backend *b = NULL;
    _cleanup_(tokenizer_freep) Tokenizer *t = NULL;
    _cleanup_(encoders_closep) Encoders *encoders = NULL;
    _cleanup_(space_closep) Space *space = NULL;
    _cleanup_(splice_closep) Splice *splice = NULL;

    if (argc != 3 || access(argv[1], R_OK) < 0 || access(argv[2], R_OK) < 0)
        SKIP("give a model file and its fixtures");
    if (weights_open(argv[1], &w, error) < 0 || weights_open(argv[2], &fixtures, error) < 0)
        test_fail(__FILE__, __LINE__, "%s", error);
    ASSERT_OK(backend_cpu_open(2, PRECISION_F32, 0, &b));
    ASSERT_OK(tokenizer_new(w, &t));
    if (encoders_open(w, b, &encoders) < 0 || space_open(w, b, &space) < 0 ||
        splice_open(w, b, t, &splice) < 0)
        test_fail(__FILE__, __LINE__, "%s", weights_error(w));

    Golden g = {.fixtures = fixtures, .encoders = encoders, .space = space, .splice = splice};
    encoders_set_probe(encoders, on_probe, &g);
    items_check(&g, "image", image_encode);
    items_check(&g, "audio", audio_encode);
    items_check(&g, "text", text_encode);
    prompt_check(&g, "prompt0", false, false);
    prompt_check(&g, "prompt1", true, false);
    prompt_check(&g, "prompt3", true, true);
    return 0;
}
