/* Pictures through percept-media: exact pixels, turned and cut, and files that lie. Argument: the
 * helper's program. */

#include <png.h>

#include "tests/media/make.h"
#include "tests/test.h"

static MediaHelper *helper;
static const MediaRequest whole = {.kind = MEDIA_IMAGE};

static void image_is(const File *file, const MediaRequest *request, uint32_t width, uint32_t height,
                     const uint8_t *rgb)
{
    Media media = {0};

    ASSERT_EQ(decode(helper, file->data, file->size, request, &media), 0);
    ASSERT_EQ(media.kind, MEDIA_IMAGE);
    ASSERT_EQ(media.width, width);
    ASSERT_EQ(media.height, height);
    ASSERT_MEMEQ(media.rgb, rgb, (size_t)width * height * 3);
    media_deinit(&media);
}

static void test_jpeg_equals_libjpeg(void)
{
    static const JpegOptions options[] = {
        {.channels = 3},
        {.channels = 3, .full_chroma = true},
        {.channels = 3, .progressive = true},
        {.channels = 1},
    };

    for (size_t i = 0; i < sizeof options / sizeof *options; i++) {
        uint8_t *pixels = pixels_smooth(151, 97, (uint32_t)options[i].channels);
        File file = make_jpeg(pixels, 151, 97, &options[i]);
        int channels;
        uint8_t *expected = read_jpeg(&file, &channels);

        image_is(&file, &whole, 151, 97, expected);
        free(expected);
        free(pixels);
        file_free(&file);
    }
}

/* Adobe's inks are inverted: 255 is no ink. */
static void test_jpeg_inks(void)
{
    uint8_t *pixels = pixels_smooth(64, 48, 4), rgb[64 * 48 * 3];
    File file = make_jpeg(pixels, 64, 48, &(JpegOptions){.channels = 4});
    int channels;
    uint8_t *inks = read_jpeg(&file, &channels);

    ASSERT_EQ(channels, 4);
    for (size_t i = 0; i < 64 * 48; i++)
        for (size_t c = 0; c < 3; c++)
            rgb[3 * i + c] = (uint8_t)lround(inks[4 * i + c] * inks[4 * i + 3] / 255.0);
    image_is(&file, &whole, 64, 48, rgb);
    free(inks);
    free(pixels);
    file_free(&file);
}

/* Where the upright pixel (x, y) is stored, from the words of the EXIF standard about where the
 * stored first row and column are seen. */
static const uint8_t *stored_pixel(const uint8_t *rgb, uint32_t w, uint32_t h, int orientation,
                                   uint32_t x, uint32_t y)
{
    uint32_t sx = 0, sy = 0;

    switch (orientation) {
    case 1: /* row at the top, column at the left */
        sx = x, sy = y;
        break;
    case 2: /* top, right */
        sx = w - 1 - x, sy = y;
        break;
    case 3: /* bottom, right */
        sx = w - 1 - x, sy = h - 1 - y;
        break;
    case 4: /* bottom, left */
        sx = x, sy = h - 1 - y;
        break;
    case 5: /* left, top */
        sx = y, sy = x;
        break;
    case 6: /* right, top */
        sx = y, sy = h - 1 - x;
        break;
    case 7: /* right, bottom */
        sx = w - 1 - y, sy = h - 1 - x;
        break;
    case 8: /* left, bottom */
        sx = w - 1 - y, sy = x;
        break;
    }
    return rgb + 3 * ((size_t)sy * w + sx);
}

static void upright_is(const File *file, const uint8_t *rgb, uint32_t w, uint32_t h,
                       int orientation)
{
    bool turns = orientation >= 5;
    uint32_t width = turns ? h : w, height = turns ? w : h;
    uint8_t *expected = malloc((size_t)w * h * 3);

    ASSERT(expected);
    for (uint32_t y = 0; y < height; y++)
        for (uint32_t x = 0; x < width; x++)
            memcpy(expected + 3 * ((size_t)y * width + x),
                   stored_pixel(rgb, w, h, orientation, x, y), 3);
    image_is(file, &whole, width, height, expected);
    free(expected);
}

