#include "engine/cpu/cpuid.h"

#include <errno.h>
#include <stdbool.h>
#include <string.h>

#if defined(__x86_64__)
#include <cpuid.h>

static bool has_f16c(void)
{
    unsigned eax, ebx, ecx, edx;

    return __get_cpuid(1, &eax, &ebx, &ecx, &edx) && (ecx & bit_F16C);
}

unsigned cpu_features(void)
{
    unsigned features = CPU_PLAIN;

    /* These ask the operating system too, whether it keeps the wide registers. */
    if (!__builtin_cpu_supports("avx2") || !__builtin_cpu_supports("fma") || !has_f16c())
        return features;
    features |= CPU_AVX2;
    if (!__builtin_cpu_supports("avx512f") || !__builtin_cpu_supports("avx512bw") ||
        !__builtin_cpu_supports("avx512dq") || !__builtin_cpu_supports("avx512vl"))
        return features;
    features |= CPU_AVX512;
    if (!__builtin_cpu_supports("avx512vnni"))
        return features;
    features |= CPU_VNNI;
    if (__builtin_cpu_supports("avx512bf16"))
        features |= CPU_BF16;
    return features;
}
#else
unsigned cpu_features(void)
{
    return CPU_PLAIN;
}
#endif

static const struct {
    const char *name;
    unsigned feature;
} levels[] = {
    {"plain", CPU_PLAIN},     {"avx2", CPU_AVX2},       {"avx512", CPU_AVX512},
    {"avx512vnni", CPU_VNNI}, {"avx512bf16", CPU_BF16},
};

int cpu_mask_parse(const char *name, unsigned *ret_mask)
{
    if (strcmp(name, "native") == 0) {
        *ret_mask = 0;
        return 0;
    }
    for (size_t i = 0; i < sizeof levels / sizeof *levels; i++)
        if (strcmp(name, levels[i].name) == 0) {
            *ret_mask = levels[i].feature * 2 - 1;
            return 0;
        }
    return -EINVAL;
}

const char *cpu_mask_name(unsigned mask)
{
    size_t i = sizeof levels / sizeof *levels - 1;

    while (i > 0 && !(mask & levels[i].feature))
        i--;
    return levels[i].name;
}
