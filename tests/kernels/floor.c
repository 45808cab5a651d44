#include "tests/kernels/harness.h"

#include <time.h>

#include "engine/cpu/cpuid.h"

/* The fastest this core has been seen to do one thing: independent chains of the widest
 * instruction, in assembly so that no compiler improves on them. */

#define TURNS 20000

static double now_ns(void)
{
    struct timespec ts;

    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &ts);
    return (double)ts.tv_sec * 1e9 + (double)ts.tv_nsec;
}

/* Turns per nanosecond of the best of some runs. */
static double rate(void (*run)(void))
{
    double best = INFINITY;

    for (int i = 0; i < 7; i++) {
        double start = now_ns(), ns;

        run();
        ns = now_ns() - start;
        best = ns < best ? ns : best;
    }
    return TURNS / best;
}

/* clang-format off */
#if defined(__x86_64__)
#define TWELVE(op, reg) \
    op " %%" reg "30, %%" reg "31, %%" reg "0\n" op " %%" reg "30, %%" reg "31, %%" reg "1\n" \
    op " %%" reg "30, %%" reg "31, %%" reg "2\n" op " %%" reg "30, %%" reg "31, %%" reg "3\n" \
    op " %%" reg "30, %%" reg "31, %%" reg "4\n" op " %%" reg "30, %%" reg "31, %%" reg "5\n" \
    op " %%" reg "30, %%" reg "31, %%" reg "6\n" op " %%" reg "30, %%" reg "31, %%" reg "7\n" \
    op " %%" reg "30, %%" reg "31, %%" reg "8\n" op " %%" reg "30, %%" reg "31, %%" reg "9\n" \
    op " %%" reg "30, %%" reg "31, %%" reg "10\n" op " %%" reg "30, %%" reg "31, %%" reg "11\n"
#define TWELVE_YMM(op) \
    op " %%ymm14, %%ymm15, %%ymm0\n" op " %%ymm14, %%ymm15, %%ymm1\n" \
    op " %%ymm14, %%ymm15, %%ymm2\n" op " %%ymm14, %%ymm15, %%ymm3\n" \
    op " %%ymm14, %%ymm15, %%ymm4\n" op " %%ymm14, %%ymm15, %%ymm5\n" \
    op " %%ymm14, %%ymm15, %%ymm6\n" op " %%ymm14, %%ymm15, %%ymm7\n" \
    op " %%ymm14, %%ymm15, %%ymm8\n" op " %%ymm14, %%ymm15, %%ymm9\n" \
    op " %%ymm14, %%ymm15, %%ymm10\n" op " %%ymm14, %%ymm15, %%ymm11\n"
#define LOOP(body, clear) \
    long turns = TURNS; \
    __asm__ volatile(clear "1:\n" body "dec %0\njnz 1b\nvzeroupper\n" : "+r"(turns) : : "cc", \
        "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "xmm8", "xmm9", "xmm10", \
        "xmm11", "xmm12", "xmm13", "xmm14", "xmm15")

static void run_vnni(void) { LOOP(TWELVE("vpdpbusd", "zmm"), "vzeroall\n"); }
static void run_bf16(void) { LOOP(TWELVE("vdpbf16ps", "zmm"), "vzeroall\n"); }
static void run_fma512(void) { LOOP(TWELVE("vfmadd231ps", "zmm"), "vzeroall\n"); }
static void run_fma256(void) { LOOP(TWELVE_YMM("vfmadd231ps"), "vzeroall\n"); }
static void run_maddubs(void) { LOOP(TWELVE_YMM("vpmaddubsw"), "vzeroall\n"); }
#endif
/* clang-format on */

/* Without wide registers there is no floor to name: the reference is what it is. */
double floor_f32_macs(void)
{
    static double macs;

#if defined(__x86_64__)
    if (macs == 0 && (cpu_features() & CPU_AVX512))
        macs = rate(run_fma512) * 12 * 16;
    else if (macs == 0 && (cpu_features() & CPU_AVX2))
        macs = rate(run_fma256) * 12 * 8;
#endif
    return macs > 0 ? macs : INFINITY;
}

double floor_int8_macs(void)
{
    static double macs;

#if defined(__x86_64__)
    /* AVX2 multiplies with one instruction, sums with two more of other units. */
    if (macs == 0 && (cpu_features() & CPU_VNNI))
        macs = rate(run_vnni) * 12 * 64;
    else if (macs == 0 && (cpu_features() & CPU_AVX2))
        macs = rate(run_maddubs) * 12 * 32;
#endif
    return macs > 0 ? macs : INFINITY;
}

double floor_bf16_macs(void)
{
    static double macs;

#if defined(__x86_64__)
    if (macs == 0 && (cpu_features() & CPU_BF16))
        macs = rate(run_bf16) * 12 * 32;
#endif
    return macs > 0 ? macs : floor_f32_macs();
}

/* Reads n bytes, a multiple of 256, with the widest loads that every x86 of the last decade has. */
static void read_bytes(const char *data, size_t n, bool avx2)
{
#if defined(__x86_64__)
    if (avx2) {
        const char *end = data + n;

        __asm__ volatile("1:\n"
                         "vmovaps (%0), %%ymm0\nvmovaps 32(%0), %%ymm1\n"
                         "vmovaps 64(%0), %%ymm2\nvmovaps 96(%0), %%ymm3\n"
                         "vmovaps 128(%0), %%ymm4\nvmovaps 160(%0), %%ymm5\n"
                         "vmovaps 192(%0), %%ymm6\nvmovaps 224(%0), %%ymm7\n"
                         "add $256, %0\ncmp %1, %0\njb 1b\nvzeroupper\n"
                         : "+r"(data)
                         : "r"(end)
                         : "memory", "cc", "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6",
                           "xmm7");
        return;
    }
#endif
    uint64_t sum = 0;

    (void)avx2;
    for (size_t i = 0; i < n; i += sizeof sum)
        sum += *(const uint64_t *)(const void *)(data + i);
    __asm__ volatile("" : : "r"(sum));
}

double floor_bytes(size_t set)
{
    static double known[32];
    size_t power = 12, n;
    double best = INFINITY;
    bool avx2 = cpu_features() & CPU_AVX2;
    char *data;

    while (power < 28 && (size_t)1 << power < set)
        power++;
    if (known[power] > 0)
        return known[power];
    n = (size_t)1 << power;
    data = aligned_alloc(64, n);
    ASSERT(data);
    memset(data, 1, n);
    for (int i = 0; i < 9; i++) {
        size_t turns = ((size_t)1 << 25) / n + 1;
        double start = now_ns(), ns;

        for (size_t t = 0; t < turns; t++)
            read_bytes(data, n, avx2);
        ns = (now_ns() - start) / (double)turns;
        best = ns < best ? ns : best;
    }
    known[power] = (double)n / best;
    free(data);
    return known[power];
}
