#include "encoders/media/codecs.h"

#include <math.h>
#include <setjmp.h>
#include <stdio.h>
#include <string.h>

#include <jpeglib.h>

#include <jerror.h>

#include "encoders/media/exif.h"

#define SCANS_MAX   100 /* of a progressive file: each costs a pass over the whole picture */
#define APP1_MAX    0xffff
#define PATCH_AREA  256
#define SCALE_WHOLE 8 /* the DCT domain scales by eighths */

typedef struct Jpeg {
    struct jpeg_decompress_struct info;
    struct jpeg_error_mgr errors;
    struct jpeg_progress_mgr progress;
    jmp_buf escape;
    Reason reason;
} Jpeg;

static Jpeg *jpeg_of(j_common_ptr info)
{
    return info->client_data;
}

static __attribute__((noreturn)) void jpeg_escape(j_common_ptr info, Reason reason)
{
    Jpeg *j = jpeg_of(info);

    j->reason = reason;
    longjmp(j->escape, 1);
}

static void on_error(j_common_ptr info)
{
    switch (info->err->msg_code) {
    case JERR_OUT_OF_MEMORY:
        jpeg_escape(info, REASON_MEMORY);
    case JERR_IMAGE_TOO_BIG:
        jpeg_escape(info, REASON_SIDES);
    case JERR_BAD_PRECISION:
    case JERR_SOF_UNSUPPORTED:
    case JERR_CONVERSION_NOTIMPL:
    case JERR_ARITH_NOTIMPL:
    case JERR_NOTIMPL:
        jpeg_escape(info, REASON_JPEG_KIND);
    default:
        jpeg_escape(info, REASON_JPEG);
    }
}

/* Warnings come with level -1. Those that mean made-up pixels end the decoding; the rest is
 * sloppiness of encoders. */
static void on_message(j_common_ptr info, int level)
{
    if (level >= 0)
        return;
    switch (info->err->msg_code) {
    case JWRN_JPEG_EOF:
    case JWRN_HIT_MARKER:
        jpeg_escape(info, REASON_JPEG_SHORT);
    case JWRN_HUFF_BAD_CODE:
    case JWRN_MUST_RESYNC:
    case JWRN_ARITH_BAD_CODE:
    case JWRN_BOGUS_PROGRESSION:
        jpeg_escape(info, REASON_JPEG);
    default:
        return;
    }
}

static void on_output(j_common_ptr info)
{
    (void)info;
}

static void on_progress(j_common_ptr info)
{
    if (((j_decompress_ptr)info)->input_scan_number > SCANS_MAX)
        jpeg_escape(info, REASON_SCANS);
}

static uint32_t orientation_find(const struct jpeg_decompress_struct *info)
{
    for (jpeg_saved_marker_ptr m = info->marker_list; m; m = m->next)
        if (m->data_length > 6 && memcmp(m->data, "Exif\0", 6) == 0)
            return exif_orientation(m->data + 6, m->data_length - 6);
    return 1;
}

/* The longest that a side of the resized picture can be: engine/MODEL.md, section 2, rounds to
 * whole patches of 16. */
static double target_side(uint32_t side, double scale)
{
    return fmax(side * scale + 8, 16);
}

/* Eighths of the picture to decode, so that the wanted part keeps twice the size that the patch
 * budget can use. */
static unsigned scale_choose(const MediaRequest *request, const Picture *p)
{
    bool turns = orientation_turns(p->orientation);
    uint32_t width = p->source_width, height = p->source_height;
    double budget = (double)request->max_patches * PATCH_AREA, scale;
    Region r;

    if (picture_region(request, turns ? height : width, turns ? width : height, &r) != REASON_NONE)
        return SCALE_WHOLE;
    if (budget <= 0 || (double)r.width * r.height <= budget)
        return SCALE_WHOLE;
    scale = sqrt(budget / ((double)r.width * r.height));
    for (unsigned eighths = 1; eighths < SCALE_WHOLE; eighths++)
        if (floor(r.width * eighths / 8.0) >= 2 * target_side(r.width, scale) &&
            floor(r.height * eighths / 8.0) >= 2 * target_side(r.height, scale))
            return eighths;
    return SCALE_WHOLE;
}

/* Inks of printing: Adobe's programs store them inverted. */
static void line_from_cmyk(const uint8_t *cmyk, uint32_t width, bool inverted, uint8_t *rgb)
{
    for (uint32_t x = 0; x < width; x++, cmyk += 4, rgb += 3)
        for (int i = 0; i < 3; i++) {
            int light = inverted ? cmyk[i] : 255 - cmyk[i];
            int key = inverted ? cmyk[3] : 255 - cmyk[3];

            rgb[i] = (uint8_t)((light * key + 127) / 255);
        }
}

static Reason jpeg_header(Jpeg *j, const MediaRequest *request, Picture *p)
{
    struct jpeg_decompress_struct *info = &j->info;
    Reason reason;

    jpeg_save_markers(info, JPEG_APP0 + 1, APP1_MAX);
    jpeg_read_header(info, TRUE);
    reason = picture_check_size(info->image_width, info->image_height);
    if (reason != REASON_NONE)
        return reason;

    p->source_width = info->image_width;
    p->source_height = info->image_height;
    p->orientation = orientation_find(info);
    info->scale_num = scale_choose(request, p);
    info->scale_denom = SCALE_WHOLE;
    info->out_color_space = info->num_components == 4 ? JCS_CMYK : JCS_RGB;
    jpeg_calc_output_dimensions(info);
    return REASON_NONE;
}

static void jpeg_lines(Jpeg *j, Picture *p)
{
    struct jpeg_decompress_struct *info = &j->info;
    bool inks = info->out_color_space == JCS_CMYK;
    JSAMPARRAY line =
        inks ? info->mem->alloc_sarray((j_common_ptr)info, JPOOL_IMAGE, info->output_width * 4, 1)
             : NULL;

    while (info->output_scanline < info->output_height) {
        JSAMPROW row = p->pixels + (size_t)info->output_scanline * p->width * 3;

        jpeg_read_scanlines(info, inks ? line : &row, 1);
        if (inks)
            line_from_cmyk(line[0], p->width, info->saw_Adobe_marker, row);
    }
}

static Reason jpeg_run(Jpeg *j, const Input *in, const MediaRequest *request, Picture *p)
{
    uint32_t orientation, width, height;
    Reason reason;

    if (setjmp(j->escape) != 0)
        return j->reason;
    jpeg_create_decompress(&j->info);
    j->info.client_data = j;
    j->progress.progress_monitor = on_progress;
    j->info.progress = &j->progress;
    jpeg_mem_src(&j->info, in->data, in->size);
    reason = jpeg_header(j, request, p);
    if (reason != REASON_NONE)
        return reason;

    orientation = p->orientation;
    width = p->source_width;
    height = p->source_height;
    reason = picture_init(p, j->info.output_width, j->info.output_height, 3);
    if (reason != REASON_NONE)
        return reason;
    p->orientation = orientation;
    p->source_width = width;
    p->source_height = height;
    jpeg_start_decompress(&j->info);
    jpeg_lines(j, p);
    return REASON_NONE;
}

Reason jpeg_decode(const Input *in, const MediaRequest *request, Picture *ret_picture)
{
    Jpeg j = {0};
    Reason reason;

    j.info.err = jpeg_std_error(&j.errors);
    j.errors.error_exit = on_error;
    j.errors.emit_message = on_message;
    j.errors.output_message = on_output;
    j.info.client_data = &j;
    reason = jpeg_run(&j, in, request, ret_picture);
    jpeg_destroy_decompress(&j.info);
    return reason;
}
