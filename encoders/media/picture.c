#include "encoders/media/picture.h"

#include <sys/mman.h>

Reason picture_check_size(uint64_t width, uint64_t height)
{
    if (width == 0 || height == 0)
        return REASON_NO_PIXELS;
    if (width > MEDIA_SIDE_MAX || height > MEDIA_SIDE_MAX)
        return REASON_SIDES;
    return width * height > MEDIA_PIXELS_MAX ? REASON_PIXELS : REASON_NONE;
}

/* Mapped, so that the memory of a large picture goes back to the system with it. */
Reason picture_init(Picture *p, uint32_t width, uint32_t height, uint32_t channels)
{
    Reason reason = picture_check_size(width, height);
    void *pixels;

    if (reason != REASON_NONE)
        return reason;
    pixels = mmap(NULL, (size_t)width * height * channels, PROT_READ | PROT_WRITE,
                  MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (pixels == MAP_FAILED)
        return REASON_MEMORY;
    p->pixels = pixels;
    p->width = width;
    p->height = height;
    p->channels = channels;
    p->orientation = 1;
    p->source_width = width;
    p->source_height = height;
    return REASON_NONE;
}

void picture_deinit(Picture *p)
{
    if (p->pixels)
        munmap(p->pixels, (size_t)p->width * p->height * p->channels);
    *p = (Picture){0};
}

Reason picture_region(const MediaRequest *request, uint32_t width, uint32_t height,
                      Region *ret_region)
{
    uint32_t x = request->region[0], y = request->region[1];
    uint32_t w = request->region[2], h = request->region[3];

    if (w == 0) {
        *ret_region = (Region){0, 0, width, height};
        return REASON_NONE;
    }
    if (h == 0 || x >= width || y >= height)
        return REASON_NO_REGION;
    *ret_region = (Region){
        x,
        y,
        w < width - x ? w : width - x,
        h < height - y ? h : height - y,
    };
    return REASON_NONE;
}

/* The part [from, from + n) of `source` pixels in a line of `size` pixels, and never nothing. */
static void span_scale(uint32_t from, uint32_t n, uint32_t source, uint32_t size,
                       uint32_t *ret_from, uint32_t *ret_n)
{
    uint64_t begin = (uint64_t)from * size / source;
    uint64_t end = ((uint64_t)(from + n) * size + source - 1) / source;

    *ret_from = (uint32_t)begin;
    *ret_n = (uint32_t)(end - begin);
}

static uint8_t over_white(uint8_t value, uint8_t alpha)
{
    return (uint8_t)((value * alpha + 255 * (255 - alpha) + 127) / 255);
}

/* Walks stored pixels in the order of the upright picture. */
typedef struct Walk {
    const uint8_t *first;
    ptrdiff_t right, down; /* to the next pixel of the upright picture */
} Walk;

static Walk walk_begin(const Picture *p)
{
    ptrdiff_t x = p->channels, y = (ptrdiff_t)p->width * p->channels;
    ptrdiff_t last_x = (ptrdiff_t)(p->width - 1) * x, last_y = (ptrdiff_t)(p->height - 1) * y;

    switch (p->orientation) {
    case 2: /* mirrored */
        return (Walk){p->pixels + last_x, -x, y};
    case 3: /* upside down */
        return (Walk){p->pixels + last_x + last_y, -x, -y};
    case 4:
        return (Walk){p->pixels + last_y, x, -y};
    case 5: /* rows are columns */
        return (Walk){p->pixels, y, x};
    case 6:
        return (Walk){p->pixels + last_y, -y, x};
    case 7:
        return (Walk){p->pixels + last_x + last_y, -y, -x};
    case 8:
        return (Walk){p->pixels + last_x, y, -x};
    default:
        return (Walk){p->pixels, x, y};
    }
}

static void pixels_copy(const Picture *p, const Region *r, uint8_t *to)
{
    Walk walk = walk_begin(p);

    for (uint32_t y = 0; y < r->height; y++) {
        const uint8_t *from = walk.first + (ptrdiff_t)(r->y + y) * walk.down + r->x * walk.right;

        for (uint32_t x = 0; x < r->width; x++, from += walk.right, to += 3) {
            to[0] = from[0];
            to[1] = from[1];
            to[2] = from[2];
            if (p->channels == 4 && from[3] != 255)
                for (int i = 0; i < 3; i++)
                    to[i] = over_white(from[i], from[3]);
        }
    }
}

Reason picture_finish(const Picture *p, const MediaRequest *request, Output *out)
{
    bool turns = orientation_turns(p->orientation);
    uint32_t width = turns ? p->height : p->width, height = turns ? p->width : p->height;
    Region wanted, part;
    uint8_t *rgb;
    Reason reason;

    out->reply.kind = MEDIA_IMAGE;
    out->reply.source_width = turns ? p->source_height : p->source_width;
    out->reply.source_height = turns ? p->source_width : p->source_height;
    reason = picture_region(request, out->reply.source_width, out->reply.source_height, &wanted);
    if (reason != REASON_NONE)
        return reason;
    span_scale(wanted.x, wanted.width, out->reply.source_width, width, &part.x, &part.width);
    span_scale(wanted.y, wanted.height, out->reply.source_height, height, &part.y, &part.height);
    out->reply.width = part.width;
    out->reply.height = part.height;

    rgb = output_map(out, (size_t)part.width * part.height * 3);
    if (!rgb)
        return REASON_MEMORY;
    pixels_copy(p, &part, rgb);
    return REASON_NONE;
}
