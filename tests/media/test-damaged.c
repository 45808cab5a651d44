/*
 * Damaged files through percept-media with its sandbox: whatever the libraries do about them, the
 * answer is a picture, a sound or a typed error, and the process lives. Arguments: the helper's
 * program, then files.
 */

#include <sndfile.h>

#include "tests/media/make.h"
#include "tests/test.h"

#define COPIES 150

static MediaHelper *helper;
static uint32_t seed = 1;

static uint32_t random_next(void)
{
    seed = seed * 1664525 + 1013904223;
    return seed >> 8;
}

static File file_load(const char *path)
{
    uint8_t block[4096];
    File file = {0};
    FILE *f = fopen(path, "rb");
    size_t n;

    ASSERT(f);
    while ((n = fread(block, 1, sizeof block, f)) > 0)
        file_append(&file, block, n);
    fclose(f);
    return file;
}

/* An MP3, where libsndfile writes them: there is none among the fixtures. */
static File mp3_make(void)
{
    float samples[16000];

    for (size_t i = 0; i < 16000; i++)
        samples[i] = 0.5f * (float)sin((double)i / 7);
    return make_sound(SF_FORMAT_MPEG | SF_FORMAT_MPEG_LAYER_III, 16000, 1, samples, 16000);
}

static void damaged_decode(const char *name, const File *file)
{
    uint8_t *copy = malloc(file->size);
    unsigned n_decoded = 0;

    ASSERT(copy);
    for (int i = 0; i < COPIES; i++) {
        uint32_t was = seed;
        size_t size = random_next() % 4 ? file->size : 1 + random_next() % file->size;
        size_t reach = random_next() % 2 || size < 64 ? size : 64;
        MediaRequest request = {.max_patches = 64, .truncate_audio = i % 2};
        Media media = {0};

        memcpy(copy, file->data, size);
        for (uint32_t n = random_next() % 8; n > 0; n--)
            copy[random_next() % reach] = (uint8_t)random_next();
        int r = decode(helper, copy, size, &request, &media);
        if (r > 0 || r == MEDIA_ERROR_CRASHED || (r < 0 && r > MEDIA_ERROR_UNSUPPORTED))
            test_fail(__FILE__, __LINE__, "%s, seed %u: %d", name, was, r);
        n_decoded += r == 0;
        media_deinit(&media);
    }
    fprintf(stderr, "%s: %u of %d decoded\n", name, n_decoded, COPIES);
    free(copy);
}

int main(int argc, char **argv)
{
    ASSERT_CMP(argc, >, 2);
    ASSERT_OK(media_helper_new(argv[1], &helper));
    for (int i = 2; i < argc; i++) {
        File file = file_load(argv[i]);

        damaged_decode(argv[i], &file);
        file_free(&file);
    }
    File mp3 = mp3_make();
    if (mp3.size > 0)
        damaged_decode("MP3", &mp3);
    file_free(&mp3);
    media_helper_free(helper);
    return 0;
}
