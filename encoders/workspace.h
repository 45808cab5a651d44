#pragma once

/*
 * What the encoders work in: one set of scratch rows, sized at open for the largest input of any
 * modality, since one encoder runs at a time. Private to this folder.
 */

#include "encoders/config.h"
#include "encoders/encoder.h"

/* Rows that enter the first product of the audio stem: half of the frames of 30 s. */
#define WORKSPACE_PACKED_ROWS (ENCODER_AUDIO_SECONDS * 50)

typedef void (*EncoderProbe)(void *userdata, const char *name, const float *rows, size_t n,
                             size_t width);

typedef struct Workspace {
    Backend *backend;
    EncoderConfig config;
    Packed *packed;
    float *x;                 /* [ENCODER_ROWS_MAX, d_model]: the residual stream */
    float *h;                 /* the same, normalised */
    float *q, *k, *v, *mixed; /* [ENCODER_ROWS_MAX, d_model] */
    float *gate, *up;         /* [ENCODER_ROWS_MAX, d_ff] */
    float *cos_sin;           /* [ENCODER_ROWS_MAX, head_dim]: positions along a line */
    float *grid_cos_sin;      /* [ENCODER_IMAGE_PATCHES_HIGH, head_dim]: of the last image */
    float *seq;               /* [ENCODER_ROWS_MAX, d_model]: S */
    float *pooled;            /* [n_pool * d_model] */
    EncoderProbe probe;
    void *probe_userdata;
} Workspace;

/* ws must be zero; workspace_deinit() in any case. */
int workspace_init(Workspace *ws, Backend *backend, const EncoderConfig *config);
void workspace_deinit(Workspace *ws);

static inline void workspace_probe(const Workspace *ws, const char *name, const float *rows,
                                   size_t n, size_t width)
{
    if (ws->probe)
        ws->probe(ws->probe_userdata, name, rows, n, width);
}
