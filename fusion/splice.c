#include "fusion/splice.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

#define VECTOR_GAIN 16 /* of a unit vector, so that it enters the decoder as large as other rows */

struct Splice {
    Backend *backend;
    const Tokenizer *tokenizer;
    size_t d_model, context;
    Tensor token_embd;     /* [vocabulary, d_model] */
    Tensor space_proj;     /* [d_model, SPACE_LENGTH] */
    Tensor image_seq_proj; /* [d_model, d_model] */
    Tensor audio_seq_proj;
    Packed *packed;
    float *vector; /* [SPACE_LENGTH] */
    int32_t *ids;  /* [context] */
};

static int matrix_need(Weights *w, const char *name, size_t in, size_t out, Tensor *ret_tensor)
{
    const int64_t ne[] = {(int64_t)in, (int64_t)out};

    return weights_need(w, name, DTYPE_Q8_0, 2, ne, ret_tensor);
}

static int key_need(Weights *w, const char *key, uint32_t max, size_t *ret_value)
{
    uint32_t value;

    if (weights_get_u32(w, key, &value) < 0 || value == 0 || value > max)
        return weights_fail(w, -EBADMSG, "%s is not from 1 to %u", key, max);
    *ret_value = value;
    return 0;
}

static int splice_bind(Splice *s, Weights *w)
{
    const TokenizerSpecial *special = tokenizer_special(s->tokenizer);
    size_t d;
    int r;

    r = key_need(w, "percept.embedding_length", 4096, &s->d_model);
    if (r >= 0)
        r = key_need(w, "percept.context_length", 1 << 20, &s->context);
    if (r < 0)
        return r;
    d = s->d_model;
    r = matrix_need(w, "token_embd.weight", d, tokenizer_size(s->tokenizer), &s->token_embd);
    if (r >= 0)
        r = matrix_need(w, "space_proj.weight", SPACE_LENGTH, d, &s->space_proj);
    if (r >= 0)
        r = matrix_need(w, "img.seq_proj.weight", d, d, &s->image_seq_proj);
    if (r >= 0)
        r = matrix_need(w, "aud.seq_proj.weight", d, d, &s->audio_seq_proj);
    if (r < 0)
        return r;
    if (special->bos < 0 || special->image < 0 || special->audio < 0 || special->user < 0 ||
        special->assistant < 0 || special->system < 0)
        return weights_fail(w, -EBADMSG, "the tokenizer lacks a token that prompts are made of");
    return 0;
}

int splice_open(Weights *weights, Backend *backend, const Tokenizer *tokenizer, Splice **ret_splice)
{
    _cleanup_(splice_closep) Splice *s = calloc(1, sizeof *s);
    int r;

    if (!s)
        return -ENOMEM;
    s->backend = backend;
    s->tokenizer = tokenizer;
    r = splice_bind(s, weights);
    if (r < 0)
        return r;
    s->packed = backend->ops->packed_new(backend, ENCODER_ROWS_MAX,
                                         s->d_model > SPACE_LENGTH ? s->d_model : SPACE_LENGTH);
    s->vector = backend->ops->alloc(backend, SPACE_LENGTH * sizeof *s->vector);
    s->ids = calloc(s->context, sizeof *s->ids);
    if (!s->packed || !s->vector || !s->ids)
        return -ENOMEM;
    *ret_splice = steal_ptr(&s);
    return 0;
}

Splice *splice_close(Splice *s)
{
    if (!s)
        return NULL;
    if (s->packed)
        s->backend->ops->packed_free(s->backend, s->packed);
    if (s->vector)
        s->backend->ops->free(s->backend, s->vector);
    free(s->ids);
    free(s);
    return NULL;
}

int prompt_init(Prompt *p, Splice *s, size_t capacity)
{
    float *rows;

    if (capacity > s->context)
        return -E2BIG;
    rows = s->backend->ops->alloc(s->backend, capacity * s->d_model * sizeof *rows);
    if (!rows)
        return -ENOMEM;
    *p = (Prompt){rows, 0, capacity, s->d_model};
    return 0;
}

void prompt_deinit(Prompt *p, Splice *s)
{
    if (p->rows)
        s->backend->ops->free(s->backend, p->rows);
    *p = (Prompt){0};
}

