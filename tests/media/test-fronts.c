/* Grid, resizing and mel frames against the plainest form of what engine/MODEL.md says. */

#include "encoders/image.h"
#include "encoders/mel.h"
#include "encoders/resize.h"
#include "tests/media/make.h"
#include "tests/test.h"

static void test_grid(void)
{
    static const struct {
        uint32_t width, height, patches, rows, cols;
    } cases[] = {
        {1152, 868, 64, 7, 9},    {1152, 868, 256, 14, 18}, {100, 70, 64, 4, 6},
        {1, 1, 64, 4, 4},         {8, 8, 256, 4, 4},        {32768, 1, 64, 1, 64},
        {1, 32768, 256, 64, 1},   {1134, 1000, 64, 8, 8}, /* 9 x 8 is one column too many */
        {1000, 1134, 64, 8, 8},   {128, 128, 64, 8, 8},     {256, 256, 256, 16, 16},
        {32768, 3200, 64, 3, 21}, {64, 64, 64, 4, 4},
    };
    uint32_t seed = 1;

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        ImageGrid g = image_grid(cases[i].width, cases[i].height, cases[i].patches);

        if (g.rows != cases[i].rows || g.cols != cases[i].cols)
            test_fail(__FILE__, __LINE__, "%u x %u: %u rows, %u columns", cases[i].width,
                      cases[i].height, g.rows, g.cols);
    }
    for (int i = 0; i < 100000; i++) {
        uint32_t most = i % 2 ? 64 : 256;
        uint32_t width = 1 + ((seed = seed * 1664525 + 1013904223) >> 8) % 32768 / (1 + i % 300);
        uint32_t height = 1 + ((seed = seed * 1664525 + 1013904223) >> 8) % 32768 / (1 + i % 77);
        ImageGrid g = image_grid(width, height, most);

        ASSERT(g.rows >= 1 && g.cols >= 1 && g.rows <= 64 && g.cols <= 64);
        ASSERT_CMP(g.rows * g.cols, <=, most);
    }
}

/* One line of `in` values to one value: MODEL.md, section 2, point 3. */
static double filter_at(const double *line, size_t stride, int in, int out, int i)
{
    double scale = (double)in / out, r = fmax(scale, 1), c = (i + 0.5) * scale, sum = 0, total = 0;
    int end = (int)(c + r + 0.5);

    for (int x = (int)fmax(0, c - r + 0.5); x < (end < in ? end : in); x++) {
        double weight = fmax(0, 1 - fabs(x - c + 0.5) / r);

        sum += weight * line[(size_t)x * stride];
        total += weight;
    }
    return sum / total;
}

static void resize_check(Resizer *r, int w, int h, int out_w, int out_h)
{
    uint8_t *rgb = pixels_noise((uint32_t)w, (uint32_t)h, 3, (uint32_t)(w + h));
    size_t n_in = (size_t)w * (size_t)h, n_middle = (size_t)out_w * (size_t)h;
    size_t n_out = (size_t)out_w * (size_t)out_h;
    Pixel *out = aligned_alloc(64, (n_out * sizeof *out + 63) / 64 * 64);
    double *in = malloc(n_in * sizeof *in), *middle = malloc(n_middle * sizeof *middle), worst = 0;

    ASSERT(out && in && middle);
    resizer_run(r, rgb, (uint32_t)w, (uint32_t)h, (uint32_t)out_w, (uint32_t)out_h, out);
    for (int channel = 0; channel < 3; channel++) {
        for (size_t i = 0; i < n_in; i++)
            in[i] = rgb[3 * i + (size_t)channel];
        for (size_t i = 0; i < n_middle; i++)
            middle[i] = filter_at(in + i / (size_t)out_w * (size_t)w, 1, w, out_w,
                                  (int)(i % (size_t)out_w));
        for (size_t i = 0; i < n_out; i++) {
            double expected = filter_at(middle + i % (size_t)out_w, (size_t)out_w, h, out_h,
                                        (int)(i / (size_t)out_w));

            worst = fmax(worst, fabs(expected - (double)out[i][channel]));
        }
    }
    if (!(worst < 1e-3)) /* of 255 */
        test_fail(__FILE__, __LINE__, "%d x %d to %d x %d: off by %g", w, h, out_w, out_h, worst);
    free(rgb);
    free(out);
    free(in);
    free(middle);
}

