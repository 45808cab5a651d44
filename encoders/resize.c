#include "encoders/resize.h"

#include <assert.h>
#include <math.h>
#include <string.h>

/* An output takes inputs [first, end) with the weights from `weights` on. Both ends grow with the
 * output's number. */
typedef struct Tap {
    uint32_t first, end;
    uint32_t weights;
} Tap;

/* Weights of all outputs together: at most 2 * scale + 2 each when shrinking, 3 when not. */
#define WEIGHTS_MAX (2 * RESIZE_IN_MAX + 3 * RESIZE_OUT_MAX)

typedef struct Filter {
    Tap taps[RESIZE_OUT_MAX];
    float weights[WEIGHTS_MAX];
} Filter;

struct Resizer {
    Filter across, down;
    Pixel row[RESIZE_IN_MAX];   /* one row of the input */
    Pixel line[RESIZE_OUT_MAX]; /* the same row after the horizontal pass */
};

int resizer_new(Resizer **ret_resizer)
{
    Resizer *r = aligned_alloc(64, (sizeof *r + 63) / 64 * 64);

    if (!r)
        return -ENOMEM;
    *ret_resizer = r;
    return 0;
}

Resizer *resizer_free(Resizer *r)
{
    free(r);
    return NULL;
}

static void filter_build(Filter *f, uint32_t in, uint32_t out)
{
    double scale = (double)in / out, support = scale > 1 ? scale : 1;
    uint32_t used = 0;

    for (uint32_t i = 0; i < out; i++) {
        double centre = (i + 0.5) * scale, sum = 0;
        double low = centre - support + 0.5, high = centre + support + 0.5;
        Tap *tap = &f->taps[i];

        tap->first = low > 0 ? (uint32_t)low : 0;
        tap->end = high < in ? (uint32_t)high : in;
        tap->weights = used;
        assert(tap->first < tap->end && used + (tap->end - tap->first) <= WEIGHTS_MAX);
        for (uint32_t x = tap->first; x < tap->end; x++) {
            double weight = 1 - fabs(x - centre + 0.5) / support;

            weight = weight > 0 ? weight : 0;
            f->weights[used++] = (float)weight;
            sum += weight;
        }
        for (uint32_t j = tap->weights; j < used; j++)
            f->weights[j] = (float)(f->weights[j] / sum);
    }
}

static void row_load(const uint8_t *rgb, uint32_t width, Pixel *row)
{
    for (uint32_t x = 0; x < width; x++)
        row[x] = (Pixel){rgb[3 * x], rgb[3 * x + 1], rgb[3 * x + 2], 0};
}

/* Two sums at a time: one alone would wait for itself at every step. */
static void row_across(const Filter *f, const Pixel *row, uint32_t out_width, Pixel *line)
{
    for (uint32_t i = 0; i < out_width; i++) {
        const Tap *tap = &f->taps[i];
        const float *weights = f->weights + tap->weights;
        const Pixel *in = row + tap->first;
        uint32_t n = tap->end - tap->first, j = 0;
        Pixel even = {0}, odd = {0};

        for (; j + 1 < n; j += 2) {
            even += weights[j] * in[j];
            odd += weights[j + 1] * in[j + 1];
        }
        if (j < n)
            even += weights[j] * in[j];
        line[i] = even + odd;
    }
}

void resizer_run(Resizer *r, const uint8_t *rgb, uint32_t width, uint32_t height,
                 uint32_t out_width, uint32_t out_height, Pixel *out)
{
    uint32_t live = 0; /* the first output row that is not complete */

    assert(width > 0 && width <= RESIZE_IN_MAX && height > 0 && height <= RESIZE_IN_MAX);
    assert(out_width > 0 && out_width <= RESIZE_OUT_MAX);
    assert(out_height > 0 && out_height <= RESIZE_OUT_MAX);
    filter_build(&r->across, width, out_width);
    filter_build(&r->down, height, out_height);
    memset(out, 0, (size_t)out_width * out_height * sizeof *out);

    for (uint32_t y = 0; y < height; y++) {
        row_load(rgb + (size_t)y * width * 3, width, r->row);
        row_across(&r->across, r->row, out_width, r->line);
        while (live < out_height && r->down.taps[live].end <= y)
            live++;
        for (uint32_t i = live; i < out_height && r->down.taps[i].first <= y; i++) {
            const Tap *tap = &r->down.taps[i];
            float weight = r->down.weights[tap->weights + y - tap->first];
            Pixel *sum = out + (size_t)i * out_width;

            for (uint32_t x = 0; x < out_width; x++)
                sum[x] += weight * r->line[x];
        }
    }
}
