/* Recordings through percept-media: exact samples, other rates and channels, and files that lie.
 * Argument: the helper's program. */

#include <sndfile.h>

#include "tests/media/make.h"
#include "tests/test.h"

#define WAV16 (SF_FORMAT_WAV | SF_FORMAT_PCM_16)

static MediaHelper *helper;
static const MediaRequest sound = {.kind = MEDIA_AUDIO};
static const MediaRequest cut = {.kind = MEDIA_AUDIO, .truncate_audio = true};

/* n frames of a 440 Hz tone in every channel, each a bit quieter; values of 16-bit samples. */
static float *tone(size_t n, int rate, int channels)
{
    float *samples = malloc(n * (size_t)channels * sizeof *samples), *p = samples;

    ASSERT(samples);
    for (size_t i = 0; i < n; i++)
        for (int c = 0; c < channels; c++)
            *p++ =
                (float)(rint(16000.0 / (c + 1) * sin(2 * M_PI * 440 * (double)i / rate)) / 32768);
    return samples;
}

static File tone_file(int format, size_t n, int rate, int channels)
{
    float *samples = tone(n, rate, channels);
    File file = make_sound(format, rate, channels, samples, n);

    free(samples);
    return file;
}

static void test_exact(void)
{
    static const int formats[] = {
        WAV16,
        SF_FORMAT_WAV | SF_FORMAT_PCM_24,
        SF_FORMAT_WAV | SF_FORMAT_FLOAT,
        SF_FORMAT_WAVEX | SF_FORMAT_PCM_16,
        SF_FORMAT_RF64 | SF_FORMAT_PCM_16,
        SF_FORMAT_FLAC | SF_FORMAT_PCM_16,
    };
    float *samples = tone(5000, 16000, 1);

    for (size_t i = 0; i < sizeof formats / sizeof *formats; i++) {
        File file = make_sound(formats[i], 16000, 1, samples, 5000);
        Media media = {0};

        ASSERT_EQ(decode(helper, file.data, file.size, &sound, &media), 0);
        ASSERT_EQ(media.kind, MEDIA_AUDIO);
        ASSERT_EQ(media.n_samples, 5000);
        ASSERT_EQ(media.source_rate, 16000);
        ASSERT_EQ(media.source_channels, 1);
        ASSERT(!media.truncated);
        for (size_t j = 0; j < 5000; j++)
            if (media.samples[j] != samples[j])
                test_fail(__FILE__, __LINE__, "format %x, sample %zu: %.9g and %.9g",
                          (unsigned)formats[i], j, (double)media.samples[j], (double)samples[j]);
        media_deinit(&media);
        file_free(&file);
    }
    free(samples);
}

static void test_channels(void)
{
    const int channels = 3;
    float *samples = tone(1000, 16000, channels);
    File file = make_sound(WAV16, 16000, channels, samples, 1000);
    Media media = {0};

    ASSERT_EQ(decode(helper, file.data, file.size, &sound, &media), 0);
    ASSERT_EQ(media.n_samples, 1000);
    ASSERT_EQ(media.source_channels, channels);
    for (size_t i = 0; i < 1000; i++)
        ASSERT_NEAR(media.samples[i],
                    (samples[3 * i] + samples[3 * i + 1] + samples[3 * i + 2]) / 3, 1e-6);
    media_deinit(&media);
    file_free(&file);
    free(samples);
}

/* The tone stays a tone at 16 kHz; the ends, where the filter sees silence, aside. */
static void tone_like(const Media *media, double limit)
{
    for (size_t i = 1000; i + 1000 < media->n_samples; i++)
        ASSERT_NEAR(media->samples[i], 16000.0 / 32768 * sin(2 * M_PI * 440 * (double)i / 16000),
                    limit);
}

