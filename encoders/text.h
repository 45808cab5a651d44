#pragma once

/* Token ids to rows: engine/MODEL.md, section 4. Private to this folder. */

#include "encoders/workspace.h"

typedef struct TextFront {
    Tensor token_embd; /* [vocabulary, d_model] */
} TextFront;

int text_front_init(TextFront *f, Weights *w, const Workspace *ws);

/* Fills ws->x [n, d_model]. -EINVAL: an id outside the vocabulary. */
int text_front_run(const TextFront *f, Workspace *ws, const int32_t *ids, size_t n);
