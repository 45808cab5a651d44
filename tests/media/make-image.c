#include <setjmp.h>

#include "tests/media/make.h"
#include "tests/test.h"

#include <jpeglib.h>
#include <png.h>
#include <webp/encode.h>
#include <webp/mux.h>

static void jpeg_exif_write(struct jpeg_compress_struct *c, int orientation)
{
    uint8_t marker[64] = "Exif\0";
    size_t n = 6 + make_exif(marker + 6, orientation, orientation % 2);

    jpeg_write_marker(c, JPEG_APP0 + 1, marker, (unsigned)n);
}

File make_jpeg(const uint8_t *pixels, uint32_t width, uint32_t height, const JpegOptions *options)
{
    static const jpeg_scan_info two_scans[] = {{1, {0}, 0, 0, 0, 0}, {1, {0}, 1, 63, 0, 0}};
    struct jpeg_compress_struct c = {0};
    struct jpeg_error_mgr errors;
    unsigned long size = 0;
    uint8_t *data = NULL;

    c.err = jpeg_std_error(&errors);
    jpeg_create_compress(&c);
    jpeg_mem_dest(&c, &data, &size);
    c.image_width = width;
    c.image_height = height;
    c.input_components = options->channels;
    c.in_color_space = options->channels == 1   ? JCS_GRAYSCALE
                       : options->channels == 3 ? JCS_RGB
                                                : JCS_CMYK;
    jpeg_set_defaults(&c);
    jpeg_set_quality(&c, 92, TRUE);
    if (options->channels == 4)
        c.write_Adobe_marker = TRUE;
    if (options->full_chroma)
        c.comp_info[0].h_samp_factor = c.comp_info[0].v_samp_factor = 1;
    if (options->progressive)
        jpeg_simple_progression(&c);
    if (options->two_scans) {
        c.scan_info = two_scans;
        c.num_scans = 2;
    }
    jpeg_start_compress(&c, TRUE);
    if (options->orientation)
        jpeg_exif_write(&c, options->orientation);
    while (c.next_scanline < height) {
        JSAMPROW row =
            (JSAMPROW)pixels + (size_t)c.next_scanline * width * (unsigned)options->channels;
        jpeg_write_scanlines(&c, &row, 1);
    }
    jpeg_finish_compress(&c);
    jpeg_destroy_compress(&c);
    return (File){data, size};
}

uint8_t *read_jpeg(const File *file, int *ret_channels)
{
    struct jpeg_decompress_struct d = {0};
    struct jpeg_error_mgr errors;
    uint8_t *pixels;

    d.err = jpeg_std_error(&errors);
    jpeg_create_decompress(&d);
    jpeg_mem_src(&d, file->data, file->size);
    jpeg_read_header(&d, TRUE);
    d.out_color_space = d.num_components == 4 ? JCS_CMYK : JCS_RGB;
    jpeg_start_decompress(&d);
    *ret_channels = d.output_components;
    size_t stride = (size_t)d.output_width * (unsigned)d.output_components;
    pixels = malloc(stride * d.output_height);
    ASSERT(pixels);
    while (d.output_scanline < d.output_height) {
        JSAMPROW row = pixels + d.output_scanline * stride;
        jpeg_read_scanlines(&d, &row, 1);
    }
    jpeg_finish_decompress(&d);
    jpeg_destroy_decompress(&d);
    return pixels;
}

static void on_write(png_structp png, png_bytep data, size_t n)
{
    file_append(png_get_io_ptr(png), data, n);
}

static void on_flush(png_structp png)
{
    (void)png;
}

/* One row as the file stores it, before interlacing. */
static void png_row_pack(const uint8_t *pixels, size_t n_values, int depth, uint8_t *row)
{
    memset(row, 0, 2 * n_values);
    for (size_t i = 0; i < n_values; i++)
        if (depth == 16)
            row[2 * i] = row[2 * i + 1] = pixels[i];
        else if (depth == 8)
            row[i] = pixels[i];
        else /* the first pixel in the high bits */
            row[i * (size_t)depth / 8] |=
                (uint8_t)(pixels[i] << (8 - depth - (int)(i * (size_t)depth % 8)));
}

