#include "engine/cpu/kernels.h"

void kernels_init_avx512(Kernels *k, unsigned features)
{
    (void)k;
    (void)features;
}
