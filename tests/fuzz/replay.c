/*
 * A fuzzer's entry as an ordinary test: replays files, whole, cut off, and with bytes changed at
 * random. Arguments: how many changed copies of each file, then files. A seed that fails is
 * printed and can be given as $FUZZ_SEED.
 */

#include "tests/fuzz/fuzz.h"
#include "tests/test.h"

#define FILE_MAX (4 << 20)

static uint64_t state;

static uint32_t random_next(void)
{
    state = state * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(state >> 32);
}

/* Small numbers, extremes and noise, where the header is as often as everywhere else. */
static void damage(uint8_t *data, size_t size)
{
    static const uint8_t values[] = {0, 1, 0x7f, 0x80, 0xfe, 0xff};
    size_t reach = random_next() % 2 ? size : size < 64 ? size : 64;

    for (uint32_t n = 1 + random_next() % 6; n > 0; n--) {
        uint32_t r = random_next();

        data[random_next() % reach] = r % 2 ? values[(r >> 8) % sizeof values] : (uint8_t)(r >> 16);
    }
}

static void replay(const char *path, long copies)
{
    static uint8_t data[FILE_MAX], copy[FILE_MAX];
    FILE *f = fopen(path, "rb");

    ASSERT(f);
    size_t size = fread(data, 1, sizeof data, f);
    fclose(f);
    ASSERT_CMP(size, >, 0);
    LLVMFuzzerTestOneInput(data, size);
    for (long i = 0; i < copies; i++) {
        size_t n = random_next() % 4 ? size : 1 + random_next() % size;

        memcpy(copy, data, n);
        damage(copy, n);
        LLVMFuzzerTestOneInput(copy, n);
    }
}

int main(int argc, char **argv)
{
    const char *seed = getenv("FUZZ_SEED");

    ASSERT_CMP(argc, >, 2);
    for (int i = 2; i < argc; i++) {
        state = seed ? strtoull(seed, NULL, 10) : (uint64_t)i;
        fprintf(stderr, "%s, seed %llu\n", argv[i], (unsigned long long)state);
        replay(argv[i], atol(argv[1]));
    }
    return 0;
}
