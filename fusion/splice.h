#pragma once

/*
 * A prompt: encoder rows and token ids made into the rows that enter the decoder, in the order of
 * engine/MODEL.md, section 6. Used by one thread at a time.
 */

#include "encoders/encoder.h"
#include "engine/backend.h"
#include "engine/base/tokenizer.h"
#include "engine/base/weights.h"
#include "fusion/space.h"

typedef struct Splice Splice; /* projections and scratch */

/* One growing prompt; rows are f32 [n, d_model] in backend memory. */
typedef struct Prompt {
    float *rows;
    size_t n, capacity, d_model;
} Prompt;

/* Weights, backend and tokenizer are borrowed until splice_close(). -EBADMSG, -ENOENT: the file
 * does not fit; weights_error() says why. */
int splice_open(Weights *weights, Backend *backend, const Tokenizer *tokenizer,
                Splice **ret_splice);
Splice *splice_close(Splice *s);
DEFINE_CLEANUP(Splice *, splice_close);

/* Room for `capacity` rows. -E2BIG beyond the model's context. */
int prompt_init(Prompt *p, Splice *s, size_t capacity);
/* Takes a zeroed prompt as well. */
void prompt_deinit(Prompt *p, Splice *s);

/* All append, and leave the prompt as it was on failure. -E2BIG: the prompt would be longer
 * than its capacity; -EIO: the device failed. */
/* The beginning, with a system text when system_length > 0. */
int splice_begin(Splice *s, Prompt *p, const char *system, size_t system_length);
/* The last token of an answer, before the next question. */
int splice_token(Splice *s, Prompt *p, int32_t id);
/* An image or a sound, with its vector [SPACE_LENGTH]. */
int splice_media(Splice *s, Prompt *p, const Encoded *encoded, const float *vector);
/* What a collection knows of an image or a sound: its vector [SPACE_LENGTH] alone. */
int splice_vector(Splice *s, Prompt *p, Modality modality, const float *vector);
/* A question, stripped of the white space around it; the answer comes next. -EINVAL: nothing is
 * left of it. */
int splice_question(Splice *s, Prompt *p, const char *question, size_t length);
