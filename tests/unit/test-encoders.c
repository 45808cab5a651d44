/* The encoders on a random model of a few kilobytes: what they refuse, and what must not change
 * their rows. Numbers against the reference are the matter of tests/golden. */

#include "encoders/encoder.h"
#include "tests/test.h"
#include "tests/unit/senses.h"

typedef struct Senses {
    void *file;
    Weights *weights;
    Backend *backend;
    Encoders *encoders;
} Senses;

static Senses senses_open(unsigned n_threads, Precision precision)
{
    char error[WEIGHTS_ERROR_MAX];
    size_t size;
    Senses s = {.file = senses_build(&(SensesOptions){0}, &size)};

    ASSERT_OK(weights_open_memory(s.file, size, &s.weights, error));
    ASSERT_OK(backend_cpu_open(n_threads, precision, 0, &s.backend));
    if (encoders_open(s.weights, s.backend, &s.encoders) < 0)
        test_fail(__FILE__, __LINE__, "%s", weights_error(s.weights));
    return s;
}

static void senses_close(Senses *s)
{
    encoders_close(s->encoders);
    backend_close(s->backend);
    weights_close(s->weights);
    free(s->file);
}

static float *noise(size_t n, uint32_t seed)
{
    float *samples = malloc(n * sizeof *samples);

    ASSERT(samples);
    for (size_t i = 0; i < n; i++) {
        seed = seed * 1664525 + 1013904223;
        samples[i] = (float)(int32_t)seed * 0x1p-32f;
    }
    return samples;
}

static uint8_t *picture(uint32_t width, uint32_t height, uint32_t seed)
{
    uint8_t *rgb = malloc((size_t)width * height * 3);

    ASSERT(rgb);
    for (size_t i = 0; i < (size_t)width * height * 3; i++) {
        seed = seed * 1664525 + 1013904223;
        rgb[i] = (uint8_t)(seed >> 24);
    }
    return rgb;
}

/* A copy of everything an encoder gave. */
typedef struct Copy {
    float *values;
    size_t n;
} Copy;

static Copy copy_of(const Encoded *e)
{
    size_t n = e->n * SENSES_MODEL;
    Copy c = {malloc((n + e->pooled_length) * sizeof(float)), n + e->pooled_length};

    ASSERT(c.values);
    ASSERT_EQ(e->pooled_length, SENSES_POOL * SENSES_MODEL);
    memcpy(c.values, e->rows, n * sizeof(float));
    memcpy(c.values + n, e->pooled, e->pooled_length * sizeof(float));
    for (size_t i = 0; i < c.n; i++)
        ASSERT(isfinite(c.values[i]));
    return c;
}

static Copy copy_audio(Senses *s, size_t n, uint32_t seed)
{
    _cleanup_free_ float *samples = noise(n, seed);
    Encoded e;

    ASSERT_OK(encoders_audio(s->encoders, &(AudioView){samples, n}, &e));
    ASSERT_EQ(e.modality, MODALITY_AUDIO);
    ASSERT_EQ(e.n, (n + 639) / 640);
    return copy_of(&e);
}

static Copy copy_image(Senses *s, uint32_t width, uint32_t height, bool high, uint32_t seed)
{
    _cleanup_free_ uint8_t *rgb = picture(width, height, seed);
    Encoded e;

    ASSERT_OK(encoders_image(s->encoders, &(ImageView){rgb, width, height}, high, &e));
    ASSERT_EQ(e.modality, MODALITY_IMAGE);
    ASSERT_EQ(e.n, e.grid_rows * e.grid_cols);
    return copy_of(&e);
}

static Copy copy_text(Senses *s, size_t n)
{
    int32_t ids[ENCODER_TEXT_TOKENS];
    Encoded e;

    for (size_t i = 0; i < n; i++)
        ids[i] = (int32_t)((i * 37 + 11) % SENSES_VOCAB);
    ASSERT_OK(encoders_text(s->encoders, ids, n, &e));
    ASSERT_EQ(e.modality, MODALITY_TEXT);
    ASSERT_EQ(e.n, n);
    return copy_of(&e);
}

static void same_bits(Copy a, Copy b)
{
    ASSERT_EQ(a.n, b.n);
    ASSERT_MEMEQ(a.values, b.values, a.n * sizeof(float));
    free(a.values);
    free(b.values);
}

