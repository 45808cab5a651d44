#pragma once

/*
 * Files that the media tests decode, written by the formats' own libraries, and what must come out
 * of them.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "encoders/media/media.h"

/* A file in memory, and pixels [height, width, channels]. */
typedef struct File {
    uint8_t *data;
    size_t size;
} File;

void file_append(File *f, const void *data, size_t size);
void file_free(File *f);
/* An unsealed memfd with these bytes. */
int file_open(const void *data, size_t size);

/* Random smooth pixels, for lossy formats, or noise, for the others. */
uint8_t *pixels_smooth(uint32_t width, uint32_t height, uint32_t channels);
uint8_t *pixels_noise(uint32_t width, uint32_t height, uint32_t channels, uint32_t seed);

typedef struct JpegOptions {
    int channels; /* of the pixels: 1 grey, 3 RGB, 4 CMYK as Adobe stores it */
    bool progressive;
    bool two_scans;   /* progressive, but nothing is refined: scans may come again */
    int orientation;  /* 0: no EXIF */
    bool full_chroma; /* 4:4:4 */
} JpegOptions;

File make_jpeg(const uint8_t *pixels, uint32_t width, uint32_t height, const JpegOptions *options);
/* Every pixel as libjpeg gives it at full size: [height, width, 3], or [.., 4] of CMYK. */
uint8_t *read_jpeg(const File *file, int *ret_channels);

typedef struct PngOptions {
    int color_type; /* of png.h */
    int depth;
    bool interlaced;
    int orientation;
} PngOptions;

/* pixels [height, width, channels of the colour type]; 16-bit files get v * 257; a palette is made
 * of the first 16 grey levels that are multiples of 17, and pixels are indices. */
File make_png(const uint8_t *pixels, uint32_t width, uint32_t height, const PngOptions *options);

/* Lossless; channels 3 or 4. */
File make_webp(const uint8_t *pixels, uint32_t width, uint32_t height, uint32_t channels);
/* Three frames, of which the first one holds the pixels. */
File make_webp_animated(const uint8_t *rgba, uint32_t width, uint32_t height);

/* format: SF_FORMAT_…; samples interleaved. Empty when libsndfile does not know the format. */
File make_sound(int format, int rate, int channels, const float *samples, size_t n_frames);

/* An EXIF block (TIFF header first) with one entry: the orientation. Returns its size. */
size_t make_exif(uint8_t *to, int orientation, bool big_endian);

/* Decodes bytes through a helper: what media_decode() says. */
int decode(MediaHelper *h, const void *data, size_t size, const MediaRequest *request,
           Media *ret_media);
/* Decoding fails with this error. */
void decode_refused(MediaHelper *h, const void *data, size_t size, const MediaRequest *request,
                    int error);