static void test_rates(void)
{
    static const int rates[] = {8000, 22050, 44100, 48000, 96000};

    for (size_t i = 0; i < sizeof rates / sizeof *rates; i++) {
        File file = tone_file(WAV16, (size_t)rates[i], rates[i], 1);
        Media media = {0};

        ASSERT_EQ(decode(helper, file.data, file.size, &sound, &media), 0);
        ASSERT_EQ(media.source_rate, rates[i]);
        ASSERT_CMP(llabs((long long)media.n_samples - 16000), <=, 1);
        tone_like(&media, 0.005);
        media_deinit(&media);
        file_free(&file);
    }

    File slow = tone_file(WAV16, 4000, 999, 1);
    decode_refused(helper, slow.data, slow.size, &sound, MEDIA_ERROR_UNSUPPORTED);
    file_free(&slow);
    File fast = tone_file(WAV16, 400000, 400000, 1);
    decode_refused(helper, fast.data, fast.size, &sound, MEDIA_ERROR_UNSUPPORTED);
    file_free(&fast);
    File wide = tone_file(WAV16, 16000, 16000, 33);
    decode_refused(helper, wide.data, wide.size, &sound, MEDIA_ERROR_UNSUPPORTED);
    file_free(&wide);
}

static void test_lossy(void)
{
    static const int formats[] = {
        SF_FORMAT_OGG | SF_FORMAT_VORBIS,
        SF_FORMAT_OGG | SF_FORMAT_OPUS,
        SF_FORMAT_MPEG | SF_FORMAT_MPEG_LAYER_III,
    };

    for (size_t i = 0; i < sizeof formats / sizeof *formats; i++) {
        File file = tone_file(formats[i], 32000, 16000, 1);
        Media media = {0};

        if (file.size == 0) {
            fprintf(stderr, "libsndfile cannot write format %x\n", (unsigned)formats[i]);
            continue;
        }
        ASSERT_EQ(decode(helper, file.data, file.size, &sound, &media), 0);
        ASSERT_CMP(llabs((long long)media.n_samples - 32000), <, 3000);
        /* MP3 begins later than the tone did: its loudness is what can be told. */
        double power = 0;
        for (size_t j = 4000; j < 28000; j++)
            power += (double)media.samples[j] * media.samples[j];
        ASSERT_NEAR(sqrt(power / 24000), 16000.0 / 32768 / sqrt(2), 0.02);
        if (formats[i] == (SF_FORMAT_OGG | SF_FORMAT_VORBIS))
            tone_like(&media, 0.05);
        media_deinit(&media);
        file_free(&file);
    }
}

/* Files of floats hold anything. */
static void test_wild_floats(void)
{
    float samples[400] = {NAN, INFINITY, -INFINITY, 1e30f, -5, 0.25f, -0.0f, 1e-40f};
    File file = make_sound(SF_FORMAT_WAV | SF_FORMAT_FLOAT, 16000, 1, samples, 400);
    Media media = {0};

    ASSERT_EQ(decode(helper, file.data, file.size, &sound, &media), 0);
    ASSERT_EQ(media.n_samples, 400);
    const float expected[] = {0, 0, 0, 1, -1, 0.25f, 0, 1e-40f};
    for (size_t i = 0; i < 8; i++)
        ASSERT_NEAR(media.samples[i], expected[i], 0);
    media_deinit(&media);
    file_free(&file);
}

static void test_too_long(void)
{
    const size_t most = 30 * 16000;
    File whole = tone_file(WAV16, most, 16000, 1), longer = tone_file(WAV16, most + 1, 16000, 1);
    File ogg = tone_file(SF_FORMAT_OGG | SF_FORMAT_VORBIS, most + 4000, 16000, 1);
    Media media = {0};

    ASSERT_EQ(decode(helper, whole.data, whole.size, &sound, &media), 0);
    ASSERT_EQ(media.n_samples, most);
    media_deinit(&media);

    decode_refused(helper, longer.data, longer.size, &sound, MEDIA_ERROR_TOO_LARGE);
    decode_refused(helper, ogg.data, ogg.size, &sound, MEDIA_ERROR_TOO_LARGE);
    const File *files[] = {&longer, &ogg};
    for (size_t i = 0; i < 2; i++) {
        ASSERT_EQ(decode(helper, files[i]->data, files[i]->size, &cut, &media), 0);
        ASSERT_EQ(media.n_samples, most);
        ASSERT(media.truncated);
        media_deinit(&media);
    }
    file_free(&whole);
    file_free(&longer);
    file_free(&ogg);
}