/* Scratch is shared by all inputs: nothing of an earlier one may be left in a later one. */
static void test_nothing_is_left(void)
{
    Senses fresh = senses_open(1, PRECISION_INT8), used = senses_open(1, PRECISION_INT8);

    free(copy_audio(&used, 480000, 1).values);
    free(copy_image(&used, 300, 200, true, 1).values);
    free(copy_text(&used, 256).values);
    for (size_t n = 1; n < 1800; n = n * 3 / 2 + 1)
        same_bits(copy_audio(&fresh, n, 2), copy_audio(&used, n, 2));
    same_bits(copy_image(&fresh, 90, 130, false, 2), copy_image(&used, 90, 130, false, 2));
    same_bits(copy_text(&fresh, 3), copy_text(&used, 3));
    senses_close(&fresh);
    senses_close(&used);
}

static void test_threads_change_nothing(void)
{
    Senses one = senses_open(1, PRECISION_INT8), three = senses_open(3, PRECISION_INT8);

    same_bits(copy_audio(&one, 50000, 3), copy_audio(&three, 50000, 3));
    same_bits(copy_image(&one, 640, 480, true, 3), copy_image(&three, 640, 480, true, 3));
    same_bits(copy_text(&one, 100), copy_text(&three, 100));
    senses_close(&one);
    senses_close(&three);
}

static void near_copies(Copy a, Copy b)
{
    double difference = 0, size = 0;

    ASSERT_EQ(a.n, b.n);
    for (size_t i = 0; i < a.n; i++) {
        difference += pow((double)a.values[i] - b.values[i], 2);
        size += pow(b.values[i], 2);
    }
    ASSERT_CMP(1000 * sqrt(difference / size), <, 50);
    ASSERT_CMP(difference > 0, ==, 1);
    free(a.values);
    free(b.values);
}

static void test_precisions(void)
{
    Senses int8 = senses_open(1, PRECISION_INT8), f32 = senses_open(1, PRECISION_F32);

    near_copies(copy_audio(&int8, 20000, 4), copy_audio(&f32, 20000, 4));
    near_copies(copy_image(&int8, 200, 100, false, 4), copy_image(&f32, 200, 100, false, 4));
    near_copies(copy_text(&int8, 20), copy_text(&f32, 20));
    senses_close(&int8);
    senses_close(&f32);
}

static void test_largest_inputs(void)
{
    Senses s = senses_open(2, PRECISION_INT8);
    static const uint32_t sides[][2] = {{1, 1},     {32768, 1},   {1, 32768}, {3, 2},
                                        {4096, 64}, {1024, 1024}, {17, 4000}};

    for (size_t i = 0; i < sizeof sides / sizeof *sides; i++)
        for (int high = 0; high < 2; high++)
            free(copy_image(&s, sides[i][0], sides[i][1], high, 5).values);
    free(copy_audio(&s, 480000, 5).values);
    free(copy_text(&s, ENCODER_TEXT_TOKENS).values);
    senses_close(&s);
}

static void test_refused_inputs(void)
{
    Senses s = senses_open(1, PRECISION_INT8);
    const uint8_t rgb[3] = {0};
    const float sample = 0;
    int32_t ids[ENCODER_TEXT_TOKENS + 1] = {0};
    Encoded e = {.n = 77};

    ASSERT_ERROR(encoders_image(s.encoders, &(ImageView){rgb, 0, 1}, false, &e), EINVAL);
    ASSERT_ERROR(encoders_image(s.encoders, &(ImageView){rgb, 1, 0}, false, &e), EINVAL);
    ASSERT_ERROR(encoders_image(s.encoders, &(ImageView){rgb, 32769, 1}, false, &e), E2BIG);
    ASSERT_ERROR(encoders_image(s.encoders, &(ImageView){rgb, 1, 0xffffffff}, false, &e), E2BIG);
    ASSERT_ERROR(encoders_audio(s.encoders, &(AudioView){&sample, 0}, &e), EINVAL);
    ASSERT_ERROR(encoders_audio(s.encoders, &(AudioView){&sample, 480001}, &e), E2BIG);
    ASSERT_ERROR(encoders_audio(s.encoders, &(AudioView){&sample, SIZE_MAX}, &e), E2BIG);
    ASSERT_ERROR(encoders_text(s.encoders, ids, 0, &e), EINVAL);
    ASSERT_ERROR(encoders_text(s.encoders, ids, ENCODER_TEXT_TOKENS + 1, &e), E2BIG);
    ids[1] = SENSES_VOCAB;
    ASSERT_ERROR(encoders_text(s.encoders, ids, 2, &e), EINVAL);
    ids[1] = -1;
    ASSERT_ERROR(encoders_text(s.encoders, ids, 2, &e), EINVAL);
    ASSERT_EQ(e.n, 77); /* untouched */
    senses_close(&s);
}

