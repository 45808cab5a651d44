#pragma once

/* A model of one layer and two experts, as its author would publish it, whose files tests may
 * change. Sizes are small and all different. */

#include <stdbool.h>

#include "engine/base/weights.h"

enum { MODEL = 4, FF = 3, EXPERTS = 2, HEADS = 2, DIM = 5, VOCAB = 262 };

typedef enum Layout {
    SINGLE, /* a tensor for each expert */
    FUSED,  /* gate and up together, of all experts */
    TURNED, /* the same, turned over */
} Layout;

typedef struct Folder {
    Layout layout;
    bool sharded, tied, short_floats;
    /* The lie: in `file`, the first `from` becomes `to`. */
    const char *file, *from, *to;
    const char *tokenizer; /* another tokenizer.json */
    WeightsFile parts[8];
    size_t n;
    void *owned[8];
    char error[WEIGHTS_ERROR_MAX];
} Folder;

/* What stands in a matrix of an expert, wherever it lies; exact in a short float. */
static inline float expert_value(int expert, int part, int row, int column)
{
    return (float)(128 * expert + 32 * part + 4 * row + column);
}

/* Builds the files and opens them; the sentence is in f->error. */
int folder_open(Folder *f, Weights **ret_weights);
/* The same where it must not fail. */
Weights *folder_sound(Folder *f);
void folder_free(Folder *f);
