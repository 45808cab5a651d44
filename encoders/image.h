#pragma once

/* Pixels to patch rows: engine/MODEL.md, section 2. Private to this folder. */

#include "encoders/resize.h"
#include "encoders/workspace.h"

typedef struct ImageFront {
    Tensor patch, patch_bias; /* [d_model, IMAGE_PATCH_INPUTS], [d_model] */
    Resizer *resizer;
    Pixel *pixels; /* the resized picture */
    float *rows;   /* [ENCODER_IMAGE_PATCHES_HIGH, IMAGE_PATCH_INPUTS] */
} ImageFront;

typedef struct ImageGrid {
    uint32_t rows, cols;
} ImageGrid;

/* f must be zero; image_front_deinit() in any case. */
int image_front_init(ImageFront *f, Weights *w, const Workspace *ws);
void image_front_deinit(ImageFront *f, Workspace *ws);

/* Patches of a picture within a budget. */
ImageGrid image_grid(uint32_t width, uint32_t height, uint32_t max_patches);
/* Fills ws->x and ws->grid_cos_sin for the patches of the picture; *ret_grid says how many. */
void image_front_run(ImageFront *f, Workspace *ws, const ImageView *image, uint32_t max_patches,
                     ImageGrid *ret_grid);
