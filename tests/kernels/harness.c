#include "tests/kernels/harness.h"

#include <malloc.h>
#include <time.h>

#include "engine/base/half.h"

#define GUARD           256
#define POISON          0xa5
#define BENCH_SAMPLE_NS 3e6
#define BENCH_SAMPLES   7
#define BENCH_CASES     512

static uint64_t state;

int turns_share = 1;

int turns(int all)
{
    return all > turns_share ? all / turns_share : 1;
}

void random_start(uint64_t seed)
{
    state = seed * 0x9e3779b97f4a7c15 + 1;
}

uint32_t random_u32(void)
{
    state = state * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(state >> 32) ^ (uint32_t)(state >> 13);
}

size_t random_below(size_t n)
{
    return random_u32() % n;
}

size_t random_size(const size_t *sizes, size_t count)
{
    return random_below(4) ? sizes[random_below(count)] : 1 + random_below(sizes[count - 1]);
}

float random_float(void)
{
    uint32_t r = random_u32();

    if (r % 64 == 0)
        return 0;
    if (r % 64 == 1)
        return 1e-30f;
    return ((float)random_u32() / 0x1p31f - 1) * (r % 8 == 2 ? 8 : 1);
}

void random_floats(float *x, size_t n)
{
    for (size_t i = 0; i < n; i++)
        x[i] = random_float();
}

DType next_quantised(DType dtype)
{
    do
        dtype++;
    while (dtype < _DTYPE_COUNT && !dtype_is_quantised(dtype));
    return dtype;
}

static void random_half(uint8_t *p)
{
    uint16_t half = f32_to_f16(random_float() * (random_below(16) ? 0.01f : 1e-7f));

    memcpy(p, &half, sizeof half);
}

static void random_blocks(DType dtype, uint8_t *block, size_t n_blocks)
{
    size_t size = dtype_row_bytes(dtype, dtype_block_length(dtype));
    bool two =
        dtype == DTYPE_Q4_1 || dtype == DTYPE_Q5_1 || dtype == DTYPE_Q4_K || dtype == DTYPE_Q5_K;

    for (; n_blocks > 0; n_blocks--, block += size) {
        for (size_t i = 0; i < size; i++)
            block[i] = (uint8_t)random_u32();
        random_half(block + (dtype == DTYPE_Q6_K ? Q6_K_SCALE : 0));
        if (two)
            random_half(block + 2);
    }
}

void random_weights(DType dtype, void *rows, size_t n_rows, size_t width)
{
    size_t n = n_rows * width;

    if (dtype == DTYPE_F32)
        random_floats(rows, n);
    else if (dtype_is_quantised(dtype))
        random_blocks(dtype, rows, n / (size_t)dtype_block_length(dtype));
    else
        for (size_t i = 0; i < n; i++) {
            float x = random_float();

            ((uint16_t *)rows)[i] = dtype == DTYPE_F16 ? f32_to_f16(x) : f32_to_bf16(x);
        }
}

/* Guards, the size in front of them, and the pointer that the heap gave. */
typedef struct GuardHeader {
    void *heap;
    size_t size;
} GuardHeader;

void *guarded_new(size_t size, size_t misalign)
{
    uint8_t *heap = aligned_alloc(64, (size + misalign + 2 * GUARD + 127) / 64 * 64);
    GuardHeader header = {heap, size};
    uint8_t *data;

    ASSERT(heap && misalign < 64);
    data = heap + GUARD + misalign;
    memset(heap, POISON, GUARD + misalign + size + GUARD);
    memcpy(heap + misalign, &header, sizeof header);
    return data;
}

void guarded_free(void *p)
{
    uint8_t *data = p;
    GuardHeader header;

    memcpy(&header, data - GUARD, sizeof header);
    for (size_t i = sizeof header; i < GUARD; i++)
        if (data[i - GUARD] != POISON)
            test_fail(__FILE__, __LINE__, "%zu bytes before a buffer were written", GUARD - i);
    for (size_t i = 0; i < GUARD; i++)
        if (data[header.size + i] != POISON)
            test_fail(__FILE__, __LINE__, "%zu bytes past a buffer were written", i);
    free(header.heap);
}

void *exact_new(size_t size)
{
    void *p = malloc(size ? size : 1);

    ASSERT(p);
    return p;
}

void expect_near(const float *ref, const float *got, size_t n, double tolerance)
{
    double error = 0, norm = 0;

    for (size_t i = 0; i < n; i++) {
        double d = (double)got[i] - ref[i];

        error += d * d;
        norm += (double)ref[i] * ref[i];
    }
    if (!(sqrt(error) <= tolerance * sqrt(norm) + 1e-30))
        test_fail(__FILE__, __LINE__, "normalised error %g over %zu values, %g allowed",
                  sqrt(error / norm), n, tolerance);
}

void expect_same(const void *ref, const void *got, size_t size)
{
    const uint8_t *a = ref, *b = got;

    for (size_t i = 0; i < size; i++)
        if (a[i] != b[i])
            test_fail(__FILE__, __LINE__, "byte %zu of %zu: %02x and %02x", i, size, a[i], b[i]);
}

/* Of this thread: what others take of the processor does not count. */
static double now_ns(void)
{
    struct timespec ts;

    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &ts);
    return (double)ts.tv_sec * 1e9 + (double)ts.tv_nsec;
}

/* The best of some samples: others share the machine, and only ever add. */
static double bench_time(BenchFunc func, void *userdata)
{
    double best = INFINITY;
    size_t turns = 1;

    for (int sample = 0; sample < BENCH_SAMPLES;) {
        double start = now_ns(), ns;

        for (size_t i = 0; i < turns; i++)
            func(userdata);
        ns = now_ns() - start;
        if (ns < BENCH_SAMPLE_NS) {
            turns *= ns < BENCH_SAMPLE_NS / 10 ? 8 : 2;
            continue;
        }
        sample++;
        if (ns / (double)turns < best)
            best = ns / (double)turns;
    }
    return best;
}

static double larger(double a, double b)
{
    return a > b ? a : b;
}

void bench_case(const Kernels *k, const char *name, BenchWork work, BenchFunc func, void *userdata)
{
    static struct {
        char name[64];
        double ns;
    } refs[BENCH_CASES];
    double ns = bench_time(func, userdata), floor = 0, ratio = 0;
    static const Kernels *first; /* the reference comes first */

    first = first ? first : k;
    for (size_t i = 0; i < BENCH_CASES; i++) {
        if (refs[i].name[0] == '\0' && k == first) {
            snprintf(refs[i].name, sizeof refs[i].name, "%s", name);
            refs[i].ns = ns;
        }
        if (strcmp(refs[i].name, name) == 0) {
            ratio = refs[i].ns / ns;
            break;
        }
    }
    if (work.f32_macs > 0)
        floor = larger(floor, work.f32_macs / floor_f32_macs());
    if (work.int8_macs > 0)
        floor = larger(floor, work.int8_macs / floor_int8_macs());
    if (work.bf16_macs > 0)
        floor = larger(floor, work.bf16_macs / floor_bf16_macs());
    if (work.bytes > 0)
        floor = larger(floor, work.bytes / floor_bytes((size_t)work.bytes));
    printf("  %-44s %12.0f ns %8.1fx", name, ns, ratio);
    if (floor > 0)
        printf("  floor %5.1f%%", 100 * floor / ns);
    printf("\n");
}
