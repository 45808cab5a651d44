/* The shared space and the making of prompts, on a random model of a few kilobytes. Numbers against
 * the reference are the matter of tests/golden. */

#include "fusion/space.h"
#include "fusion/splice.h"
#include "tests/test.h"
#include "tests/unit/senses.h"

#define D SENSES_MODEL

typedef struct Fusion {
    void *file;
    Weights *weights;
    Backend *backend;
    Tokenizer *tokenizer;
    Encoders *encoders;
    Space *space;
    Splice *splice;
} Fusion;

static Fusion fusion_open(const SensesOptions *options)
{
    char error[WEIGHTS_ERROR_MAX];
    size_t size;
    Fusion f = {.file = senses_build(options, &size)};

    ASSERT_OK(weights_open_memory(f.file, size, &f.weights, error));
    ASSERT_OK(backend_cpu_open(1, PRECISION_F32, 0, &f.backend));
    ASSERT_OK(tokenizer_new(f.weights, &f.tokenizer));
    if (encoders_open(f.weights, f.backend, &f.encoders) < 0 ||
        space_open(f.weights, f.backend, &f.space) < 0 ||
        splice_open(f.weights, f.backend, f.tokenizer, &f.splice) < 0)
        test_fail(__FILE__, __LINE__, "%s", weights_error(f.weights));
    return f;
}

static void fusion_close(Fusion *f)
{
    splice_close(f->splice);
    space_close(f->space);
    encoders_close(f->encoders);
    tokenizer_free(f->tokenizer);
    backend_close(f->backend);
    weights_close(f->weights);
    free(f->file);
}

static Encoded image_encode(Fusion *f)
{
    static uint8_t rgb[64 * 64 * 3];
    Encoded e;

    for (size_t i = 0; i < sizeof rgb; i++)
        rgb[i] = (uint8_t)(i * i >> 5);
    ASSERT_OK(encoders_image(f->encoders, &(ImageView){rgb, 64, 64}, false, &e));
    return e;
}

static double norm(const float *v, size_t n)
{
    double sum = 0;

    for (size_t i = 0; i < n; i++)
        sum += (double)v[i] * v[i];
    return sqrt(sum);
}

static void test_vectors(void)
{
    float a[SPACE_LENGTH], b[SPACE_LENGTH], cut[SPACE_LENGTH];

    for (int i = 0; i < SPACE_LENGTH; i++) {
        a[i] = (float)sin(i);
        b[i] = 3 * a[i];
        cut[i] = a[i];
    }
    ASSERT_NEAR(space_cosine(a, b, SPACE_LENGTH), 1, 1e-6);
    for (int i = 0; i < SPACE_LENGTH; i++)
        b[i] = -a[i];
    ASSERT_NEAR(space_cosine(a, b, SPACE_LENGTH), -1, 1e-6);
    memset(b, 0, sizeof b);
    ASSERT_NEAR(space_cosine(a, b, SPACE_LENGTH), 0, 0);

    ASSERT_OK(space_truncate(cut, SPACE_LENGTH));
    ASSERT_MEMEQ(cut, a, sizeof a);
    for (size_t n = 128; n >= 64; n /= 2) {
        ASSERT_OK(space_truncate(cut, n));
        ASSERT_NEAR(norm(cut, n), 1, 1e-6);
        ASSERT_NEAR(space_cosine(cut, a, n), 1, 1e-6);
    }
    static const size_t wrong[] = {0, 1, 32, 63, 100, 255, 257, SIZE_MAX};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++)
        ASSERT_ERROR(space_truncate(cut, wrong[i]), EINVAL);
    ASSERT_ERROR(space_truncate(b, 64), EDOM);
    b[3] = NAN;
    ASSERT_ERROR(space_truncate(b, 64), EDOM);
}

static void test_project(void)
{
    Fusion f = fusion_open(&(SensesOptions){0});
    Encoded e = image_encode(&f);
    float v[SPACE_LENGTH], before[SPACE_LENGTH];

    ASSERT_OK(space_project(f.space, &e, v));
    ASSERT_NEAR(norm(v, SPACE_LENGTH), 1, 1e-5);
    /* scale 10, bias -5 */
    ASSERT_NEAR(space_match(f.space, 0.5f), 0.5, 1e-6);
    ASSERT_NEAR(space_match(f.space, 1), 1 / (1 + exp(-5)), 1e-6);
    fusion_close(&f);

    f = fusion_open(&(SensesOptions){.zero_space = true});
    e = image_encode(&f);
    memset(v, 1, sizeof v);
    memcpy(before, v, sizeof v);
    ASSERT_ERROR(space_project(f.space, &e, v), EDOM);
    ASSERT_MEMEQ(v, before, sizeof v);
    fusion_close(&f);
}

