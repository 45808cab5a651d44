#pragma once

/*
 * The transformer block that all encoders share: engine/MODEL.md, section 5. Private to this
 * folder.
 */

#include "encoders/workspace.h"

typedef struct Block {
    Tensor attn_norm, ffn_norm;              /* [d_model] */
    Tensor attn_q, attn_k, attn_v, attn_out; /* [d_model, d_model] */
    Tensor ffn_gate, ffn_up;                 /* [d_ff, d_model] */
    Tensor ffn_down;                         /* [d_model, d_ff] */
} Block;

/* Block `index` of the encoder whose tensors begin with `prefix` ("img"). */
int block_load(Weights *w, const EncoderConfig *config, const char *prefix, size_t index,
               Block *ret_block);

/* ws->x [n, d_model] in place; cos_sin [n, head_dim] as BackendOps.rope wants it. */
void block_run(const Block *block, Workspace *ws, const float *cos_sin, size_t n);
