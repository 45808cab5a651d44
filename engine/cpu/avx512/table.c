#include "engine/cpu/avx512/avx512.h"
#include "engine/cpu/cpuid.h"

void kernels_init_avx512(Kernels *k, unsigned features)
{
    k->pack_q8 = pack_q8_avx512;
    k->product_f32 = product_f32_avx512;
    k->rms_norm = rms_norm_avx512;
    k->silu_mul = silu_mul_avx512;
    k->attention_full = attention_full_avx512;
    if (features & CPU_VNNI) {
        k->product_int8 = product_int8_avx512vnni;
        k->attention_part = attention_part_avx512vnni;
        k->scan_q8 = scan_q8_avx512vnni;
    }
    if (features & CPU_BF16)
        k->product_bf16 = product_bf16_avx512bf16;
}