static void test_orientation(void)
{
    uint8_t *pixels = pixels_smooth(40, 24, 3);

    for (int orientation = 1; orientation <= 8; orientation++) {
        File jpeg =
            make_jpeg(pixels, 40, 24, &(JpegOptions){.channels = 3, .orientation = orientation});
        File png =
            make_png(pixels, 40, 24, &(PngOptions){PNG_COLOR_TYPE_RGB, 8, false, orientation});
        int channels;
        uint8_t *stored = read_jpeg(&jpeg, &channels);

        upright_is(&jpeg, stored, 40, 24, orientation);
        upright_is(&png, pixels, 40, 24, orientation);
        free(stored);
        file_free(&jpeg);
        file_free(&png);
    }
    free(pixels);
}

static void test_png(void)
{
    static const PngOptions options[] = {
        {.color_type = PNG_COLOR_TYPE_RGB, .depth = 8},
        {.color_type = PNG_COLOR_TYPE_RGB, .depth = 8, .interlaced = true},
        {.color_type = PNG_COLOR_TYPE_RGB, .depth = 16},
        {.color_type = PNG_COLOR_TYPE_RGB, .depth = 16, .interlaced = true},
        {.color_type = PNG_COLOR_TYPE_RGB_ALPHA, .depth = 8},
        {.color_type = PNG_COLOR_TYPE_RGB_ALPHA, .depth = 8, .interlaced = true},
        {.color_type = PNG_COLOR_TYPE_RGB_ALPHA, .depth = 16},
        {.color_type = PNG_COLOR_TYPE_GRAY, .depth = 8},
        {.color_type = PNG_COLOR_TYPE_GRAY, .depth = 16},
        {.color_type = PNG_COLOR_TYPE_GRAY_ALPHA, .depth = 8},
    };
    const uint32_t w = 45, h = 31;

    for (size_t i = 0; i < sizeof options / sizeof *options; i++) {
        bool color = options[i].color_type & PNG_COLOR_MASK_COLOR;
        bool alpha = options[i].color_type & PNG_COLOR_MASK_ALPHA;
        uint32_t channels = (color ? 3 : 1) + alpha;
        uint8_t *pixels = pixels_noise(w, h, channels, (uint32_t)i), *rgb = malloc(w * h * 3);
        File file = make_png(pixels, w, h, &options[i]);

        ASSERT(rgb);
        for (size_t j = 0; j < w * h; j++) {
            const uint8_t *p = pixels + j * channels;
            double opacity = alpha ? p[channels - 1] / 255.0 : 1;

            for (size_t c = 0; c < 3; c++)
                rgb[3 * j + c] = (uint8_t)lround(p[color ? c : 0] * opacity + 255 * (1 - opacity));
        }
        image_is(&file, &whole, w, h, rgb);
        file_free(&file);
        free(pixels);
        free(rgb);
    }
}

/* Palettes and grey levels of fewer than 8 bits. */
static void test_png_small_depths(void)
{
    const uint32_t w = 29, h = 13;

    for (int depth = 1; depth <= 8; depth *= 2)
        for (int gray = 0; gray < 2; gray++) {
            int levels = 1 << (depth < 4 ? depth : 4);
            uint8_t *pixels = pixels_noise(w, h, 1, (uint32_t)depth), *rgb = malloc(w * h * 3);

            ASSERT(rgb);
            for (size_t i = 0; i < w * h; i++) {
                int v = pixels[i] = (uint8_t)(pixels[i] % levels);
                uint8_t level = (uint8_t)(v * 255 / ((1 << depth) - 1));

                rgb[3 * i] = gray ? level : (uint8_t)(17 * v);
                rgb[3 * i + 1] = gray ? level : (uint8_t)(255 - 17 * v);
                rgb[3 * i + 2] = gray ? level : (uint8_t)(v * v);
            }
            int type = gray ? PNG_COLOR_TYPE_GRAY : PNG_COLOR_TYPE_PALETTE;
            File file = make_png(pixels, w, h, &(PngOptions){.color_type = type, .depth = depth});
            image_is(&file, &whole, w, h, rgb);
            file_free(&file);
            free(pixels);
            free(rgb);
        }
}

static void over_white(const uint8_t *rgba, size_t n, uint8_t *rgb)
{
    for (size_t i = 0; i < n; i++)
        for (size_t c = 0; c < 3; c++) {
            double opacity = rgba[4 * i + 3] / 255.0;

            rgb[3 * i + c] = (uint8_t)lround(rgba[4 * i + c] * opacity + 255 * (1 - opacity));
        }
}

