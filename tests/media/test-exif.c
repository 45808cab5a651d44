/* The orientation out of EXIF blocks, sound ones and all kinds of others. Blocks lie at the very
 * end of their memory, so that AddressSanitizer sees a step too far. */

#include "encoders/media/exif.h"
#include "tests/media/make.h"
#include "tests/test.h"

static uint32_t orientation(const uint8_t *data, size_t size)
{
    uint8_t *copy = malloc(size ? size : 1);
    uint32_t result;

    ASSERT(copy);
    memcpy(copy, data, size);
    result = exif_orientation(copy, size);
    free(copy);
    ASSERT_CMP(result, >=, 1);
    ASSERT_CMP(result, <=, 8);
    return result;
}

static void test_sound(void)
{
    uint8_t block[64];

    for (int value = 0; value <= 255; value++)
        for (int big = 0; big < 2; big++) {
            size_t size = make_exif(block, value, big);

            ASSERT_EQ(orientation(block, size), value >= 1 && value <= 8 ? value : 1);
        }
}

/* The entry's value ends two bytes before the entry does; before, nothing can be found. */
static void test_cut_off(void)
{
    uint8_t block[64];
    size_t size = make_exif(block, 6, true);

    for (size_t n = 0; n < size; n++)
        ASSERT_EQ(orientation(block, n), n >= 22 ? 6 : 1);
}

static void test_lies(void)
{
    uint8_t block[64];
    size_t size = make_exif(block, 6, false);

    for (size_t at = 0; at < size; at++) { /* any byte may be anything */
        uint8_t old = block[at];

        for (int value = 0; value < 256; value++) {
            block[at] = (uint8_t)value;
            orientation(block, size);
        }
        block[at] = old;
    }
    memset(block + 4, 0xff, 4); /* the directory at 4 GiB */
    ASSERT_EQ(orientation(block, size), 1);
    make_exif(block, 6, false);
    memset(block + 8, 0xff, 2); /* 65,535 entries, of which one is there */
    ASSERT_EQ(orientation(block, size), 6);
    make_exif(block, 6, false);
    block[12] = 4; /* a long where a short belongs */
    ASSERT_EQ(orientation(block, size), 1);
    make_exif(block, 6, false);
    block[14] = 2; /* two values */
    ASSERT_EQ(orientation(block, size), 1);
}

static void test_noise(void)
{
    uint32_t seed = 1;

    for (int i = 0; i < 200000; i++) {
        uint8_t block[80];
        size_t size;

        make_exif(block, 3, i % 2);
        for (size_t j = 26; j < sizeof block; j++)
            block[j] = (uint8_t)(seed = seed * 1664525 + 1013904223);
        for (int j = 0; j < 3; j++) {
            seed = seed * 1664525 + 1013904223;
            block[(seed >> 24) % 26] = (uint8_t)(seed >> 16);
        }
        seed = seed * 1664525 + 1013904223;
        size = (seed >> 24) % (sizeof block + 1);
        orientation(block, size);
    }
}

int main(void)
{
    RUN(test_sound);
    RUN(test_cut_off);
    RUN(test_lies);
    RUN(test_noise);
    return 0;
}
