#include "daemon/thumbnail.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <string.h>

void thumbnail_deinit(Thumbnail *t)
{
    free(t->rgb);
    *t = (Thumbnail){0};
}

int thumbnail_helper(MediaHelper **ret_helper)
{
    static const char inside[] = "/../encoders/media/percept-media";
    char beside[PATH_MAX + sizeof inside];
    ssize_t n = readlink("/proc/self/exe", beside, PATH_MAX);
    char *slash = n > 0 ? memrchr(beside, '/', (size_t)n) : NULL;

    if (slash)
        strcpy(slash, inside);
    return media_helper_new(
        slash && access(beside, X_OK) == 0 ? beside : PKGLIBEXECDIR "/percept-media", ret_helper);
}

/* Means of the pixels that each new one covers: from below, at least one. */
static void scale_row(const uint8_t *rgb, uint32_t width, uint32_t y0, uint32_t y1,
                      uint8_t *ret_row, uint32_t new_width)
{
    for (uint32_t x = 0; x < new_width; x++) {
        uint32_t x0 = (uint32_t)((uint64_t)x * width / new_width);
        uint32_t x1 = (uint32_t)((uint64_t)(x + 1) * width / new_width);
        uint64_t sum[3] = {0}, n = (uint64_t)(x1 - x0) * (y1 - y0);

        for (uint32_t j = y0; j < y1; j++)
            for (uint32_t i = x0; i < x1; i++)
                for (unsigned c = 0; c < 3; c++)
                    sum[c] += rgb[((size_t)j * width + i) * 3 + c];
        for (unsigned c = 0; c < 3; c++)
            ret_row[3 * x + c] = (uint8_t)((sum[c] + n / 2) / n);
    }
}

int thumbnail_scale(const uint8_t *rgb, uint32_t width, uint32_t height, uint32_t max_width,
                    uint32_t max_height, Thumbnail *ret_thumbnail)
{
    Thumbnail t = {.width = width, .height = height};

    if (width == 0 || height == 0)
        return -EINVAL;
    if (t.width > max_width) {
        t.height = (uint32_t)((uint64_t)t.height * max_width / t.width);
        t.width = max_width;
    }
    if (t.height > max_height) {
        t.width = (uint32_t)((uint64_t)t.width * max_height / t.height);
        t.height = max_height;
    }
    t.width += t.width == 0;
    t.height += t.height == 0;
    t.rgb = malloc((size_t)t.width * t.height * 3);
    if (!t.rgb)
        return -ENOMEM;
    for (uint32_t y = 0; y < t.height; y++)
        scale_row(rgb, width, (uint32_t)((uint64_t)y * height / t.height),
                  (uint32_t)((uint64_t)(y + 1) * height / t.height),
                  t.rgb + (size_t)y * t.width * 3, t.width);
    *ret_thumbnail = t;
    return 0;
}

int thumbnail_of(MediaHelper *helper, const char *path, uint32_t width, uint32_t height,
                 Thumbnail *ret_thumbnail)
{
    _cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
    /* Scaled down in the decoder already, as far as it can, but not below what we want. */
    const MediaRequest request = {.kind = MEDIA_IMAGE, .max_patches = 256};
    const char *message;
    Media media = {0};
    int r;

    if (fd < 0)
        return -errno;
    r = media_decode(helper, fd, &request, &media, &message);
    if (r >= 0)
        r = thumbnail_scale(media.rgb, media.width, media.height, width, height, ret_thumbnail);
    media_deinit(&media);
    return r;
}
