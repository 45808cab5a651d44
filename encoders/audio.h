#pragma once

/* Samples to rows, 25 a second: engine/MODEL.md, section 3. Private to this folder. */

#include "encoders/mel.h"
#include "encoders/workspace.h"

typedef struct AudioFront {
    Tensor conv1, conv1_bias; /* [d_model, 4 * n_mels], [d_model] */
    Tensor conv2, conv2_bias; /* [d_model, 4 * d_model], [d_model] */
    Mel *mel;
    /* Each with a zero row before the first and room for two behind the last, so that a window
     * is a stretch of memory wherever it lies. */
    float *frames; /* [1 + frames + 2, n_mels] */
    float *middle; /* [1 + frames / 2 + 2, d_model] */
} AudioFront;

/* f must be zero; audio_front_deinit() in any case. */
int audio_front_init(AudioFront *f, Weights *w, const Workspace *ws);
void audio_front_deinit(AudioFront *f, Workspace *ws);

/* Fills ws->x and returns the number of rows. */
size_t audio_front_run(AudioFront *f, Workspace *ws, const AudioView *audio);
