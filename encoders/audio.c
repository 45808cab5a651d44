#include "encoders/audio.h"

#include <string.h>

#define FRAMES_MAX (ENCODER_AUDIO_SECONDS * MEL_RATE / MEL_HOP)
#define PADDING    3 /* zero rows around the frames: one before, two behind */

_Static_assert(WORKSPACE_PACKED_ROWS >= FRAMES_MAX / 2, "the first product of the stem fits");
_Static_assert(ENCODER_ROWS_MAX >= FRAMES_MAX / 4, "the longest clip fits");

int audio_front_init(AudioFront *f, Weights *w, const Workspace *ws)
{
    const BackendOps *ops = ws->backend->ops;
    size_t d = ws->config.d_model, n_mels = ws->config.n_mels;
    int r;

    r = encoder_matrix(w, "aud.conv1.weight", AUDIO_WINDOW * n_mels, d, &f->conv1);
    if (r >= 0)
        r = encoder_vector(w, "aud.conv1.bias", d, &f->conv1_bias);
    if (r >= 0)
        r = encoder_matrix(w, "aud.conv2.weight", AUDIO_WINDOW * d, d, &f->conv2);
    if (r >= 0)
        r = encoder_vector(w, "aud.conv2.bias", d, &f->conv2_bias);
    if (r >= 0)
        r = mel_new(n_mels, &f->mel);
    if (r < 0)
        return r;
    f->frames = ops->alloc(ws->backend, (FRAMES_MAX + PADDING) * n_mels * sizeof *f->frames);
    f->middle = ops->alloc(ws->backend, (FRAMES_MAX / 2 + PADDING) * d * sizeof *f->middle);
    return f->frames && f->middle ? 0 : -ENOMEM;
}

void audio_front_deinit(AudioFront *f, Workspace *ws)
{
    mel_free(f->mel);
    if (f->frames)
        ws->backend->ops->free(ws->backend, f->frames);
    if (f->middle)
        ws->backend->ops->free(ws->backend, f->middle);
}

/* A convolution of width 4 and stride 2: in [1 + n + 2, width] with its padding to
 * out [ceil(n / 2), d_model]. Returns the number of rows. */
static size_t convolve(Workspace *ws, const Tensor *weight, const Tensor *bias, float *in, size_t n,
                       size_t width, float *out)
{
    const BackendOps *ops = ws->backend->ops;
    size_t d = ws->config.d_model, n_out = (n + 1) / 2;

    /* What an earlier, longer clip left behind this one. */
    memset(in + (1 + n) * width, 0, 2 * width * sizeof *in);
    ops->pack(ws->backend, ws->packed, in, 2 * width, n_out, AUDIO_WINDOW * width);
    Product product = {
        .w = weight,
        .x = ws->packed,
        .n = n_out,
        .bias = tensor_floats(bias),
        .y = out,
        .y_stride = d,
    };
    ops->products(ws->backend, &product, 1);
    ops->silu(ws->backend, out, n_out * d);
    return n_out;
}

size_t audio_front_run(AudioFront *f, Workspace *ws, const AudioView *audio)
{
    size_t d = ws->config.d_model, n_mels = ws->config.n_mels;
    size_t n = mel_frames(audio->n_samples);

    mel_run(f->mel, audio->samples, audio->n_samples, f->frames + n_mels);
    workspace_probe(ws, "mel", f->frames + n_mels, n, n_mels);
    n = convolve(ws, &f->conv1, &f->conv1_bias, f->frames, n, n_mels, f->middle + d);
    n = convolve(ws, &f->conv2, &f->conv2_bias, f->middle, n, d, ws->x);
    workspace_probe(ws, "stem", ws->x, n, d);
    return n;
}
