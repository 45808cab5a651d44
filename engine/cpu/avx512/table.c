#include "engine/cpu/avx512/avx512.h"
#include "engine/cpu/cpuid.h"

void kernels_init_avx512(Kernels *k, unsigned features)
{
    k->attention_full = attention_full_avx512;
    if (features & CPU_VNNI)
        k->product_q8 = product_q8_avx512vnni;
}
