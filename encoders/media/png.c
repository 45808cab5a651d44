#include "encoders/media/codecs.h"

#include <setjmp.h>
#include <string.h>

#include <png.h>

#include "encoders/media/exif.h"

#define CHUNK_BYTES_MAX (1 << 20) /* of a chunk that libpng keeps in memory */

/* Where the file's header must stand, and its fields. */
#define IHDR_TYPE   12
#define IHDR_WIDTH  16
#define IHDR_HEIGHT 20
#define IHDR_END    33

typedef struct Png {
    const Input *in;
    size_t position;
    png_structp png;
    png_infop info;
    Reason reason;
} Png;

/* Colour profiles, texts and the like could only cost time and memory. */
static const uint8_t unread[] = "iCCP\0iTXt\0tEXt\0zTXt\0sPLT\0hIST\0sCAL\0pCAL";
#define N_UNREAD ((int)(sizeof unread / 5))

static void on_error(png_structp png, png_const_charp message)
{
    (void)message;
    longjmp(png_jmpbuf(png), 1);
}

static void on_warning(png_structp png, png_const_charp message)
{
    (void)png;
    (void)message;
}

static void on_read(png_structp png, png_bytep to, size_t n)
{
    Png *p = png_get_io_ptr(png);

    if (n > p->in->size - p->position)
        png_error(png, "end of file");
    memcpy(to, p->in->data + p->position, n);
    p->position += n;
}

static png_voidp on_alloc(png_structp png, png_alloc_size_t size)
{
    Png *p = png_get_mem_ptr(png);
    void *memory = malloc(size);

    if (!memory)
        p->reason = REASON_MEMORY;
    return memory;
}

static void on_free(png_structp png, png_voidp memory)
{
    (void)png;
    free(memory);
}

static uint32_t load_u32(const uint8_t *p)
{
    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

/* The ceilings, before libpng sees anything. */
static Reason header_check(const Input *in)
{
    if (in->size < IHDR_END || memcmp(in->data + IHDR_TYPE, "IHDR", 4) != 0)
        return REASON_PNG;
    return picture_check_size(load_u32(in->data + IHDR_WIDTH), load_u32(in->data + IHDR_HEIGHT));
}

/* Whatever the file holds becomes RGB or RGBA of 8 bits. */
static void transforms_set(Png *p)
{
    png_set_expand(p->png);
    png_set_scale_16(p->png);
    png_set_gray_to_rgb(p->png);
}

static Reason rows_read(Png *p, Picture *picture)
{
    int passes = png_set_interlace_handling(p->png);
    size_t stride;
    Reason reason;

    png_read_update_info(p->png, p->info);
    reason = picture_init(picture, png_get_image_width(p->png, p->info),
                          png_get_image_height(p->png, p->info), png_get_channels(p->png, p->info));
    if (reason != REASON_NONE)
        return reason;
    stride = (size_t)picture->width * picture->channels;
    if ((picture->channels != 3 && picture->channels != 4) ||
        png_get_rowbytes(p->png, p->info) != stride)
        return REASON_PNG;
    for (int pass = 0; pass < passes; pass++)
        for (uint32_t y = 0; y < picture->height; y++)
            png_read_row(p->png, picture->pixels + y * stride, NULL);
    png_read_end(p->png, p->info);
    return REASON_NONE;
}

static Reason png_run(Png *p, Picture *picture)
{
    png_bytep exif = NULL;
    png_uint_32 exif_size = 0;
    Reason reason;

    if (setjmp(png_jmpbuf(p->png)) != 0)
        return p->reason;
    png_set_read_fn(p->png, p, on_read);
    png_set_user_limits(p->png, MEDIA_SIDE_MAX, MEDIA_SIDE_MAX);
    png_set_chunk_malloc_max(p->png, CHUNK_BYTES_MAX);
    png_set_keep_unknown_chunks(p->png, PNG_HANDLE_CHUNK_NEVER, unread, N_UNREAD);
    png_read_info(p->png, p->info);
    transforms_set(p);
    reason = rows_read(p, picture);
    if (reason == REASON_NONE && png_get_eXIf_1(p->png, p->info, &exif_size, &exif))
        picture->orientation = exif_orientation(exif, exif_size);
    return reason;
}

Reason png_decode(const Input *in, Picture *ret_picture)
{
    Png p = {.in = in, .reason = REASON_PNG};
    Reason reason = header_check(in);

    if (reason != REASON_NONE)
        return reason;
    p.png = png_create_read_struct_2(PNG_LIBPNG_VER_STRING, NULL, on_error, on_warning, &p,
                                     on_alloc, on_free);
    if (p.png)
        p.info = png_create_info_struct(p.png);
    reason = p.info ? png_run(&p, ret_picture) : REASON_MEMORY;
    png_destroy_read_struct(&p.png, &p.info, NULL);
    return reason;
}