static void test_webp(void)
{
    const uint32_t w = 33, h = 21;
    uint8_t *rgb = pixels_noise(w, h, 3, 7), *rgba = pixels_noise(w, h, 4, 8);
    uint8_t expected[33 * 21 * 3];
    File file = make_webp(rgb, w, h, 3);

    image_is(&file, &whole, w, h, rgb);
    file_free(&file);

    /* What is invisible may be stored as anything. */
    for (size_t i = 0; i < w * h; i++)
        rgba[4 * i + 3] |= 1;
    over_white(rgba, w * h, expected);
    file = make_webp(rgba, w, h, 4);
    image_is(&file, &whole, w, h, expected);
    file_free(&file);

    for (size_t i = 0; i < w * h; i++)
        rgba[4 * i + 3] = 255;
    over_white(rgba, w * h, expected);
    file = make_webp_animated(rgba, w, h);
    image_is(&file, &whole, w, h, expected);
    file_free(&file);
    free(rgb);
    free(rgba);
}

/* A scaled picture shows the same: its pixels are near the means of the full one's. */
static void scaled_like(const Media *media, const uint8_t *rgb, uint32_t w, uint32_t h)
{
    double error = 0;

    for (uint32_t y = 0; y < media->height; y++)
        for (uint32_t x = 0; x < media->width; x++)
            for (uint32_t c = 0; c < 3; c++) {
                uint32_t sx = (2 * x + 1) * w / (2 * media->width);
                uint32_t sy = (2 * y + 1) * h / (2 * media->height);

                error += fabs((double)media->rgb[3 * (y * media->width + x) + c] -
                              rgb[3 * ((size_t)sy * w + sx) + c]);
            }
    error /= 3.0 * media->width * media->height;
    ASSERT_CMP(error, <, 12);
}

/* engine/MODEL.md: never smaller than twice the size that the patch budget resizes to. */
static void test_jpeg_scaling(void)
{
    static const struct {
        uint32_t width, height, patches, least_width, least_height;
        bool smaller;
    } cases[] = {
        {1152, 868, 64, 2 * 144, 2 * 112, true},
        {1152, 868, 256, 2 * 288, 2 * 224, true},
        {4000, 300, 64, 2 * 464, 2 * 32, true},
        {3000, 20, 64, 3000, 20, false}, /* a thin one: no eighth keeps twice the 16 rows */
        {128, 128, 64, 128, 128, false},
        {200, 200, 64, 200, 200, false}, /* larger than the budget, not than twice */
    };

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        uint32_t w = cases[i].width, h = cases[i].height;
        uint8_t *pixels = pixels_smooth(w, h, 3);
        File file = make_jpeg(pixels, w, h, &(JpegOptions){.channels = 3});
        MediaRequest request = {.kind = MEDIA_ANY, .max_patches = cases[i].patches};
        Media media = {0};

        ASSERT_EQ(decode(helper, file.data, file.size, &request, &media), 0);
        ASSERT_EQ(media.source_width, w);
        ASSERT_EQ(media.source_height, h);
        ASSERT_CMP(media.width, >=, cases[i].least_width);
        ASSERT_CMP(media.height, >=, cases[i].least_height);
        ASSERT_EQ(media.width < w, cases[i].smaller);
        scaled_like(&media, pixels, w, h);
        media_deinit(&media);
        file_free(&file);
        free(pixels);
    }
}

static void test_region(void)
{
    uint8_t *pixels = pixels_noise(60, 40, 3, 3), *part = malloc(20 * 10 * 3);
    File file = make_png(pixels, 60, 40, &(PngOptions){PNG_COLOR_TYPE_RGB, 8, false, 0});
    MediaRequest request = {.kind = MEDIA_IMAGE, .region = {5, 7, 20, 10}};

    ASSERT(part);
    for (size_t y = 0; y < 10; y++)
        memcpy(part + y * 60, pixels + 3 * ((7 + y) * 60 + 5), 60);
    image_is(&file, &request, 20, 10, part);

    request = (MediaRequest){.kind = MEDIA_IMAGE, .region = {50, 30, 1000, 0xffffffff}};
    for (size_t y = 0; y < 10; y++)
        memcpy(part + y * 30, pixels + 3 * ((30 + y) * 60 + 50), 30);
    image_is(&file, &request, 10, 10, part);

    request.region[0] = 60;
    decode_refused(helper, file.data, file.size, &request, MEDIA_ERROR_EMPTY);
    request = (MediaRequest){.kind = MEDIA_IMAGE, .region = {5, 7, 20, 0}};
    decode_refused(helper, file.data, file.size, &request, MEDIA_ERROR_EMPTY);
    free(part);
    free(pixels);
    file_free(&file);
}

