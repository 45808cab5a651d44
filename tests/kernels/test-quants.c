#include <stdio.h>

#include "engine/base/gguf.h"
#include "engine/cpu/cpuid.h"
#include "engine/cpu/kernels.h"
#include "tests/test.h"

/* Every table reads the blocks of every type as another implementation does: quants.bin, which
 * make_quants.py wrote. */

static uint8_t file[1 << 20];
static size_t file_size;

static void file_read(const char *path)
{
    FILE *f = fopen(path, "rb");

    ASSERT(f);
    file_size = fread(file, 1, sizeof file, f);
    fclose(f);
    ASSERT(file_size > 0 && file_size < sizeof file);
}

static size_t check_records(const Kernels *k)
{
    size_t at = 0, n = 0;

    for (; at < file_size; n++) {
        size_t count = gguf_load_u32(file + at + 4), bytes = gguf_load_u32(file + at + 8);
        const uint8_t *row = file + at + 12, *expected = row + bytes;
        float values[4096];
        DType dtype;

        ASSERT(dtype_from_gguf(gguf_load_u32(file + at), &dtype));
        ASSERT(count <= sizeof values / sizeof *values);
        ASSERT_EQ(dtype_row_bytes(dtype, (int64_t)count), bytes);
        k->unpack(dtype, row, count, values);
        if (memcmp(values, expected, count * sizeof *values) != 0)
            test_fail(__FILE__, __LINE__, "values of %s differ", dtype_name(dtype));
        at += 12 + bytes + count * sizeof *values;
    }
    ASSERT_EQ(at, file_size);
    return n;
}

int main(int argc, char **argv)
{
    static const char *const levels[] = {"plain", "avx2", "avx512", "avx512vnni", "avx512bf16"};

    ASSERT_EQ(argc, 2);
    file_read(argv[1]);
    for (size_t i = 0; i < sizeof levels / sizeof *levels; i++) {
        unsigned mask;
        Kernels k;

        ASSERT_OK(cpu_mask_parse(levels[i], &mask));
        kernels_init(&k, mask & cpu_features());
        /* All types but F32, which is what it is. */
        ASSERT_EQ(check_records(&k), (size_t)_DTYPE_COUNT - 1);
    }
    return 0;
}