static void test_too_short(void)
{
    static const size_t lengths[] = {0, 1, 159};

    for (size_t i = 0; i < sizeof lengths / sizeof *lengths; i++) {
        File file = tone_file(WAV16, lengths[i], 16000, 1);

        decode_refused(helper, file.data, file.size, &sound, MEDIA_ERROR_EMPTY);
        file_free(&file);
    }
    File one = tone_file(WAV16, 1, 48000, 2);
    decode_refused(helper, one.data, one.size, &sound, MEDIA_ERROR_EMPTY);
    file_free(&one);

    File enough = tone_file(WAV16, 160, 16000, 1);
    Media media = {0};
    ASSERT_EQ(decode(helper, enough.data, enough.size, &sound, &media), 0);
    ASSERT_EQ(media.n_samples, 160);
    media_deinit(&media);
    file_free(&enough);
}

static void test_truncated(void)
{
    File wav = tone_file(WAV16, 8000, 16000, 1);
    File flac = tone_file(SF_FORMAT_FLAC | SF_FORMAT_PCM_16, 32000, 16000, 1);

    for (size_t eighth = 1; eighth < 8; eighth++) {
        decode_refused(helper, wav.data, wav.size * eighth / 8, &sound, MEDIA_ERROR_DECODE);
        decode_refused(helper, wav.data, wav.size * eighth / 8, &cut, MEDIA_ERROR_DECODE);
        decode_refused(helper, flac.data, flac.size * eighth / 8, &sound, MEDIA_ERROR_DECODE);
    }
    decode_refused(helper, wav.data, wav.size - 1, &sound, MEDIA_ERROR_DECODE);
    for (size_t size = 12; size <= 44; size++) { /* within the header; 44: no data */
        Media media = {0};
        int r = decode(helper, wav.data, size, &sound, &media);

        ASSERT(r == MEDIA_ERROR_DECODE || r == MEDIA_ERROR_UNSUPPORTED || r == MEDIA_ERROR_EMPTY);
    }
    file_free(&wav);
    file_free(&flac);
}

static void store_u32(uint8_t *p, uint32_t v)
{
    for (int i = 0; i < 4; i++)
        p[i] = (uint8_t)(v >> 8 * i);
}

static size_t data_chunk(const File *wav)
{
    const uint8_t *p = memmem(wav->data, wav->size, "data", 4);

    ASSERT(p);
    return (size_t)(p - wav->data);
}

/* More samples claimed than there are, up to 2^31 of them. */
static void test_claims(void)
{
    File bytes = tone_file(SF_FORMAT_WAV | SF_FORMAT_PCM_U8, 8000, 16000, 1);
    File words = tone_file(WAV16, 8000, 16000, 1);
    size_t b = data_chunk(&bytes), w = data_chunk(&words);

    store_u32(bytes.data + b + 4, 0x80000000u); /* 2^31 samples of a byte */
    store_u32(words.data + w + 4, 0xfffffffeu); /* 2^31 - 1 of two */
    decode_refused(helper, bytes.data, bytes.size, &sound, MEDIA_ERROR_TOO_LARGE);
    decode_refused(helper, words.data, words.size, &sound, MEDIA_ERROR_TOO_LARGE);
    decode_refused(helper, bytes.data, bytes.size, &cut, MEDIA_ERROR_DECODE);
    decode_refused(helper, words.data, words.size, &cut, MEDIA_ERROR_DECODE);
    store_u32(words.data + w + 4, 0xffffffffu); /* a length of all ones in one place alone */
    decode_refused(helper, words.data, words.size, &sound, MEDIA_ERROR_TOO_LARGE);
    file_free(&bytes);
    file_free(&words);

    /* 2^31 samples and more, in the long header of RF64. */
    File rf64 = tone_file(SF_FORMAT_RF64 | SF_FORMAT_PCM_16, 8000, 16000, 1);
    uint8_t *ds64 = memmem(rf64.data, rf64.size, "ds64", 4);
    ASSERT(ds64 && memcmp(rf64.data, "RF64", 4) == 0);
    store_u32(ds64 + 16, 0);
    store_u32(ds64 + 20, 1);
    store_u32(ds64 + 24, 0x80000000u);
    decode_refused(helper, rf64.data, rf64.size, &sound, MEDIA_ERROR_TOO_LARGE);
    decode_refused(helper, rf64.data, rf64.size, &cut, MEDIA_ERROR_DECODE);
    file_free(&rf64);
}