/* The row of a token in the decoder's table. */
static void row_is_token(Fusion *f, const Prompt *p, size_t row, int32_t id)
{
    const Tensor *table = weights_find(f->weights, "token_embd.weight");
    float expected[D];

    ASSERT(table && row < p->n);
    f->backend->ops->embed(f->backend, table, &id, 1, expected, D);
    if (memcmp(p->rows + row * D, expected, sizeof expected) != 0)
        test_fail(__FILE__, __LINE__, "row %zu is not token %d", row, id);
}

static void test_order(void)
{
    Fusion f = fusion_open(&(SensesOptions){0});
    const TokenizerSpecial *special = tokenizer_special(f.tokenizer);
    float v[SPACE_LENGTH];
    Encoded e = image_encode(&f);
    Prompt p;

    ASSERT_OK(space_project(f.space, &e, v));
    ASSERT_OK(prompt_init(&p, f.splice, 100));
    ASSERT_EQ(p.d_model, D);
    ASSERT_OK(splice_begin(f.splice, &p, "Be", 2));
    ASSERT_OK(splice_media(f.splice, &p, &e, v));
    ASSERT_OK(splice_question(f.splice, &p, " \n\tWhy \v\f\r", 9));
    ASSERT_OK(splice_token(f.splice, &p, special->eos)); /* a later turn */
    ASSERT_OK(splice_question(f.splice, &p, "x", 1));

    size_t row = 0;
    row_is_token(&f, &p, row++, special->bos);
    row_is_token(&f, &p, row++, special->system);
    row_is_token(&f, &p, row++, 8 + 'B');
    row_is_token(&f, &p, row++, 8 + 'e');
    row_is_token(&f, &p, row++, special->image);
    ASSERT_EQ(e.n, 16);
    row += 1 + e.n;
    row_is_token(&f, &p, row++, special->user);
    row_is_token(&f, &p, row++, 8 + 'W');
    row_is_token(&f, &p, row++, 8 + 'h');
    row_is_token(&f, &p, row++, 8 + 'y');
    row_is_token(&f, &p, row++, special->assistant);
    row_is_token(&f, &p, row++, special->eos);
    row_is_token(&f, &p, row++, special->user);
    row_is_token(&f, &p, row++, 8 + 'x');
    row_is_token(&f, &p, row++, special->assistant);
    ASSERT_EQ(p.n, row);
    prompt_deinit(&p, f.splice);
    prompt_deinit(&p, f.splice); /* twice does no harm */

    /* Without a system text; specials are never made from text. */
    ASSERT_OK(prompt_init(&p, f.splice, 100));
    ASSERT_OK(splice_begin(f.splice, &p, NULL, 0));
    ASSERT_EQ(p.n, 1);
    ASSERT_OK(splice_question(f.splice, &p, "<eos>", 5));
    ASSERT_EQ(p.n, 1 + 5 + 2);
    prompt_deinit(&p, f.splice);
    fusion_close(&f);
}

/* Every call that does not fit leaves the prompt as it was. */
static void test_full(void)
{
    Fusion f = fusion_open(&(SensesOptions){0});
    float v[SPACE_LENGTH];
    Encoded e = image_encode(&f);
    Prompt p;

    ASSERT_OK(space_project(f.space, &e, v));
    ASSERT_ERROR(prompt_init(&p, f.splice, SENSES_CONTEXT + 1), E2BIG);
    for (size_t capacity = 0; capacity <= 4; capacity++) {
        ASSERT_OK(prompt_init(&p, f.splice, capacity));
        /* <bos> <system> S y */
        ASSERT_EQ(splice_begin(f.splice, &p, "Sy", 2), capacity >= 4 ? 0 : -E2BIG);
        ASSERT_EQ(p.n, capacity >= 4 ? 4 : 0);
        p.n = 0;
        /* <user> q q <assistant> */
        ASSERT_EQ(splice_question(f.splice, &p, "qq", 2), capacity >= 4 ? 0 : -E2BIG);
        ASSERT_EQ(p.n, capacity >= 4 ? 4 : 0);
        prompt_deinit(&p, f.splice);
    }
    for (size_t more = 0; more < 2; more++) {
        ASSERT_OK(prompt_init(&p, f.splice, e.n + 2 + more));
        ASSERT_OK(splice_begin(f.splice, &p, NULL, 0));
        ASSERT_EQ(splice_media(f.splice, &p, &e, v), more ? 0 : -E2BIG);
        ASSERT_EQ(p.n, more ? e.n + 3 : 1);
        prompt_deinit(&p, f.splice);
    }
    fusion_close(&f);
}

