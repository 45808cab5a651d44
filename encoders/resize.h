#pragma once

/*
 * The antialiased triangle filter of engine/MODEL.md, section 2: horizontal pass, then vertical, in
 * f32. Rows of the picture are read once, in order, and each is added at once to the output rows
 * it reaches, so the scratch does not grow with the height. Private to this folder.
 */

#include <stdint.h>

#include "engine/base/cleanup.h"

#define RESIZE_IN_MAX  32768 /* longest side of an input */
#define RESIZE_OUT_MAX 1024  /* longest side of an output */

/* r, g, b and an unused fourth: a pixel fills a vector register. */
typedef float Pixel __attribute__((vector_size(16)));

typedef struct Resizer Resizer;

int resizer_new(Resizer **ret_resizer);
Resizer *resizer_free(Resizer *r);
DEFINE_CLEANUP(Resizer *, resizer_free);

/* rgb [height, width, 3] to out [out_height, out_width]; no side is 0 or beyond its maximum. */
void resizer_run(Resizer *r, const uint8_t *rgb, uint32_t width, uint32_t height,
                 uint32_t out_width, uint32_t out_height, Pixel *out);