/* Appends the first n of s->ids. */
static int ids_append(Splice *s, Prompt *p, size_t n)
{
    int r;

    assert(n <= p->capacity - p->n);
    s->backend->ops->embed(s->backend, &s->token_embd, s->ids, n, p->rows + p->n * p->d_model,
                           p->d_model);
    r = s->backend->ops->sync(s->backend);
    if (r < 0)
        return r;
    p->n += n;
    return 0;
}

/* Tokens of a text into s->ids from `used` on, with room for `more` after them. */
static int text_encode(Splice *s, const Prompt *p, const char *text, size_t length, size_t more,
                       size_t *used)
{
    size_t room = p->capacity - p->n, n;
    int r;

    if (room < *used + more)
        return -E2BIG;
    r = tokenizer_encode(s->tokenizer, text, length, s->ids + *used, room - *used - more, &n);
    if (r < 0)
        return r;
    *used += n;
    return 0;
}

int splice_begin(Splice *s, Prompt *p, const char *system, size_t system_length)
{
    const TokenizerSpecial *special = tokenizer_special(s->tokenizer);
    size_t n = 1;
    int r;

    if (p->capacity - p->n < (system_length > 0 ? 2 : 1))
        return -E2BIG;
    s->ids[0] = special->bos;
    if (system_length > 0) {
        s->ids[n++] = special->system;
        r = text_encode(s, p, system, system_length, 0, &n);
        if (r < 0)
            return r;
    }
    return ids_append(s, p, n);
}

int splice_token(Splice *s, Prompt *p, int32_t id)
{
    if (p->capacity == p->n)
        return -E2BIG;
    s->ids[0] = id;
    return ids_append(s, p, 1);
}

static void project(Splice *s, const Tensor *w, const float *x, size_t n, float *y)
{
    size_t width = (size_t)w->ne[0];
    Product product = {
        .w = w,
        .x = s->packed,
        .n = n,
        .y = y,
        .y_stride = s->d_model,
    };

    s->backend->ops->pack(s->backend, s->packed, x, width, n, width);
    s->backend->ops->products(s->backend, &product, 1);
}

/* The vector's row, which `at` gets. */
static void project_vector(Splice *s, const float *vector, float *at)
{
    for (size_t i = 0; i < SPACE_LENGTH; i++)
        s->vector[i] = VECTOR_GAIN * vector[i];
    project(s, &s->space_proj, s->vector, 1, at);
}

/* The token that says what the rows after it are, which stand there already. */
static int marker_append(Splice *s, Prompt *p, Modality modality, size_t n_rows)
{
    const TokenizerSpecial *special = tokenizer_special(s->tokenizer);
    int r;

    s->ids[0] = modality == MODALITY_IMAGE ? special->image : special->audio;
    r = ids_append(s, p, 1);
    if (r >= 0)
        p->n += n_rows;
    return r;
}

int splice_vector(Splice *s, Prompt *p, Modality modality, const float *vector)
{
    assert(modality == MODALITY_IMAGE || modality == MODALITY_AUDIO);
    if (p->capacity - p->n < 2)
        return -E2BIG;
    project_vector(s, vector, p->rows + (p->n + 1) * p->d_model);
    return marker_append(s, p, modality, 1);
}

int splice_media(Splice *s, Prompt *p, const Encoded *encoded, const float *vector)
{
    bool image = encoded->modality == MODALITY_IMAGE;
    float *rows = p->rows + (p->n + 1) * p->d_model;

    assert(image || encoded->modality == MODALITY_AUDIO);
    assert(encoded->n <= ENCODER_ROWS_MAX);
    if (p->capacity - p->n < encoded->n + 2)
        return -E2BIG;
    project_vector(s, vector, rows);
    project(s, image ? &s->image_seq_proj : &s->audio_seq_proj, encoded->rows, encoded->n,
            rows + p->d_model);

    return marker_append(s, p, encoded->modality, 1 + encoded->n);
}

static bool is_space(char c)
{
    return c == ' ' || (c >= '\t' && c <= '\r');
}

int splice_question(Splice *s, Prompt *p, const char *question, size_t length)
{
    const TokenizerSpecial *special = tokenizer_special(s->tokenizer);
    size_t n = 1;
    int r;

    for (; length > 0 && is_space(question[0]); length--)
        question++;
    while (length > 0 && is_space(question[length - 1]))
        length--;
    if (length == 0)
        return -EINVAL;
    s->ids[0] = special->user;
    r = text_encode(s, p, question, length, 1, &n);
    if (r < 0)
        return r;
    s->ids[n++] = special->assistant;
    return ids_append(s, p, n);
}