static void test_resize(void)
{
    static const int sizes[][4] = {
        {1, 1, 64, 64},       {2, 1, 16, 1024},      {100, 70, 96, 64},   {97, 53, 96, 48},
        {640, 480, 144, 112}, {1152, 868, 144, 112}, {31, 777, 16, 1024}, {32768, 2, 1024, 16},
        {3, 32768, 16, 1024}, {160, 96, 160, 48},    {48, 100, 48, 16},   {16, 16, 16, 16},
        {1024, 1, 1, 1},
    };
    _cleanup_(resizer_freep) Resizer *r = NULL;

    ASSERT_OK(resizer_new(&r));
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++)
        resize_check(r, sizes[i][0], sizes[i][1], sizes[i][2], sizes[i][3]);
}

/* A plain picture stays plain: weights sum to 1 at the edges as well. */
static void test_resize_plain(void)
{
    _cleanup_(resizer_freep) Resizer *r = NULL;
    _cleanup_free_ uint8_t *rgb = malloc(333 * 211 * 3);
    _cleanup_free_ Pixel *out = aligned_alloc(64, 64 * 48 * sizeof *out);

    ASSERT(rgb && out);
    memset(rgb, 255, 333 * 211 * 3);
    ASSERT_OK(resizer_new(&r));
    resizer_run(r, rgb, 333, 211, 64, 48, out);
    for (size_t i = 0; i < 64 * 48; i++)
        for (int c = 0; c < 3; c++)
            ASSERT_NEAR(out[i][c], 255, 1e-3);
}

static double mel_to_hz(double mel)
{
    return mel < 15 ? mel * 200 / 3 : 1000 * pow(6.4, (mel - 15) / 27);
}

/* One value of one frame, from the definition: a Fourier sum per bin. */
static double mel_at(const float *samples, int n, int t, int bin, int n_bins)
{
    double top = 15 + log(8) * 27 / log(6.4), energy = 0;
    double low = mel_to_hz(top * bin / (n_bins + 1)),
           middle = mel_to_hz(top * (bin + 1) / (n_bins + 1));
    double high = mel_to_hz(top * (bin + 2) / (n_bins + 1));

    for (int k = 0; k <= 200; k++) {
        double weight =
            fmax(0, fmin((40 * k - low) / (middle - low), (high - 40 * k) / (high - middle)));
        double re = 0, im = 0;

        if (weight <= 0)
            continue;
        for (int i = 0; i < 400; i++) {
            int at = 160 * t - 120 + i;
            double x = at >= 0 && at < n ? samples[at] : 0;

            x *= 0.5 - 0.5 * cos(2 * M_PI * i / 400);
            re += x * cos(2 * M_PI * i * k / 400);
            im += x * sin(2 * M_PI * i * k / 400);
        }
        energy += weight * 2 / (high - low) * (re * re + im * im);
    }
    return (log10(fmax(energy, 1e-8)) + 4) / 4;
}

static void test_mel(void)
{
    static const int lengths[] = {1, 159, 160, 161, 281, 1000, 3333};
    _cleanup_(mel_freep) Mel *m = NULL;
    float samples[3333], frames[21 * 80];
    uint32_t seed = 3;

    ASSERT_OK(mel_new(80, &m));
    for (size_t i = 0; i < 3333; i++) {
        seed = seed * 1664525 + 1013904223;
        samples[i] =
            (float)(int32_t)seed * 0x1p-33f + 0.5f * (float)sin(0.002 * (double)(i * i) / 9);
    }
    for (size_t i = 0; i < sizeof lengths / sizeof *lengths; i++) {
        int n = lengths[i], n_frames = (n + 159) / 160;

        ASSERT_EQ(mel_frames((size_t)n), n_frames);
        mel_run(m, samples, (size_t)n, frames);
        for (int t = 0; t < n_frames; t++)
            for (int bin = 0; bin < 80; bin++)
                ASSERT_NEAR(frames[t * 80 + bin], mel_at(samples, n, t, bin, 80), 1e-4);
    }
    memset(samples, 0, sizeof samples);
    mel_run(m, samples, 3333, frames);
    for (size_t i = 0; i < 21 * 80; i++)
        ASSERT_NEAR(frames[i], -1, 1e-6);
}

int main(void)
{
    RUN(test_grid);
    RUN(test_resize);
    RUN(test_resize_plain);
    RUN(test_mel);
    return 0;
}
