#include "encoders/config.h"

#include <errno.h>
#include <stdint.h>
#include <string.h>

typedef struct SizeKey {
    const char *name;
    size_t offset;
    uint32_t min, max, multiple;
} SizeKey;

typedef struct RealKey {
    const char *name;
    size_t offset;
    float min, max;
} RealKey;

#define C(field) offsetof(EncoderConfig, field)

/* clang-format off */
static const SizeKey size_keys[] = {
    { "percept.embedding_length",            C(d_model),        32, 4096,  32 },
    { "percept.encoder.head_dim",            C(head_dim),       16, 128,   16 },
    { "percept.encoder.feed_forward_length", C(d_ff),           32, 16384, 32 },
    { "percept.encoder.pool_count",          C(n_pool),         1,  16,    1 },
    { "percept.image.block_count",           C(n_image_blocks), 1,  64,    1 },
    { "percept.audio.block_count",           C(n_audio_blocks), 1,  64,    1 },
    { "percept.text.block_count",            C(n_text_blocks),  1,  64,    1 },
    { "percept.audio.mel_count",             C(n_mels),         8,  128,   8 },
};

static const RealKey real_keys[] = {
    { "percept.norm_epsilon",         C(norm_epsilon),    1e-12f, 1 },
    { "percept.rope.freq_base",       C(rope_base),       1,      1e9f },
    { "percept.image.rope.freq_base", C(image_rope_base), 1,      1e9f },
};
/* clang-format on */

static int size_read(Weights *w, const SizeKey *key, EncoderConfig *c)
{
    uint32_t value;

    if (weights_get_u32(w, key->name, &value) < 0)
        return weights_fail(w, -EBADMSG, "%s is missing or not a whole number", key->name);
    if (value < key->min || value > key->max || value % key->multiple != 0)
        return weights_fail(w, -EBADMSG, "%s is %u; from %u to %u in steps of %u can be run",
                            key->name, value, key->min, key->max, key->multiple);
    *(size_t *)((char *)c + key->offset) = value;
    return 0;
}

static int real_read(Weights *w, const RealKey *key, EncoderConfig *c)
{
    float value;

    if (weights_get_f32(w, key->name, &value) < 0)
        return weights_fail(w, -EBADMSG, "%s is missing or not a number", key->name);
    if (!(value >= key->min && value <= key->max))
        return weights_fail(w, -EBADMSG, "%s is %g; from %g to %g can be run", key->name,
                            (double)value, (double)key->min, (double)key->max);
    memcpy((char *)c + key->offset, &value, sizeof value);
    return 0;
}

int encoder_config_read(Weights *w, EncoderConfig *ret_config)
{
    EncoderConfig c = {0};
    uint32_t patch;
    int r;

    for (size_t i = 0; i < sizeof size_keys / sizeof *size_keys; i++) {
        r = size_read(w, &size_keys[i], &c);
        if (r < 0)
            return r;
    }
    for (size_t i = 0; i < sizeof real_keys / sizeof *real_keys; i++) {
        r = real_read(w, &real_keys[i], &c);
        if (r < 0)
            return r;
    }
    if (c.d_model % c.head_dim != 0)
        return weights_fail(w, -EBADMSG,
                            "percept.embedding_length %zu does not divide by "
                            "percept.encoder.head_dim %zu",
                            c.d_model, c.head_dim);
    if (weights_get_u32(w, "percept.image.patch_size", &patch) < 0 || patch != IMAGE_PATCH)
        return weights_fail(w, -EBADMSG, "percept.image.patch_size is not %d", IMAGE_PATCH);
    *ret_config = c;
    return 0;
}

int encoder_matrix(Weights *w, const char *name, size_t in, size_t out, Tensor *ret_tensor)
{
    const int64_t ne[] = {(int64_t)in, (int64_t)out};

    return weights_need(w, name, DTYPE_Q8_0, 2, ne, ret_tensor);
}

int encoder_vector(Weights *w, const char *name, size_t width, Tensor *ret_tensor)
{
    const int64_t ne[] = {(int64_t)width};

    return weights_need(w, name, DTYPE_F32, 1, ne, ret_tensor);
}

int encoder_plain_matrix(Weights *w, const char *name, size_t in, size_t out, Tensor *ret_tensor)
{
    const int64_t ne[] = {(int64_t)in, (int64_t)out};

    return weights_need(w, name, DTYPE_F32, 2, ne, ret_tensor);
}
