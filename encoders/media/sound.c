#include "encoders/media/codecs.h"

#include <math.h>
#include <samplerate.h>
#include <sndfile.h>
#include <string.h>

#include "encoders/media/wav.h"

#define RATE_MIN     1000
#define RATE_MAX     384000
#define CHANNELS_MAX 32
#define BLOCK_FRAMES 1024
#define SAMPLES_MIN  160 /* 10 ms: less cannot be heard */

/* The input as libsndfile reads it. */
typedef struct Stream {
    const Input *in;
    size_t position;
} Stream;

static sf_count_t stream_length(void *userdata)
{
    const Stream *s = userdata;

    return (sf_count_t)s->in->size;
}

static sf_count_t stream_seek(sf_count_t offset, int whence, void *userdata)
{
    Stream *s = userdata;
    sf_count_t size = (sf_count_t)s->in->size, from = 0, to;

    if (whence == SEEK_CUR)
        from = (sf_count_t)s->position;
    else if (whence == SEEK_END)
        from = size;
    if (__builtin_add_overflow(from, offset, &to) || to < 0)
        return -1;
    s->position = (size_t)(to < size ? to : size);
    return (sf_count_t)s->position;
}

static sf_count_t stream_read(void *to, sf_count_t n, void *userdata)
{
    Stream *s = userdata;
    size_t left = s->in->size - s->position;
    size_t take = n < 0 ? 0 : (uint64_t)n < left ? (size_t)n : left;

    memcpy(to, s->in->data + s->position, take);
    s->position += take;
    return (sf_count_t)take;
}

static sf_count_t stream_write(const void *from, sf_count_t n, void *userdata)
{
    (void)from;
    (void)n;
    (void)userdata;
    return 0;
}

static sf_count_t stream_tell(void *userdata)
{
    const Stream *s = userdata;

    return (sf_count_t)s->position;
}

/* One channel at the file's own rate. */
typedef struct Mono {
    float *samples;
    size_t n, capacity;
} Mono;

static bool mono_reserve(Mono *m, size_t n, size_t most)
{
    size_t capacity = m->capacity;
    float *samples;

    if (n <= capacity)
        return true;
    while (capacity < n)
        capacity = capacity < 16384 ? 16384 : 2 * capacity;
    capacity = capacity < most ? capacity : most;
    samples = realloc(m->samples, capacity * sizeof *samples);
    if (!samples)
        return false;
    m->samples = samples;
    m->capacity = capacity;
    return true;
}

/* Files of floats hold anything, infinities and NaN as well. */
static float sample_clean(float x)
{
    return isfinite(x) ? fminf(fmaxf(x, -1), 1) : 0;
}

static void block_mix(Mono *m, const float *block, size_t n_frames, size_t channels)
{
    for (size_t i = 0; i < n_frames; i++) {
        float sum = 0;

        for (size_t c = 0; c < channels; c++)
            sum += *block++;
        m->samples[m->n++] = sample_clean(sum / (float)channels);
    }
}

/* Reads up to `most` frames: what is really there decides how much memory is taken. */
static Reason mono_read(Mono *m, SNDFILE *file, size_t channels, size_t most)
{
    float block[BLOCK_FRAMES * CHANNELS_MAX];

    while (m->n < most) {
        size_t want = most - m->n < BLOCK_FRAMES ? most - m->n : BLOCK_FRAMES;
        sf_count_t got = sf_readf_float(file, block, (sf_count_t)want);

        if (got <= 0)
            break;
        if (!mono_reserve(m, m->n + (size_t)got, most))
            return REASON_MEMORY;
        block_mix(m, block, (size_t)got, channels);
    }
    return REASON_NONE;
}

static Reason info_check(const SF_INFO *info)
{
    switch (info->format & SF_FORMAT_TYPEMASK) {
    case SF_FORMAT_WAV:
    case SF_FORMAT_WAVEX:
    case SF_FORMAT_RF64:
    case SF_FORMAT_FLAC:
    case SF_FORMAT_OGG:
#ifdef HAVE_SNDFILE_MPEG
    case SF_FORMAT_MPEG:
#endif
        break;
    default:
        return REASON_SOUND_KIND;
    }
    if (info->samplerate < RATE_MIN || info->samplerate > RATE_MAX)
        return REASON_SOUND_RATE;
    return info->channels < 1 || info->channels > CHANNELS_MAX ? REASON_SOUND_CHANNELS
                                                               : REASON_NONE;
}

