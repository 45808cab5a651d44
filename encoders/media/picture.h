#pragma once

/*
 * A picture as a codec leaves it, and the last steps that all codecs share: upright, cut to the
 * region, alpha over white, into the result. Private to this folder.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "encoders/media/media.h"
#include "encoders/media/output.h"
#include "encoders/media/reason.h"

typedef struct Picture {
    uint8_t *pixels; /* [height, width, channels] */
    uint32_t width, height;
    uint32_t channels;                    /* 3: RGB; 4: RGB with alpha */
    uint32_t orientation;                 /* 1 … 8 as in EXIF */
    uint32_t source_width, source_height; /* before scaling, as stored */
} Picture;

/* Allocates pixels, zeroed, after the ceilings. p must be zero; picture_deinit() in any case. */
Reason picture_init(Picture *p, uint32_t width, uint32_t height, uint32_t channels);
void picture_deinit(Picture *p);

/* REASON_NONE if a picture of this size may be decoded. */
Reason picture_check_size(uint64_t width, uint64_t height);

/* A rectangle of the upright picture. */
typedef struct Region {
    uint32_t x, y, width, height;
} Region;

/* What the request wants of an upright picture of this size. */
Reason picture_region(const MediaRequest *request, uint32_t width, uint32_t height,
                      Region *ret_region);

static inline bool orientation_turns(uint32_t orientation)
{
    return orientation >= 5;
}

/* Writes the picture to the output. */
Reason picture_finish(const Picture *p, const MediaRequest *request, Output *out);
