#include "encoders/mel.h"

#include <kiss_fftr.h>
#include <math.h>
#include <string.h>

#define LEAD    ((MEL_FFT - MEL_HOP) / 2) /* samples of a frame before its hop */
#define N_POWER (MEL_FFT / 2 + 1)

/* A triangle over the power bins [first, first + n). */
typedef struct Triangle {
    size_t first, n;
    float weights[N_POWER];
} Triangle;

struct Mel {
    kiss_fftr_cfg fft;
    size_t n_bins;
    float window[MEL_FFT];
    Triangle triangles[];
};

/* Linear below 1 kHz, logarithmic above. */
static double mel_from_hz(double hz)
{
    return hz < 1000 ? hz * 3 / 200 : 15 + log(hz / 1000) * 27 / log(6.4);
}

static double mel_to_hz(double mel)
{
    return mel < 15 ? mel * 200 / 3 : 1000 * exp((mel - 15) * log(6.4) / 27);
}

static void triangle_fill(Triangle *t, double low, double middle, double high)
{
    for (size_t k = 0; k < N_POWER; k++) {
        double hz = (double)k * MEL_RATE / MEL_FFT;
        double weight = fmin((hz - low) / (middle - low), (high - hz) / (high - middle));

        if (weight <= 0)
            continue;
        if (t->n == 0)
            t->first = k;
        t->weights[t->n++] = (float)(weight * 2 / (high - low));
    }
}

int mel_new(size_t n_bins, Mel **ret_mel)
{
    _cleanup_(mel_freep) Mel *m = calloc(1, sizeof *m + n_bins * sizeof *m->triangles);
    double step = mel_from_hz(MEL_RATE / 2.0) / (double)(n_bins + 1);

    if (!m)
        return -ENOMEM;
    m->fft = kiss_fftr_alloc(MEL_FFT, 0, NULL, NULL);
    if (!m->fft)
        return -ENOMEM;
    m->n_bins = n_bins;
    for (size_t i = 0; i < MEL_FFT; i++)
        m->window[i] = (float)(0.5 - 0.5 * cos(2 * M_PI * (double)i / MEL_FFT));
    for (size_t i = 0; i < n_bins; i++)
        triangle_fill(&m->triangles[i], mel_to_hz(step * (double)i),
                      mel_to_hz(step * (double)(i + 1)), mel_to_hz(step * (double)(i + 2)));
    *ret_mel = steal_ptr(&m);
    return 0;
}

Mel *mel_free(Mel *m)
{
    if (m)
        kiss_fftr_free(m->fft);
    free(m);
    return NULL;
}

/* Samples of frame t times the window; zero outside the clip. */
static void frame_load(const Mel *m, const float *samples, size_t n_samples, size_t t, float *frame)
{
    size_t begin = t * MEL_HOP; /* of the frame, counted from LEAD samples before the clip */

    for (size_t i = 0; i < MEL_FFT; i++) {
        size_t at = begin + i;

        frame[i] = at >= LEAD && at - LEAD < n_samples ? samples[at - LEAD] * m->window[i] : 0;
    }
}

void mel_run(Mel *m, const float *samples, size_t n_samples, float *ret_frames)
{
    float frame[MEL_FFT], power[N_POWER];
    kiss_fft_cpx spectrum[N_POWER];

    for (size_t t = 0; t < mel_frames(n_samples); t++) {
        frame_load(m, samples, n_samples, t, frame);
        kiss_fftr(m->fft, frame, spectrum);
        for (size_t k = 0; k < N_POWER; k++)
            power[k] = spectrum[k].r * spectrum[k].r + spectrum[k].i * spectrum[k].i;
        for (size_t i = 0; i < m->n_bins; i++) {
            const Triangle *triangle = &m->triangles[i];
            float energy = 0;

            for (size_t k = 0; k < triangle->n; k++)
                energy += triangle->weights[k] * power[triangle->first + k];
            *ret_frames++ = (log10f(fmaxf(energy, 1e-8f)) + 4) / 4;
        }
    }
}
