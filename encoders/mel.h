#pragma once

/*
 * Log-mel frames: engine/MODEL.md, section 3. The mel scale and area normalisation are those of
 * Slaney's Auditory Toolbox (1998). Private to this folder.
 */

#include <stddef.h>

#include "engine/base/cleanup.h"

#define MEL_RATE 16000
#define MEL_HOP  160
#define MEL_FFT  400

typedef struct Mel Mel;

int mel_new(size_t n_bins, Mel **ret_mel);
Mel *mel_free(Mel *m);
DEFINE_CLEANUP(Mel *, mel_free);

/* Frames of a clip of n samples. */
static inline size_t mel_frames(size_t n_samples)
{
    return (n_samples + MEL_HOP - 1) / MEL_HOP;
}

/* ret_frames [mel_frames(n), n_bins] */
void mel_run(Mel *m, const float *samples, size_t n_samples, float *ret_frames);
