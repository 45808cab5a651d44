#include "encoders/tower.h"

#include <stdio.h>

int tower_init(Tower *t, Weights *w, const EncoderConfig *config, const char *prefix,
               size_t n_blocks)
{
    char name[64];
    int r;

    t->blocks = calloc(n_blocks, sizeof *t->blocks);
    if (!t->blocks)
        return -ENOMEM;
    t->n_blocks = n_blocks;
    for (size_t i = 0; i < n_blocks; i++) {
        r = block_load(w, config, prefix, i, &t->blocks[i]);
        if (r < 0)
            return r;
    }
    snprintf(name, sizeof name, "%s.norm.weight", prefix);
    r = encoder_vector(w, name, config->d_model, &t->norm);
    if (r < 0)
        return r;
    snprintf(name, sizeof name, "%s.pool_query.weight", prefix);
    return encoder_plain_matrix(w, name, config->d_model, config->n_pool, &t->pool_query);
}

void tower_deinit(Tower *t)
{
    free(t->blocks);
}

int tower_run(const Tower *t, Workspace *ws, const float *cos_sin, size_t n, Encoded *ret_encoded)
{
    Backend *b = ws->backend;
    const EncoderConfig *c = &ws->config;
    size_t d = c->d_model;

    for (size_t i = 0; i < t->n_blocks; i++) {
        char name[32];

        block_run(&t->blocks[i], ws, cos_sin, n);
        snprintf(name, sizeof name, "block%zu", i);
        workspace_probe(ws, name, ws->x, n, d);
    }
    b->ops->rms_norm(b, ws->x, tensor_floats(&t->norm), c->norm_epsilon, n, d, ws->seq);
    workspace_probe(ws, "seq", ws->seq, n, d);
    b->ops->attention_pool(b, ws->seq, n, d, tensor_floats(&t->pool_query), c->n_pool, ws->pooled);
    workspace_probe(ws, "pooled", ws->pooled, 1, c->n_pool * d);

    int r = b->ops->sync(b);
    if (r < 0)
        return r;
    ret_encoded->rows = ws->seq;
    ret_encoded->n = n;
    ret_encoded->pooled = ws->pooled;
    ret_encoded->pooled_length = c->n_pool * d;
    return 0;
}
