#include "fusion/space.h"

#include <assert.h>
#include <errno.h>
#include <math.h>
#include <string.h>

#define POOLED_MAX (1 << 16)

static const char *const space_names[_MODALITY_COUNT] = {
    [MODALITY_TEXT] = "txt.space.weight",
    [MODALITY_IMAGE] = "img.space.weight",
    [MODALITY_AUDIO] = "aud.space.weight",
};

struct Space {
    Backend *backend;
    Tensor weights[_MODALITY_COUNT]; /* [SPACE_LENGTH, pooled_length] */
    size_t pooled_length;
    Packed *packed; /* one row */
    float *z;       /* [SPACE_LENGTH] */
    float scale, bias;
};

static int size_read(Weights *w, const char *key, uint32_t min, uint32_t max, size_t *ret_value)
{
    uint32_t value;

    if (weights_get_u32(w, key, &value) < 0 || value < min || value > max)
        return weights_fail(w, -EBADMSG, "%s is not from %u to %u", key, min, max);
    *ret_value = value;
    return 0;
}

static int number_read(Weights *w, const char *key, float *ret_value)
{
    float value;

    if (weights_get_f32(w, key, &value) < 0 || !isfinite(value))
        return weights_fail(w, -EBADMSG, "%s is missing or not a number", key);
    *ret_value = value;
    return 0;
}

static int space_bind(Space *s, Weights *w)
{
    size_t length, width = 0, n_pool = 0;
    int r;

    r = size_read(w, "percept.space.length", SPACE_LENGTH, SPACE_LENGTH, &length);
    if (r >= 0)
        r = size_read(w, "percept.embedding_length", 1, POOLED_MAX, &width);
    if (r >= 0)
        r = size_read(w, "percept.encoder.pool_count", 1, 16, &n_pool);
    if (r >= 0)
        r = number_read(w, "percept.space.scale", &s->scale);
    if (r >= 0)
        r = number_read(w, "percept.space.bias", &s->bias);
    if (r < 0)
        return r;
    s->pooled_length = width * n_pool;
    for (size_t i = 0; i < _MODALITY_COUNT; i++) {
        const int64_t ne[] = {(int64_t)s->pooled_length, SPACE_LENGTH};

        r = weights_need(w, space_names[i], DTYPE_Q8_0, 2, ne, &s->weights[i]);
        if (r < 0)
            return r;
    }
    return 0;
}

int space_open(Weights *weights, Backend *backend, Space **ret_space)
{
    _cleanup_(space_closep) Space *s = calloc(1, sizeof *s);
    int r;

    if (!s)
        return -ENOMEM;
    s->backend = backend;
    r = space_bind(s, weights);
    if (r < 0)
        return r;
    s->packed = backend->ops->packed_new(backend, 1, s->pooled_length);
    s->z = backend->ops->alloc(backend, SPACE_LENGTH * sizeof *s->z);
    if (!s->packed || !s->z)
        return -ENOMEM;
    *ret_space = steal_ptr(&s);
    return 0;
}

Space *space_close(Space *s)
{
    if (!s)
        return NULL;
    if (s->packed)
        s->backend->ops->packed_free(s->backend, s->packed);
    if (s->z)
        s->backend->ops->free(s->backend, s->z);
    free(s);
    return NULL;
}

static int vector_normalise(float *v, size_t length)
{
    double sum = 0;

    for (size_t i = 0; i < length; i++)
        sum += (double)v[i] * v[i];
    if (!(sum > 0) || !isfinite(sum))
        return -EDOM;
    for (size_t i = 0; i < length; i++)
        v[i] = (float)(v[i] / sqrt(sum));
    return 0;
}

int space_project(Space *s, const Encoded *encoded, float *ret_vector)
{
    const BackendOps *ops = s->backend->ops;
    int r;

    assert(encoded->modality < _MODALITY_COUNT && encoded->pooled_length == s->pooled_length);
    ops->pack(s->backend, s->packed, encoded->pooled, s->pooled_length, 1, s->pooled_length);
    Product product = {
        .w = &s->weights[encoded->modality],
        .x = s->packed,
        .n = 1,
        .y = s->z,
        .y_stride = SPACE_LENGTH,
    };
    ops->products(s->backend, &product, 1);
    r = ops->sync(s->backend);
    if (r >= 0)
        r = vector_normalise(s->z, SPACE_LENGTH);
    if (r < 0)
        return r;
    memcpy(ret_vector, s->z, SPACE_LENGTH * sizeof *ret_vector);
    return 0;
}

int space_truncate(float *vector, size_t length)
{
    if (length == SPACE_LENGTH)
        return 0;
    if (length != 128 && length != 64)
        return -EINVAL;
    return vector_normalise(vector, length);
}

float space_cosine(const float *a, const float *b, size_t length)
{
    double dot = 0, aa = 0, bb = 0;

    for (size_t i = 0; i < length; i++) {
        dot += (double)a[i] * b[i];
        aa += (double)a[i] * a[i];
        bb += (double)b[i] * b[i];
    }
    return aa > 0 && bb > 0 ? (float)(dot / (sqrt(aa) * sqrt(bb))) : 0;
}

float space_match(const Space *s, float cosine)
{
    return 1 / (1 + expf(-(s->scale * cosine + s->bias)));
}