/* A region of the upright picture, of a JPEG that is turned and scaled. */
static void test_region_scaled(void)
{
    uint8_t *pixels = pixels_smooth(1600, 1200, 3), *upright = malloc(1600 * 1200 * 3);
    uint8_t *part = malloc(800 * 900 * 3);
    File file = make_jpeg(pixels, 1600, 1200, &(JpegOptions){.channels = 3, .orientation = 6});
    MediaRequest request = {.kind = MEDIA_IMAGE, .max_patches = 64, .region = {100, 300, 800, 900}};
    Media media = {0};

    ASSERT(upright && part);
    for (uint32_t y = 0; y < 900; y++)
        for (uint32_t x = 0; x < 800; x++)
            memcpy(part + 3 * (y * 800 + x), stored_pixel(pixels, 1600, 1200, 6, 100 + x, 300 + y),
                   3);
    ASSERT_EQ(decode(helper, file.data, file.size, &request, &media), 0);
    ASSERT_EQ(media.source_width, 1200);
    ASSERT_EQ(media.source_height, 1600);
    ASSERT_CMP(media.width, <, 800);
    ASSERT_CMP(media.width, >=, 2 * 112);
    ASSERT_CMP(media.height, >=, 2 * 128);
    scaled_like(&media, part, 800, 900);
    media_deinit(&media);
    free(part);
    free(upright);
    free(pixels);
    file_free(&file);
}

/* Each file cut off at many places, down to its first bytes. */
static void test_truncated(void)
{
    uint8_t *pixels = pixels_noise(64, 64, 3, 5);
    File files[] = {
        make_jpeg(pixels, 64, 64, &(JpegOptions){.channels = 3}),
        make_jpeg(pixels, 64, 64, &(JpegOptions){.channels = 3, .progressive = true}),
        make_png(pixels, 64, 64, &(PngOptions){PNG_COLOR_TYPE_RGB, 8, false, 0}),
        make_png(pixels, 64, 64, &(PngOptions){PNG_COLOR_TYPE_RGB, 8, true, 0}),
        make_webp(pixels, 64, 64, 3),
    };

    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        for (size_t eighth = 1; eighth < 8; eighth++)
            decode_refused(helper, files[i].data, files[i].size * eighth / 8, &whole,
                           MEDIA_ERROR_DECODE);
        /* The signature and a little; the last byte of pixels. */
        decode_refused(helper, files[i].data, 16, &whole, MEDIA_ERROR_DECODE);
        decode_refused(helper, files[i].data, files[i].size - 12, &whole, MEDIA_ERROR_DECODE);
        image_is(&files[2], &whole, 64, 64, pixels); /* and the next one is served */
    }
    for (size_t i = 0; i < sizeof files / sizeof *files; i++)
        file_free(&files[i]);
    free(pixels);
}

static void test_not_an_image(void)
{
    static const char text[] = "Dear Sir or Madam, this is no picture.\n";
    static const char jpeg_text[] = "\xff\xd8\xff\xe0 and then only words, words, words";

    decode_refused(helper, text, sizeof text - 1, &whole, MEDIA_ERROR_UNSUPPORTED);
    decode_refused(helper, text, sizeof text - 1, &(MediaRequest){0}, MEDIA_ERROR_UNSUPPORTED);
    decode_refused(helper, jpeg_text, sizeof jpeg_text - 1, &whole, MEDIA_ERROR_DECODE);
    decode_refused(helper, "", 0, &whole, MEDIA_ERROR_EMPTY);
    decode_refused(helper, "\xff", 1, &whole, MEDIA_ERROR_UNSUPPORTED);
}

