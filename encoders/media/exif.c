#include "encoders/media/exif.h"

#include <stdbool.h>
#include <string.h>

#define TAG_ORIENTATION 0x0112
#define TYPE_SHORT      3
#define ENTRY_SIZE      12

typedef struct Tiff {
    const uint8_t *data;
    size_t size;
    bool big_endian;
} Tiff;

static uint32_t load_u16(const Tiff *t, size_t at)
{
    const uint8_t *p = t->data + at;

    return t->big_endian ? (uint32_t)p[0] << 8 | p[1] : (uint32_t)p[1] << 8 | p[0];
}

static uint32_t load_u32(const Tiff *t, size_t at)
{
    uint32_t first = load_u16(t, at), second = load_u16(t, at + 2);

    return t->big_endian ? first << 16 | second : second << 16 | first;
}

/* The first directory only: the orientation of the picture itself stands there. */
static uint32_t directory_orientation(const Tiff *t, size_t at)
{
    size_t count = load_u16(t, at);

    if (count > (t->size - at - 2) / ENTRY_SIZE)
        count = (t->size - at - 2) / ENTRY_SIZE;
    for (size_t i = 0; i < count; i++) {
        size_t entry = at + 2 + i * ENTRY_SIZE;

        if (load_u16(t, entry) == TAG_ORIENTATION && load_u16(t, entry + 2) == TYPE_SHORT &&
            load_u32(t, entry + 4) == 1)
            return load_u16(t, entry + 8);
    }
    return 1;
}

uint32_t exif_orientation(const uint8_t *data, size_t size)
{
    Tiff t = {data, size, false};
    uint32_t orientation, at;

    if (size < 8)
        return 1;
    if (memcmp(data, "MM\0*", 4) == 0)
        t.big_endian = true;
    else if (memcmp(data, "II*\0", 4) != 0)
        return 1;
    at = load_u32(&t, 4);
    if (at > size - 2)
        return 1;
    orientation = directory_orientation(&t, at);
    return orientation >= 1 && orientation <= 8 ? orientation : 1;
}