static int png_channels(int color_type)
{
    switch (color_type) {
    case PNG_COLOR_TYPE_RGB:
        return 3;
    case PNG_COLOR_TYPE_RGB_ALPHA:
        return 4;
    case PNG_COLOR_TYPE_GRAY_ALPHA:
        return 2;
    default:
        return 1;
    }
}

File make_png(const uint8_t *pixels, uint32_t width, uint32_t height, const PngOptions *options)
{
    File file = {0};
    png_structp png = png_create_write_struct(PNG_LIBPNG_VER_STRING, NULL, NULL, NULL);
    png_infop info = png_create_info_struct(png);
    size_t n_values = width * (size_t)png_channels(options->color_type);
    uint8_t *row = malloc(2 * n_values), exif[64];
    png_color palette[16];

    ASSERT(png && info && row);
    png_set_write_fn(png, &file, on_write, on_flush);
    png_set_IHDR(png, info, width, height, options->depth, options->color_type,
                 options->interlaced ? PNG_INTERLACE_ADAM7 : PNG_INTERLACE_NONE,
                 PNG_COMPRESSION_TYPE_DEFAULT, PNG_FILTER_TYPE_DEFAULT);
    for (int i = 0; i < 16; i++)
        palette[i] = (png_color){(png_byte)(17 * i), (png_byte)(255 - 17 * i), (png_byte)(i * i)};
    if (options->color_type == PNG_COLOR_TYPE_PALETTE)
        png_set_PLTE(png, info, palette, 1 << (options->depth < 4 ? options->depth : 4));
    if (options->orientation)
        png_set_eXIf_1(png, info, (png_uint_32)make_exif(exif, options->orientation, true), exif);
    png_write_info(png, info);
    for (int pass = png_set_interlace_handling(png); pass > 0; pass--)
        for (uint32_t y = 0; y < height; y++) {
            png_row_pack(pixels + y * n_values, n_values, options->depth, row);
            png_write_row(png, row);
        }
    png_write_end(png, info);
    png_destroy_write_struct(&png, &info);
    free(row);
    return file;
}

File make_webp(const uint8_t *pixels, uint32_t width, uint32_t height, uint32_t channels)
{
    File file = {0};

    if (channels == 4)
        file.size =
            WebPEncodeLosslessRGBA(pixels, (int)width, (int)height, (int)width * 4, &file.data);
    else
        file.size =
            WebPEncodeLosslessRGB(pixels, (int)width, (int)height, (int)width * 3, &file.data);
    ASSERT(file.size > 0);
    return file;
}

File make_webp_animated(const uint8_t *rgba, uint32_t width, uint32_t height)
{
    WebPAnimEncoderOptions options;
    WebPAnimEncoder *encoder;
    WebPConfig config;
    WebPPicture picture;
    WebPData data = {0};
    File file = {0};

    ASSERT(WebPAnimEncoderOptionsInit(&options) && WebPConfigInit(&config));
    config.lossless = 1;
    config.exact = 1;
    encoder = WebPAnimEncoderNew((int)width, (int)height, &options);
    ASSERT(encoder);
    for (int i = 0; i < 3; i++) {
        uint8_t *frame = malloc((size_t)width * height * 4);

        ASSERT(frame && WebPPictureInit(&picture));
        memcpy(frame, rgba, (size_t)width * height * 4);
        for (size_t j = 0; j < (size_t)width * height * 4; j++)
            frame[j] ^= (uint8_t)(i * 85);
        picture.use_argb = 1;
        picture.width = (int)width;
        picture.height = (int)height;
        ASSERT(WebPPictureImportRGBA(&picture, frame, (int)width * 4));
        ASSERT(WebPAnimEncoderAdd(encoder, &picture, 100 * i, &config));
        WebPPictureFree(&picture);
        free(frame);
    }
    ASSERT(WebPAnimEncoderAdd(encoder, NULL, 300, NULL));
    ASSERT(WebPAnimEncoderAssemble(encoder, &data));
    WebPAnimEncoderDelete(encoder);
    file_append(&file, data.bytes, data.size);
    WebPDataClear(&data);
    return file;
}
