#include "engine/cpu/ref/ref.h"

void kernels_init_ref(Kernels *k)
{
    *k = (Kernels){
        .pack_q8 = pack_q8_ref,
        .product_int8 = product_int8_ref,
        .product_f32 = product_f32_ref,
        .product_bf16 = product_bf16_ref,
        .unpack = unpack_ref,
        .f16_from_f32 = f16_from_f32_ref,
        .f32_from_f16 = f32_from_f16_ref,
        .bf16_from_f32 = bf16_from_f32_ref,
        .rms_norm = rms_norm_ref,
        .rope = rope_ref,
        .silu_mul = silu_mul_ref,
        .add = add_ref,
        .attention_part = attention_part_ref,
        .attention_full = attention_full_ref,
        .attention_pool = attention_pool_ref,
        .scan_q8 = scan_q8_ref,
    };
}
