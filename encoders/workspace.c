#include "encoders/workspace.h"

#include <math.h>

static size_t larger(size_t a, size_t b)
{
    return a > b ? a : b;
}

static int rows_alloc(Workspace *ws, size_t n, size_t width, float **ret_rows)
{
    *ret_rows = ws->backend->ops->alloc(ws->backend, n * width * sizeof(float));
    return *ret_rows ? 0 : -ENOMEM;
}

/* Angles of row i: i * base^(-j / half). */
static void angles_fill(const EncoderConfig *c, float *cos_sin)
{
    size_t half = c->head_dim / 2;

    for (size_t i = 0; i < ENCODER_ROWS_MAX; i++)
        for (size_t j = 0; j < half; j++) {
            double angle = (double)i * pow(c->rope_base, -(double)j / (double)half);

            cos_sin[i * c->head_dim + j] = (float)cos(angle);
            cos_sin[i * c->head_dim + half + j] = (float)sin(angle);
        }
}

int workspace_init(Workspace *ws, Backend *backend, const EncoderConfig *config)
{
    size_t d = config->d_model, n = ENCODER_ROWS_MAX;
    size_t widest = larger(larger(config->d_ff, AUDIO_WINDOW * d),
                           larger(IMAGE_PATCH_INPUTS, AUDIO_WINDOW * config->n_mels));
    int r = 0;

    ws->backend = backend;
    ws->config = *config;
    ws->packed = backend->ops->packed_new(backend, WORKSPACE_PACKED_ROWS, widest);
    if (!ws->packed)
        return -ENOMEM;
    float **rows[] = {&ws->x, &ws->h, &ws->q, &ws->k, &ws->v, &ws->mixed, &ws->seq};
    for (size_t i = 0; i < sizeof rows / sizeof *rows && r >= 0; i++)
        r = rows_alloc(ws, n, d, rows[i]);
    if (r >= 0)
        r = rows_alloc(ws, n, config->d_ff, &ws->gate);
    if (r >= 0)
        r = rows_alloc(ws, n, config->d_ff, &ws->up);
    if (r >= 0)
        r = rows_alloc(ws, n, config->head_dim, &ws->cos_sin);
    if (r >= 0)
        r = rows_alloc(ws, ENCODER_IMAGE_PATCHES_HIGH, config->head_dim, &ws->grid_cos_sin);
    if (r >= 0)
        r = rows_alloc(ws, config->n_pool, d, &ws->pooled);
    if (r >= 0)
        angles_fill(config, ws->cos_sin);
    return r;
}

void workspace_deinit(Workspace *ws)
{
    if (!ws->backend)
        return;

    float *rows[] = {ws->x,     ws->h,     ws->q,  ws->k,       ws->v,
                     ws->mixed, ws->gate,  ws->up, ws->cos_sin, ws->grid_cos_sin,
                     ws->seq,   ws->pooled};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        if (rows[i])
            ws->backend->ops->free(ws->backend, rows[i]);
    if (ws->packed)
        ws->backend->ops->packed_free(ws->backend, ws->packed);
}
