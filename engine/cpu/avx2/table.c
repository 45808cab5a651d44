#include "engine/cpu/avx2/avx2.h"
#include "engine/cpu/ref/ref.h"

void kernels_init_avx2(Kernels *k)
{
    *k = (Kernels){
        .pack_q8 = pack_q8_avx2,
        .product_int8 = product_int8_avx2,
        .product_f32 = product_f32_avx2,
        .product_bf16 = product_bf16_ref,
        .unpack = unpack_avx2,
        .f16_from_f32 = f16_from_f32_avx2,
        .f32_from_f16 = f32_from_f16_avx2,
        .bf16_from_f32 = bf16_from_f32_avx2,
        .rms_norm = rms_norm_avx2,
        .rope = rope_avx2,
        .silu_mul = silu_mul_avx2,
        .add = add_avx2,
        .attention_part = attention_part_avx2,
        .attention_full = attention_full_avx2,
        .attention_pool = attention_pool_avx2,
        .scan_q8 = scan_q8_avx2,
    };
}
