#include "tests/kernels/harness.h"

/* The inner loop of a search. */

#define TURNS       100
#define BENCH_ROWS  4096
#define BENCH_WIDTH 256

static void random_bytes(void *to, size_t n)
{
    uint8_t *bytes = to;

    for (size_t i = 0; i < n; i++)
        bytes[i] = (uint8_t)random_u32();
}

/* Now and then everything at its ends, where sums are largest. */
static void check_scan(const Kernels *ref, const Kernels *k)
{
    for (int turn = 0; turn < turns(TURNS); turn++) {
        size_t width = 64 * (1 + random_below(16)), n = random_below(40);
        uint8_t *rows = exact_new(n * width + 1);
        int8_t *query = exact_new(width);
        int32_t *out[2];

        random_bytes(rows, n * width);
        random_bytes(query, width);
        if (turn % 5 == 0) {
            memset(rows, turn % 2 ? 255 : 0, n * width);
            memset(query, turn % 3 ? -128 : 127, width);
        }
        for (int i = 0; i < 2; i++) {
            out[i] = guarded_new(n * sizeof(int32_t), 4 * random_below(16));
            (i ? k : ref)->scan_q8(rows, n, width, query, out[i]);
        }
        expect_same(out[0], out[1], n * sizeof(int32_t));
        for (int i = 0; i < 2; i++)
            guarded_free(out[i]);
        free(rows);
        free(query);
    }
}

typedef struct ScanCase {
    const Kernels *k;
    uint8_t *rows;
    int8_t query[BENCH_WIDTH];
    int32_t out[BENCH_ROWS];
} ScanCase;

static void run_scan(void *userdata)
{
    ScanCase *c = userdata;

    c->k->scan_q8(c->rows, BENCH_ROWS, BENCH_WIDTH, c->query, c->out);
}

static void bench_scan(const Kernels *k)
{
    ScanCase *c = exact_new(sizeof *c);
    size_t size = BENCH_ROWS * BENCH_WIDTH;

    c->k = k;
    c->rows = exact_new(size);
    random_bytes(c->rows, size);
    random_bytes(c->query, BENCH_WIDTH);
    bench_case(k, "4096 x 256", (BenchWork){.int8_macs = (double)size, .bytes = (double)size},
               run_scan, c);
    free(c->rows);
    free(c);
}

const KernelCheck scan_checks[] = {
    {"scan_q8", offsetof(Kernels, scan_q8), check_scan, bench_scan},
    {0},
};
