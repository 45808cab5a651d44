#include "tests/media/make.h"

#include <sys/mman.h>
#include <sys/stat.h>

#include "tests/test.h"

void file_append(File *f, const void *data, size_t size)
{
    f->data = realloc(f->data, f->size + size + 1);
    ASSERT(f->data);
    memcpy(f->data + f->size, data, size);
    f->size += size;
}

void file_free(File *f)
{
    free(f->data);
    *f = (File){0};
}

int file_open(const void *data, size_t size)
{
    int fd = memfd_create("test", MFD_CLOEXEC | MFD_ALLOW_SEALING);

    ASSERT(fd >= 0);
    for (size_t done = 0; done < size;) {
        ssize_t n = write(fd, (const char *)data + done, size - done);

        ASSERT(n > 0);
        done += (size_t)n;
    }
    return fd;
}

uint8_t *pixels_smooth(uint32_t width, uint32_t height, uint32_t channels)
{
    uint8_t *pixels = malloc((size_t)width * height * channels), *p = pixels;

    ASSERT(pixels);
    for (uint32_t y = 0; y < height; y++)
        for (uint32_t x = 0; x < width; x++)
            for (uint32_t c = 0; c < channels; c++)
                *p++ = (uint8_t)(128 + 100 * sin((x + 3.0 * c) / (9 + c)) * cos(y / (7.0 + c)));
    return pixels;
}

uint8_t *pixels_noise(uint32_t width, uint32_t height, uint32_t channels, uint32_t seed)
{
    size_t n = (size_t)width * height * channels;
    uint8_t *pixels = malloc(n);

    ASSERT(pixels);
    for (size_t i = 0; i < n; i++) {
        seed = seed * 1664525 + 1013904223;
        pixels[i] = (uint8_t)(seed >> 24);
    }
    return pixels;
}

size_t make_exif(uint8_t *to, int orientation, bool big_endian)
{
    static const uint8_t little[] = {'I', 'I', 42, 0, 8, 0, 0, 0, 1, 0, 0x12, 0x01, 3,
                                     0,   1,   0,  0, 0, 0, 0, 0, 0, 0, 0,    0,    0};
    static const uint8_t big[] = {'M', 'M', 0, 42, 0, 0, 0, 8, 0, 1, 0x01, 0x12, 0,
                                  3,   0,   0, 0,  1, 0, 0, 0, 0, 0, 0,    0,    0};

    memcpy(to, big_endian ? big : little, sizeof little);
    to[big_endian ? 19 : 18] = (uint8_t)orientation;
    return sizeof little;
}

int decode(MediaHelper *h, const void *data, size_t size, const MediaRequest *request,
           Media *ret_media)
{
    _cleanup_close_ int fd = file_open(data, size);
    const char *message = NULL;
    int r = media_decode(h, fd, request, ret_media, &message);

    if (r == 0)
        ASSERT(!message);
    else
        ASSERT(message && strlen(message) > 0);
    return r;
}

void decode_refused(MediaHelper *h, const void *data, size_t size, const MediaRequest *request,
                    int error)
{
    _cleanup_close_ int fd = file_open(data, size);
    const char *message = "nothing";
    Media media = {0};
    int r = media_decode(h, fd, request, &media, &message);

    if (r != error)
        test_fail(__FILE__, __LINE__, "decoding gave %d (%s), not %d", r, message ? message : "ok",
                  error);
    ASSERT(!media.map);
}
