#pragma once

/*
 * Small pictures of big ones. The bytes are strangers', so they are decoded where the service
 * decodes them: in percept-media, behind its walls.
 */

#include <stdint.h>

#include "encoders/media/media.h"

typedef struct Thumbnail {
    uint8_t *rgb; /* [height, width, 3] */
    uint32_t width, height;
} Thumbnail;

void thumbnail_deinit(Thumbnail *t);

/* percept-media beside this build of the program, or the installed one. */
int thumbnail_helper(MediaHelper **ret_helper);
/* At most width by height, in the shape of the picture. A negative errno or MediaError. */
int thumbnail_of(MediaHelper *helper, const char *path, uint32_t width, uint32_t height,
                 Thumbnail *ret_thumbnail);
/* The same of decoded pixels. */
int thumbnail_scale(const uint8_t *rgb, uint32_t width, uint32_t height, uint32_t max_width,
                    uint32_t max_height, Thumbnail *ret_thumbnail);
