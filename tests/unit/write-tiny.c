/* Writes the random model of tiny.c to a file, for tests that run a program on it. */

#include "tests/test.h"
#include "tests/unit/tiny.h"

int main(int argc, char **argv)
{
    size_t size;

    ASSERT_EQ(argc, 2);
    void *data = tiny_build(&(TinyOptions){.seed = 3, .gate_bias = -0.1f}, &size);
    FILE *f = fopen(argv[1], "w");
    ASSERT(f && fwrite(data, 1, size, f) == size && fclose(f) == 0);
    free(data);
    return 0;
}
