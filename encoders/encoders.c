#include "encoders/encoder.h"

#include <errno.h>

#include "encoders/audio.h"
#include "encoders/image.h"
#include "encoders/text.h"
#include "encoders/tower.h"

struct Encoders {
    Workspace ws;
    ImageFront image;
    AudioFront audio;
    TextFront text;
    Tower towers[_MODALITY_COUNT];
};

static int fronts_init(Encoders *e, Weights *w)
{
    const EncoderConfig *c = &e->ws.config;
    int r;

    r = image_front_init(&e->image, w, &e->ws);
    if (r >= 0)
        r = audio_front_init(&e->audio, w, &e->ws);
    if (r >= 0)
        r = text_front_init(&e->text, w, &e->ws);
    if (r >= 0)
        r = tower_init(&e->towers[MODALITY_IMAGE], w, c, "img", c->n_image_blocks);
    if (r >= 0)
        r = tower_init(&e->towers[MODALITY_AUDIO], w, c, "aud", c->n_audio_blocks);
    if (r >= 0)
        r = tower_init(&e->towers[MODALITY_TEXT], w, c, "txt", c->n_text_blocks);
    return r;
}

int encoders_open(Weights *weights, Backend *backend, Encoders **ret_encoders)
{
    _cleanup_(encoders_closep) Encoders *e = calloc(1, sizeof *e);
    EncoderConfig config;
    int r;

    if (!e)
        return -ENOMEM;
    r = encoder_config_read(weights, &config);
    if (r >= 0)
        r = workspace_init(&e->ws, backend, &config);
    if (r >= 0)
        r = fronts_init(e, weights);
    if (r < 0)
        return r;
    *ret_encoders = steal_ptr(&e);
    return 0;
}

Encoders *encoders_close(Encoders *e)
{
    if (!e)
        return NULL;
    for (size_t i = 0; i < _MODALITY_COUNT; i++)
        tower_deinit(&e->towers[i]);
    image_front_deinit(&e->image, &e->ws);
    audio_front_deinit(&e->audio, &e->ws);
    workspace_deinit(&e->ws);
    free(e);
    return NULL;
}

int encoders_image(Encoders *e, const ImageView *image, bool high_detail, Encoded *ret_encoded)
{
    Encoded encoded = {.modality = MODALITY_IMAGE};
    ImageGrid grid;
    int r;

    if (image->width == 0 || image->height == 0)
        return -EINVAL;
    if (image->width > RESIZE_IN_MAX || image->height > RESIZE_IN_MAX)
        return -E2BIG;
    image_front_run(&e->image, &e->ws, image,
                    high_detail ? ENCODER_IMAGE_PATCHES_HIGH : ENCODER_IMAGE_PATCHES_LOW, &grid);
    encoded.grid_rows = grid.rows;
    encoded.grid_cols = grid.cols;
    r = tower_run(&e->towers[MODALITY_IMAGE], &e->ws, e->ws.grid_cos_sin,
                  (size_t)grid.rows * grid.cols, &encoded);
    if (r < 0)
        return r;
    *ret_encoded = encoded;
    return 0;
}

int encoders_audio(Encoders *e, const AudioView *audio, Encoded *ret_encoded)
{
    Encoded encoded = {.modality = MODALITY_AUDIO};
    size_t n;
    int r;

    if (audio->n_samples == 0)
        return -EINVAL;
    if (audio->n_samples > ENCODER_AUDIO_SECONDS * MEL_RATE)
        return -E2BIG;
    n = audio_front_run(&e->audio, &e->ws, audio);
    r = tower_run(&e->towers[MODALITY_AUDIO], &e->ws, e->ws.cos_sin, n, &encoded);
    if (r < 0)
        return r;
    *ret_encoded = encoded;
    return 0;
}

int encoders_text(Encoders *e, const int32_t *ids, size_t n, Encoded *ret_encoded)
{
    Encoded encoded = {.modality = MODALITY_TEXT};
    int r;

    if (n == 0)
        return -EINVAL;
    if (n > ENCODER_TEXT_TOKENS)
        return -E2BIG;
    r = text_front_run(&e->text, &e->ws, ids, n);
    if (r >= 0)
        r = tower_run(&e->towers[MODALITY_TEXT], &e->ws, e->ws.cos_sin, n, &encoded);
    if (r < 0)
        return r;
    *ret_encoded = encoded;
    return 0;
}

void encoders_set_probe(Encoders *e,
                        void (*probe)(void *userdata, const char *name, const float *rows, size_t n,
                                      size_t width),
                        void *userdata)
{
    e->ws.probe = probe;
    e->ws.probe_userdata = userdata;
}
