#include <sndfile.h>
#include <sys/stat.h>

#include "tests/media/make.h"
#include "tests/test.h"

/* Floats to integers without the rounding of libsndfile, for which 1 is 32767. */
static void samples_write(SNDFILE *sound, int format, const float *samples, size_t n)
{
    int subtype = format & SF_FORMAT_SUBMASK;

    if (subtype != SF_FORMAT_PCM_16 && subtype != SF_FORMAT_PCM_24 && subtype != SF_FORMAT_PCM_U8) {
        ASSERT_EQ(sf_write_float(sound, samples, (sf_count_t)n), n);
        return;
    }
    _cleanup_free_ int *values = calloc(n + 1, sizeof *values);
    ASSERT(values);
    for (size_t i = 0; i < n; i++)
        values[i] = (int)lrint(ldexp((double)samples[i], 31));
    ASSERT_EQ(sf_write_int(sound, values, (sf_count_t)n), n);
}

File make_sound(int format, int rate, int channels, const float *samples, size_t n_frames)
{
    SF_INFO info = {.samplerate = rate, .channels = channels, .format = format};
    _cleanup_close_ int fd = file_open("", 0);
    struct stat st;
    File file = {0};

    if (!sf_format_check(&info))
        return file;
    SNDFILE *sound = sf_open_fd(fd, SFM_WRITE, &info, 0);
    ASSERT(sound);
    samples_write(sound, format, samples, n_frames * (size_t)channels);
    sf_close(sound);

    ASSERT_EQ(fstat(fd, &st), 0);
    file.size = (size_t)st.st_size;
    file.data = malloc(file.size);
    ASSERT(file.data);
    ASSERT_EQ(pread(fd, file.data, file.size, 0), st.st_size);
    return file;
}