/* Opens a damaged file; the sentence must name what is wrong with it. */
static void file_refused(const SensesOptions *options, const char *name)
{
    char error[WEIGHTS_ERROR_MAX];
    _cleanup_(weights_closep) Weights *w = NULL;
    _cleanup_(backend_closep) Backend *b = NULL;
    Encoders *e = NULL;
    size_t size;
    _cleanup_free_ void *file = senses_build(options, &size);

    ASSERT_OK(weights_open_memory(file, size, &w, error));
    ASSERT_OK(backend_cpu_open(1, PRECISION_INT8, 0, &b));
    int r = encoders_open(w, b, &e);
    if ((r != -EBADMSG && r != -ENOENT) || e)
        test_fail(__FILE__, __LINE__, "%s damaged: %d", name, r);
    if (!strstr(weights_error(w), name))
        test_fail(__FILE__, __LINE__, "'%s' does not name %s", weights_error(w), name);
}

/* What encoders_open() does not read is fusion's. */
static bool is_encoders(const char *name)
{
    return !strstr(name, "space") && !strstr(name, "seq_proj") && !strstr(name, "context") &&
           strcmp(name, "token_embd.weight") != 0;
}

static void test_refused_files(void)
{
    static const struct {
        const char *key;
        uint32_t value;
    } values[] = {
        {"percept.embedding_length", 0},
        {"percept.embedding_length", 48},
        {"percept.embedding_length", 1 << 20},
        {"percept.embedding_length", 64},
        {"percept.encoder.head_dim", 8},
        {"percept.encoder.head_dim", 64},
        {"percept.encoder.head_dim", 0xffffffff},
        {"percept.encoder.feed_forward_length", 33},
        {"percept.encoder.feed_forward_length", 1 << 30},
        {"percept.encoder.pool_count", 0},
        {"percept.encoder.pool_count", 17},
        {"percept.image.block_count", 0},
        {"percept.image.block_count", 65},
        {"percept.image.patch_size", 14},
        {"percept.audio.block_count", 0x80000000},
        {"percept.audio.mel_count", 0},
        {"percept.audio.mel_count", 1024},
        {"percept.text.block_count", 0},
        {"percept.norm_epsilon", 0x7fc00000},         /* NaN */
        {"percept.rope.freq_base", 0xff800000},       /* -infinity */
        {"percept.image.rope.freq_base", 0x3f000000}, /* 0.5 */
    };

    for (size_t i = 0; senses_tensor(i); i++) {
        const char *name = senses_tensor(i);

        if (!is_encoders(name))
            continue;
        file_refused(&(SensesOptions){.skip_tensor = name}, name);
        file_refused(&(SensesOptions){.reshape_tensor = name}, name);
        file_refused(&(SensesOptions){.retype_tensor = name}, name);
    }
    for (size_t i = 0; senses_key(i); i++)
        if (is_encoders(senses_key(i)))
            file_refused(&(SensesOptions){.skip_key = senses_key(i)}, senses_key(i));
    for (size_t i = 0; i < sizeof values / sizeof *values; i++)
        file_refused(&(SensesOptions){.key = values[i].key, .value = values[i].value},
                     strcmp(values[i].key, "percept.embedding_length") == 0 && values[i].value == 64
                         ? "img.patch.weight"
                         : values[i].key);
}

int main(void)
{
    RUN(test_nothing_is_left);
    RUN(test_threads_change_nothing);
    RUN(test_precisions);
    RUN(test_largest_inputs);
    RUN(test_refused_inputs);
    RUN(test_refused_files);
    return 0;
}
