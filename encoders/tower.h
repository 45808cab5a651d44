#pragma once

/*
 * What follows an encoder's front: its blocks, the last norm and the pooling. Private to this
 * folder.
 */

#include "encoders/block.h"

typedef struct Tower {
    Block *blocks;
    size_t n_blocks;
    Tensor norm;       /* [d_model] */
    Tensor pool_query; /* [n_pool, d_model] */
} Tower;

/* t must be zero; tower_deinit() in any case. */
int tower_init(Tower *t, Weights *w, const EncoderConfig *config, const char *prefix,
               size_t n_blocks);
void tower_deinit(Tower *t);

/* From the rows in ws->x [n, d_model] to ret_encoded: rows, n and the pooled vector. -EIO: the
 * device failed. */
int tower_run(const Tower *t, Workspace *ws, const float *cos_sin, size_t n, Encoded *ret_encoded);
