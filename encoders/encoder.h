#pragma once

/*
 * Encoders: decoded pixels, samples or token ids in; a sequence of rows and one pooled vector
 * out.
 *
 * All three share one transformer block (block.h). Formulas, shapes and tensor names:
 * engine/MODEL.md, sections 2 to 5. Used by one thread at a time; scratch is sized at open for
 * the largest input.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "engine/backend.h"
#include "engine/base/weights.h"

typedef enum Modality {
    MODALITY_TEXT,
    MODALITY_IMAGE,
    MODALITY_AUDIO,
    _MODALITY_COUNT,
} Modality;

#define ENCODER_IMAGE_PATCHES_LOW  64
#define ENCODER_IMAGE_PATCHES_HIGH 256
#define ENCODER_AUDIO_SECONDS      30
#define ENCODER_TEXT_TOKENS        256
#define ENCODER_ROWS_MAX           768

typedef struct Encoders Encoders;

/* Borrowed pixels, RGB8, row-major without padding. */
typedef struct ImageView {
    const uint8_t *rgb;
    uint32_t width, height;
} ImageView;

/* Borrowed samples, 16 kHz mono. */
typedef struct AudioView {
    const float *samples;
    size_t n_samples;
} AudioView;

/* What an encoder gives: views into the encoder's scratch, valid until its next run. */
typedef struct Encoded {
    Modality modality;
    const float *rows; /* S: [n, d_model] */
    size_t n;
    uint32_t grid_rows, grid_cols; /* images */
    const float *pooled;           /* p: [n_queries * d_model], before the space projection */
    size_t pooled_length;
} Encoded;

int encoders_open(Weights *weights, Backend *backend, Encoders **ret_encoders);
Encoders *encoders_close(Encoders *e);
DEFINE_CLEANUP(Encoders *, encoders_close);

/* -EINVAL: empty; -E2BIG: beyond the ceilings above. */
int encoders_image(Encoders *e, const ImageView *image, bool high_detail, Encoded *ret_encoded);
int encoders_audio(Encoders *e, const AudioView *audio, Encoded *ret_encoded);
int encoders_text(Encoders *e, const int32_t *ids, size_t n, Encoded *ret_encoded);

/* Parity probe, as engine_set_probe. */
void encoders_set_probe(Encoders *e,
                        void (*probe)(void *userdata, const char *name, const float *rows, size_t n,
                                      size_t width),
                        void *userdata);