static void store_u32(uint8_t *p, uint32_t v)
{
    for (int i = 0; i < 4; i++)
        p[i] = (uint8_t)(v >> (24 - 8 * i));
}

/* Sizes that only the header claims. Refusing them must cost nothing. */
static void test_giants(void)
{
    uint8_t *pixels = pixels_smooth(32, 32, 3);
    File png = make_png(pixels, 32, 32, &(PngOptions){PNG_COLOR_TYPE_RGB, 8, false, 0});
    File jpeg = make_jpeg(pixels, 32, 32, &(JpegOptions){.channels = 3});
    static const uint32_t sides[][2] = {
        {60000, 60000}, {32000, 32000}, {32769, 1}, {1, 32769}, {0x7fffffff, 0x7fffffff}};

    for (size_t i = 0; i < sizeof sides / sizeof *sides; i++) {
        store_u32(png.data + 16, sides[i][0]);
        store_u32(png.data + 20, sides[i][1]);
        decode_refused(helper, png.data, png.size, &whole, MEDIA_ERROR_TOO_LARGE);
    }
    store_u32(png.data + 16, 0);
    decode_refused(helper, png.data, png.size, &whole, MEDIA_ERROR_EMPTY);

    uint8_t *frame = memmem(jpeg.data, jpeg.size, "\xff\xc0", 2);
    ASSERT(frame);
    for (size_t i = 0; i < 2; i++) {
        frame[5] = (uint8_t)(sides[i][1] >> 8);
        frame[6] = (uint8_t)sides[i][1];
        frame[7] = (uint8_t)(sides[i][0] >> 8);
        frame[8] = (uint8_t)sides[i][0];
        decode_refused(helper, jpeg.data, jpeg.size, &whole, MEDIA_ERROR_TOO_LARGE);
    }
    file_free(&png);
    file_free(&jpeg);

    /* An extended WebP header with a canvas of 2^24 a side. */
    static const uint8_t webp[] =
        "RIFF\x16\0\0\0WEBPVP8X\x0a\0\0\0\x02\0\0\0\xff\xff\xff\xff\xff\xff";
    Media media = {0};
    int r = decode(helper, webp, sizeof webp - 1, &whole, &media);
    ASSERT(r == MEDIA_ERROR_TOO_LARGE || r == MEDIA_ERROR_DECODE);
    free(pixels);
}

/* The last scan of a progressive JPEG, again and again: each costs a pass over the picture. */
static void test_scan_bomb(void)
{
    uint8_t *pixels = pixels_smooth(64, 64, 1);
    File file = make_jpeg(pixels, 64, 64, &(JpegOptions){.channels = 1, .two_scans = true});
    Media media = {0};
    uint8_t *last = NULL;
    File bomb = {0};

    for (size_t i = 0; i + 1 < file.size; i++)
        if (file.data[i] == 0xff && file.data[i + 1] == 0xda)
            last = file.data + i;
    ASSERT(last);
    size_t scan = file.size - 2 - (size_t)(last - file.data);
    file_append(&bomb, file.data, file.size - 2);
    for (int scans = 3; scans <= 101; scans++) {
        file_append(&bomb, last, scan);
        if (scans < 98)
            continue;
        file_append(&bomb, "\xff\xd9", 2);
        if (scans < 100) {
            ASSERT_EQ(decode(helper, bomb.data, bomb.size, &whole, &media), 0);
            media_deinit(&media);
        } else if (scans > 100)
            decode_refused(helper, bomb.data, bomb.size, &whole, MEDIA_ERROR_TOO_LARGE);
        bomb.size -= 2;
    }
    file_free(&bomb);
    file_free(&file);
    free(pixels);
}

int main(int argc, char **argv)
{
    ASSERT_EQ(argc, 2);
    ASSERT_OK(media_helper_new(argv[1], &helper));
    RUN(test_jpeg_equals_libjpeg);
    RUN(test_jpeg_inks);
    RUN(test_orientation);
    RUN(test_png);
    RUN(test_png_small_depths);
    RUN(test_webp);
    RUN(test_jpeg_scaling);
    RUN(test_region);
    RUN(test_region_scaled);
    RUN(test_truncated);
    RUN(test_not_an_image);
    RUN(test_giants);
    RUN(test_scan_bomb);
    media_helper_free(helper);
    return 0;
}
