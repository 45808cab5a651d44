#include "encoders/block.h"

#include <stdio.h>

#define NAME_SIZE 64

int block_load(Weights *w, const EncoderConfig *config, const char *prefix, size_t index,
               Block *ret_block)
{
    const size_t d = config->d_model, ff = config->d_ff;
    Block b;
    const struct {
        const char *suffix;
        size_t in, out; /* out 0: a vector */
        Tensor *tensor;
    } rows[] = {
        {"attn_norm", d, 0, &b.attn_norm}, {"ffn_norm", d, 0, &b.ffn_norm},
        {"attn_q", d, d, &b.attn_q},       {"attn_k", d, d, &b.attn_k},
        {"attn_v", d, d, &b.attn_v},       {"attn_out", d, d, &b.attn_out},
        {"ffn_gate", d, ff, &b.ffn_gate},  {"ffn_up", d, ff, &b.ffn_up},
        {"ffn_down", ff, d, &b.ffn_down},
    };

    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        char name[NAME_SIZE];
        int r;

        snprintf(name, sizeof name, "%s.blk.%zu.%s.weight", prefix, index, rows[i].suffix);
        if (rows[i].out > 0)
            r = encoder_matrix(w, name, rows[i].in, rows[i].out, rows[i].tensor);
        else
            r = encoder_vector(w, name, rows[i].in, rows[i].tensor);
        if (r < 0)
            return r;
    }
    *ret_block = b;
    return 0;
}

static Product product(const Tensor *w, const Workspace *ws, size_t n, float *y)
{
    return (Product){
        .w = w,
        .x = ws->packed,
        .n = n,
        .y = y,
        .y_stride = (size_t)w->ne[1],
    };
}

/* x += attn_out(attention(RMS(x))) */
static void block_attend(const Block *block, Workspace *ws, const float *cos_sin, size_t n)
{
    Backend *b = ws->backend;
    const BackendOps *ops = b->ops;
    const EncoderConfig *c = &ws->config;
    size_t d = c->d_model, n_heads = d / c->head_dim;

    ops->rms_norm(b, ws->x, tensor_floats(&block->attn_norm), c->norm_epsilon, n, d, ws->h);
    ops->pack(b, ws->packed, ws->h, d, n, d);
    Product qkv[] = {
        product(&block->attn_q, ws, n, ws->q),
        product(&block->attn_k, ws, n, ws->k),
        product(&block->attn_v, ws, n, ws->v),
    };
    ops->products(b, qkv, 3);
    ops->rope(b, ws->q, n, n_heads, c->head_dim, cos_sin);
    ops->rope(b, ws->k, n, n_heads, c->head_dim, cos_sin);
    ops->attention_full(b, ws->q, ws->k, ws->v, n, n_heads, c->head_dim, ws->mixed);

    ops->pack(b, ws->packed, ws->mixed, d, n, d);
    Product out = product(&block->attn_out, ws, n, ws->x);
    out.accumulate = true;
    ops->products(b, &out, 1);
}

/* x += SwiGLU(RMS(x)) */
static void block_feed(const Block *block, Workspace *ws, size_t n)
{
    Backend *b = ws->backend;
    const BackendOps *ops = b->ops;
    const EncoderConfig *c = &ws->config;
    size_t d = c->d_model;

    ops->rms_norm(b, ws->x, tensor_floats(&block->ffn_norm), c->norm_epsilon, n, d, ws->h);
    ops->pack(b, ws->packed, ws->h, d, n, d);
    Product gate_up[] = {
        product(&block->ffn_gate, ws, n, ws->gate),
        product(&block->ffn_up, ws, n, ws->up),
    };
    ops->products(b, gate_up, 2);
    ops->silu_mul(b, ws->gate, ws->up, n * c->d_ff, ws->gate);

    ops->pack(b, ws->packed, ws->gate, c->d_ff, n, c->d_ff);
    Product down = product(&block->ffn_down, ws, n, ws->x);
    down.accumulate = true;
    ops->products(b, &down, 1);
}

void block_run(const Block *block, Workspace *ws, const float *cos_sin, size_t n)
{
    block_attend(block, ws, cos_sin, n);
    block_feed(block, ws, n);
}