/* What a collection knows of an image stands as the image itself would begin. */
static void test_hits(void)
{
    Fusion f = fusion_open(&(SensesOptions){0});
    const TokenizerSpecial *special = tokenizer_special(f.tokenizer);
    float v[SPACE_LENGTH];
    Encoded e = image_encode(&f);
    Prompt whole, p;

    ASSERT_OK(space_project(f.space, &e, v));
    ASSERT_OK(prompt_init(&whole, f.splice, 100));
    ASSERT_OK(splice_media(f.splice, &whole, &e, v));
    ASSERT_OK(prompt_init(&p, f.splice, 5));
    ASSERT_OK(splice_vector(f.splice, &p, MODALITY_IMAGE, v));
    ASSERT_EQ(p.n, 2);
    ASSERT_MEMEQ(p.rows, whole.rows, 2 * D * sizeof *p.rows);
    ASSERT_OK(splice_vector(f.splice, &p, MODALITY_AUDIO, v));
    row_is_token(&f, &p, 2, special->audio);
    ASSERT_MEMEQ(p.rows + 3 * D, whole.rows + D, D * sizeof *p.rows);
    ASSERT_ERROR(splice_vector(f.splice, &p, MODALITY_IMAGE, v), E2BIG);
    ASSERT_EQ(p.n, 4);
    prompt_deinit(&whole, f.splice);
    prompt_deinit(&p, f.splice);
    fusion_close(&f);
}

static void test_questions(void)
{
    Fusion f = fusion_open(&(SensesOptions){0});
    const size_t huge = 10 << 20;
    _cleanup_free_ char *text = malloc(huge);
    Prompt p;

    ASSERT(text);
    memset(text, 'a', huge);
    ASSERT_OK(prompt_init(&p, f.splice, SENSES_CONTEXT));
    ASSERT_OK(splice_begin(f.splice, &p, NULL, 0));
    ASSERT_ERROR(splice_question(f.splice, &p, text, huge), E2BIG);
    memset(text, ' ', huge);
    ASSERT_ERROR(splice_question(f.splice, &p, text, huge), EINVAL);
    ASSERT_ERROR(splice_question(f.splice, &p, "", 0), EINVAL);
    ASSERT_ERROR(splice_question(f.splice, &p, "\t", 1), EINVAL);
    ASSERT_EQ(p.n, 1);
    text[huge / 2] = '?';
    ASSERT_OK(splice_question(f.splice, &p, text, huge));
    ASSERT_EQ(p.n, 4);
    /* Bytes that are no text at all. */
    ASSERT_OK(splice_question(f.splice, &p, "\0\xff\xfe", 3));
    ASSERT_EQ(p.n, 9);
    prompt_deinit(&p, f.splice);
    fusion_close(&f);
}

static void file_refused(const SensesOptions *options, const char *name)
{
    char error[WEIGHTS_ERROR_MAX];
    _cleanup_(weights_closep) Weights *w = NULL;
    _cleanup_(backend_closep) Backend *b = NULL;
    _cleanup_(tokenizer_freep) Tokenizer *t = NULL;
    Space *space = NULL;
    Splice *splice = NULL;
    size_t size;
    _cleanup_free_ void *file = senses_build(options, &size);

    ASSERT_OK(weights_open_memory(file, size, &w, error));
    ASSERT_OK(backend_cpu_open(1, PRECISION_INT8, 0, &b));
    ASSERT_OK(tokenizer_new(w, &t));
    int r = space_open(w, b, &space);
    if (r >= 0)
        r = splice_open(w, b, t, &splice);
    if (r != -EBADMSG && r != -ENOENT)
        test_fail(__FILE__, __LINE__, "%s damaged: %d", name, r);
    if (!strstr(weights_error(w), name))
        test_fail(__FILE__, __LINE__, "'%s' does not name %s", weights_error(w), name);
    space_close(space);
    splice_close(splice);
}

static void test_refused_files(void)
{
    static const char *const tensors[] = {
        "img.space.weight",  "aud.space.weight",    "txt.space.weight",   "token_embd.weight",
        "space_proj.weight", "img.seq_proj.weight", "aud.seq_proj.weight"};
    static const char *const keys[] = {"percept.space.length", "percept.space.scale",
                                       "percept.space.bias", "percept.context_length"};

    for (size_t i = 0; i < sizeof tensors / sizeof *tensors; i++) {
        file_refused(&(SensesOptions){.skip_tensor = tensors[i]}, tensors[i]);
        file_refused(&(SensesOptions){.reshape_tensor = tensors[i]}, tensors[i]);
        file_refused(&(SensesOptions){.retype_tensor = tensors[i]}, tensors[i]);
    }
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++)
        file_refused(&(SensesOptions){.skip_key = keys[i]}, keys[i]);
    file_refused(&(SensesOptions){.key = keys[0], .value = 128}, keys[0]);
    file_refused(&(SensesOptions){.key = keys[1], .value = 0x7f800000}, keys[1]);
    file_refused(&(SensesOptions){.key = keys[3], .value = 0}, keys[3]);
    file_refused(&(SensesOptions){.key = keys[3], .value = 0xffffffff}, keys[3]);
}

int main(void)
{
    RUN(test_vectors);
    RUN(test_project);
    RUN(test_order);
    RUN(test_full);
    RUN(test_hits);
    RUN(test_questions);
    RUN(test_refused_files);
    return 0;
}
