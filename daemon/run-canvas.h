#pragma once

/* A small RGB picture to draw on: rectangles, words in a 5x7 font, PNG out. */

#include <stddef.h>
#include <stdint.h>

#include "engine/base/cleanup.h"

#define CANVAS_GLYPH_WIDTH  6
#define CANVAS_GLYPH_HEIGHT 7

typedef struct Color {
    uint8_t r, g, b;
} Color;

typedef struct Canvas {
    size_t width, height;
    Color *pixels;
} Canvas;

/* Filled with one colour. */
int canvas_init(Canvas *c, size_t width, size_t height, Color color);
void canvas_deinit(Canvas *c);
/* Parts outside the canvas are not drawn. */
void canvas_rectangle(Canvas *c, size_t x, size_t y, size_t width, size_t height, Color color);
/* Lower-case letters, digits and ": . -"; others leave a gap. */
void canvas_text(Canvas *c, size_t x, size_t y, size_t scale, const char *text, Color color);
int canvas_write(const Canvas *c, const char *path);

/* value in [0, 1] to a colour that grows in lightness from dark blue to yellow. */
Color color_heat(float value);
Color color_mix(Color a, Color b, float share_of_b);