/* What programs write that send a WAV through a pipe. */
static void test_streamed(void)
{
    static const uint32_t lengths[][2] = {
        {0xffffffffu, 0xffffffffu}, /* FFmpeg */
        {0x7ffff024u, 0x7ffff000u}, /* SoX, eSpeak */
    };

    for (size_t i = 0; i < 2; i++) {
        File file = tone_file(WAV16, 8000, 16000, 1);
        Media media = {0};

        store_u32(file.data + 4, lengths[i][0]);
        store_u32(file.data + data_chunk(&file) + 4, lengths[i][1]);
        ASSERT_EQ(decode(helper, file.data, file.size, &sound, &media), 0);
        ASSERT_EQ(media.n_samples, 8000);
        tone_like(&media, 1e-4);
        media_deinit(&media);
        file_free(&file);
    }
}

static void test_not_sound(void)
{
    static const char text[] = "Not a sound was heard.\n";
    static const char wave[] = "RIFF\x40\0\0\0WAVEand nothing that a chunk could be made of";
    static const char ogg[] = "OggS and then words";
    File file = tone_file(WAV16, 8000, 16000, 1);
    const MediaRequest image = {.kind = MEDIA_IMAGE};

    decode_refused(helper, text, sizeof text - 1, &sound, MEDIA_ERROR_UNSUPPORTED);
    decode_refused(helper, wave, sizeof wave - 1, &sound, MEDIA_ERROR_DECODE);
    decode_refused(helper, file.data, file.size, &image, MEDIA_ERROR_UNSUPPORTED);
    decode_refused(helper, "\x89PNG\r\n\x1a\n", 8, &sound, MEDIA_ERROR_UNSUPPORTED);
    Media media = {0};
    int r = decode(helper, ogg, sizeof ogg - 1, &sound, &media);
    ASSERT(r == MEDIA_ERROR_DECODE || r == MEDIA_ERROR_UNSUPPORTED);

    /* A format that libsndfile reads and we do not offer. */
    File aiff = tone_file(SF_FORMAT_AIFF | SF_FORMAT_PCM_16, 8000, 16000, 1);
    decode_refused(helper, aiff.data, aiff.size, &sound, MEDIA_ERROR_UNSUPPORTED);
    file_free(&aiff);

    r = decode(helper, file.data, file.size, &(MediaRequest){0}, &media); /* found by its bytes */
    ASSERT_EQ(r, 0);
    ASSERT_EQ(media.kind, MEDIA_AUDIO);
    media_deinit(&media);
    file_free(&file);
}

int main(int argc, char **argv)
{
    ASSERT_EQ(argc, 2);
    ASSERT_OK(media_helper_new(argv[1], &helper));
    RUN(test_exact);
    RUN(test_channels);
    RUN(test_rates);
    RUN(test_lossy);
    RUN(test_wild_floats);
    RUN(test_too_long);
    RUN(test_too_short);
    RUN(test_truncated);
    RUN(test_claims);
    RUN(test_streamed);
    RUN(test_not_sound);
    media_helper_free(helper);
    return 0;
}