/* Whether the file counts its frames: MP3 and Ogg only let them be guessed. */
static bool frames_are_counted(const SF_INFO *info)
{
    int type = info->format & SF_FORMAT_TYPEMASK;

    return (type == SF_FORMAT_WAV || type == SF_FORMAT_WAVEX || type == SF_FORMAT_RF64 ||
            type == SF_FORMAT_FLAC) &&
           info->frames > 0 && info->frames != SF_COUNT_MAX;
}

/* Everything of the file as one channel, at most the seconds allowed. */
static Reason sound_read(SNDFILE *file, const SF_INFO *info, const MediaRequest *request, Mono *m,
                         Output *out)
{
    size_t most = (size_t)info->samplerate * MEDIA_SECONDS_MAX;
    bool counted = frames_are_counted(info);
    Reason reason;

    if (counted && (uint64_t)info->frames > most && !request->truncate_audio)
        return REASON_SECONDS;
    /* One more than allowed, to see whether there is more. */
    reason = mono_read(m, file, (size_t)info->channels, most + 1);
    if (reason != REASON_NONE)
        return reason;
    if (m->n > most) {
        if (!request->truncate_audio)
            return REASON_SECONDS;
        m->n = most;
        out->reply.truncated = true;
        return REASON_NONE;
    }
    if (counted && m->n < (uint64_t)info->frames)
        return REASON_SOUND_SHORT;
    return m->n == 0 && sf_error(file) != SF_ERR_NO_ERROR ? REASON_SOUND : REASON_NONE;
}

/* Mono samples at `rate` into the output at MEDIA_RATE. */
static Reason sound_finish(const Mono *m, int rate, Output *out)
{
    double ratio = (double)MEDIA_RATE / rate;
    size_t n = rate == MEDIA_RATE ? m->n : (size_t)ceil((double)m->n * ratio);
    size_t most = (size_t)MEDIA_RATE * MEDIA_SECONDS_MAX;
    float *samples;

    n = n < most ? n : most;
    if (n < SAMPLES_MIN)
        return REASON_NO_SAMPLES;
    samples = output_map(out, n * sizeof *samples);
    if (!samples)
        return REASON_MEMORY;
    if (rate == MEDIA_RATE) {
        memcpy(samples, m->samples, n * sizeof *samples);
    } else {
        SRC_DATA data = {
            .data_in = m->samples,
            .data_out = samples,
            .input_frames = (long)m->n,
            .output_frames = (long)n,
            .src_ratio = ratio,
        };

        if (src_simple(&data, SRC_SINC_FASTEST, 1) != 0)
            return REASON_MEMORY;
        n = (size_t)data.output_frames_gen;
    }
    if (n < SAMPLES_MIN)
        return REASON_NO_SAMPLES;
    out->reply.n_samples = (uint32_t)n;
    return REASON_NONE;
}

static Reason open_reason(void)
{
    switch (sf_error(NULL)) {
    case SF_ERR_UNRECOGNISED_FORMAT:
    case SF_ERR_UNSUPPORTED_ENCODING:
        return REASON_SOUND_KIND;
    default:
        return REASON_SOUND;
    }
}

Reason sound_decode(Input *in, const MediaRequest *request, Output *out)
{
    Stream stream = {in, 0};
    SF_VIRTUAL_IO io = {stream_length, stream_seek, stream_read, stream_write, stream_tell};
    SF_INFO info = {0};
    Mono mono = {0};
    SNDFILE *file;
    Reason reason;

    reason = wav_check(in, request->truncate_audio);
    if (reason != REASON_NONE)
        return reason;
    file = sf_open_virtual(&io, SFM_READ, &info, &stream);
    if (!file)
        return open_reason();
    out->reply.kind = MEDIA_AUDIO;
    out->reply.source_rate = (uint32_t)info.samplerate;
    out->reply.source_channels = (uint32_t)info.channels;
    reason = info_check(&info);
    if (reason == REASON_NONE)
        reason = sound_read(file, &info, request, &mono, out);
    sf_close(file);
    if (reason == REASON_NONE)
        reason = sound_finish(&mono, info.samplerate, out);
    free(mono.samples);
    return reason;
}
