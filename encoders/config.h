#pragma once

/* Sizes of the encoders, read from a weight file's keys. Private to this folder. */

#include <stddef.h>

#include "engine/base/weights.h"

#define IMAGE_PATCH        16
#define IMAGE_POSITIONS    32 /* position features of a patch */
#define IMAGE_PATCH_INPUTS (3 * IMAGE_PATCH * IMAGE_PATCH + IMAGE_POSITIONS)
#define AUDIO_WINDOW       4 /* rows side by side in a product of the stem */

typedef struct EncoderConfig {
    size_t d_model, head_dim, d_ff, n_pool;
    size_t n_image_blocks, n_audio_blocks, n_text_blocks;
    size_t n_mels;
    float norm_epsilon, rope_base, image_rope_base;
} EncoderConfig;

/* Every value is within its ceiling afterwards. -EBADMSG otherwise; weights_error() has the
 * sentence. */
int encoder_config_read(Weights *w, EncoderConfig *ret_config);

/* Tensors by name, checked against what the caller says: [out, in] in Q8_0, [width] in F32, and
 * [out, in] in F32. Errors as weights_need(). */
int encoder_matrix(Weights *w, const char *name, size_t in, size_t out, Tensor *ret_tensor);
int encoder_vector(Weights *w, const char *name, size_t width, Tensor *ret_tensor);
int encoder_plain_matrix(Weights *w, const char *name, size_t in, size_t out, Tensor *ret_tensor);

static inline const float *tensor_floats(const Tensor *t)
{
    return t->data;
}
