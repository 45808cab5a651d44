#include "engine/cpu/kernels.h"

#include <math.h>

#include "engine/cpu/cpuid.h"

void kernels_init(Kernels *k, unsigned features)
{
    kernels_init_ref(k);
#if defined(__x86_64__)
    if (features & CPU_AVX2)
        kernels_init_avx2(k);
    if (features & CPU_AVX512)
        kernels_init_avx512(k, features);
#else
    (void)features;
#endif
}

void attention_merge(AttentionPart *part, const AttentionPart *next, size_t head_dim)
{
    float largest = fmaxf(part->largest, next->largest);
    float a = expf(part->largest - largest), b = expf(next->largest - largest);

    part->largest = largest;
    part->sum = part->sum * a + next->sum * b;
    for (size_t i = 0; i < head_dim; i++)
        part->out[i] = part->out[i] * a + next->out[i] * b;
}

void attention_finish(const AttentionPart *part, size_t head_dim, float *out)
{
    for (size_t i = 0; i < head_dim; i++)
        out[i] = part->out[i] / part->sum;
}
