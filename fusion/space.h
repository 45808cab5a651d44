#pragma once

/*
 * The shared space: unit vectors of SPACE_LENGTH dimensions in which the same thing seen, heard or
 * read lies close. Formulas: engine/MODEL.md, section 5. Used by one thread at a time.
 */

#include "encoders/encoder.h"
#include "engine/backend.h"
#include "engine/base/weights.h"

#define SPACE_LENGTH 256

typedef struct Space Space;

/* Weights and backend are borrowed until space_close(). -EBADMSG, -ENOENT: the file does not fit;
 * weights_error() says why. */
int space_open(Weights *weights, Backend *backend, Space **ret_space);
Space *space_close(Space *s);
DEFINE_CLEANUP(Space *, space_close);

/* v = unit(space · p): ret_vector [SPACE_LENGTH]. -EDOM: the projection has no direction (all zero
 * or not finite); -EIO: the device failed. */
int space_project(Space *s, const Encoded *encoded, float *ret_vector);
/* Cuts a vector to 128 or 64 dimensions and normalises again, in place; SPACE_LENGTH changes
 * nothing. -EINVAL for other lengths, -EDOM when nothing but zeros is left. */
int space_truncate(float *vector, size_t length);
/* 0 when either vector is zero. */
float space_cosine(const float *a, const float *b, size_t length);
/* Probability of a match by the sigmoid loss. */
float space_match(const Space *s, float cosine);
