#include "encoders/image.h"

#include <math.h>
#include <string.h>

#define PATCH_AREA (IMAGE_PATCH * IMAGE_PATCH)
#define PIXELS_MIN (16 * PATCH_AREA) /* smaller pictures are enlarged to this */
#define GRID_MAX   64                /* patches along a side */

int image_front_init(ImageFront *f, Weights *w, const Workspace *ws)
{
    const BackendOps *ops = ws->backend->ops;
    size_t d = ws->config.d_model;
    int r;

    r = encoder_matrix(w, "img.patch.weight", IMAGE_PATCH_INPUTS, d, &f->patch);
    if (r >= 0)
        r = encoder_vector(w, "img.patch.bias", d, &f->patch_bias);
    if (r >= 0)
        r = resizer_new(&f->resizer);
    if (r < 0)
        return r;
    f->pixels = aligned_alloc(64, ENCODER_IMAGE_PATCHES_HIGH * PATCH_AREA * sizeof *f->pixels);
    f->rows =
        ops->alloc(ws->backend, ENCODER_IMAGE_PATCHES_HIGH * IMAGE_PATCH_INPUTS * sizeof *f->rows);
    return f->pixels && f->rows ? 0 : -ENOMEM;
}

void image_front_deinit(ImageFront *f, Workspace *ws)
{
    resizer_free(f->resizer);
    free(f->pixels);
    if (f->rows)
        ws->backend->ops->free(ws->backend, f->rows);
}

static uint32_t side_patches(uint32_t side, double scale)
{
    double n = floor(side * scale / IMAGE_PATCH + 0.5);

    return n < 1 ? 1 : n > GRID_MAX ? GRID_MAX : (uint32_t)n;
}

ImageGrid image_grid(uint32_t width, uint32_t height, uint32_t max_patches)
{
    double area = (double)width * height, budget = (double)max_patches * PATCH_AREA, scale = 1;

    if (area > budget)
        scale = sqrt(budget / area);
    else if (area < PIXELS_MIN)
        scale = sqrt(PIXELS_MIN / area);

    ImageGrid grid = {side_patches(height, scale), side_patches(width, scale)};
    while (grid.rows * grid.cols > max_patches) {
        if (grid.rows > grid.cols)
            grid.rows--;
        else
            grid.cols--;
    }
    return grid;
}

static void picture_fit(ImageFront *f, const ImageView *image, ImageGrid grid)
{
    uint32_t width = grid.cols * IMAGE_PATCH, height = grid.rows * IMAGE_PATCH;

    if (image->width != width || image->height != height) {
        resizer_run(f->resizer, image->rgb, image->width, image->height, width, height, f->pixels);
        return;
    }
    for (size_t i = 0; i < (size_t)width * height; i++) {
        const uint8_t *p = image->rgb + 3 * i;

        f->pixels[i] = (Pixel){p[0], p[1], p[2], 0};
    }
}

/* sin(f_k u) and cos(f_k u) for f_k = pi 2^(k/2), k = 0 … 7. */
static void position_features(double u, float *features)
{
    const int n = IMAGE_POSITIONS / 4;

    for (int k = 0; k < n; k++) {
        double angle = M_PI * pow(2, k / 2.0) * u;

        features[k] = (float)sin(angle);
        features[n + k] = (float)cos(angle);
    }
}

static void patch_fill(const Pixel *corner, size_t stride, float *row)
{
    for (size_t y = 0; y < IMAGE_PATCH; y++)
        for (size_t x = 0; x < IMAGE_PATCH; x++) {
            Pixel p = corner[y * stride + x] / 127.5f - 1;

            row[0] = p[0];
            row[1] = p[1];
            row[2] = p[2];
            row += 3;
        }
}

static void patches_fill(ImageFront *f, ImageGrid grid)
{
    float across[GRID_MAX][IMAGE_POSITIONS / 2], down[IMAGE_POSITIONS / 2];
    size_t stride = (size_t)grid.cols * IMAGE_PATCH;
    float *row = f->rows;

    for (uint32_t c = 0; c < grid.cols; c++)
        position_features((c + 0.5) / grid.cols, across[c]);
    for (uint32_t r = 0; r < grid.rows; r++) {
        position_features((r + 0.5) / grid.rows, down);
        for (uint32_t c = 0; c < grid.cols; c++, row += IMAGE_PATCH_INPUTS) {
            float *positions = row + IMAGE_PATCH_INPUTS - IMAGE_POSITIONS;

            patch_fill(f->pixels + r * IMAGE_PATCH * stride + c * IMAGE_PATCH, stride, row);
            memcpy(positions, down, sizeof down);
            memcpy(positions + IMAGE_POSITIONS / 2, across[c], sizeof across[c]);
        }
    }
}

/* The first half of a head's pairs turns with the row, the second with the column. */
static void angles_fill(Workspace *ws, ImageGrid grid)
{
    const EncoderConfig *c = &ws->config;
    size_t half = c->head_dim / 2, quarter = half / 2;
    float *cos_sin = ws->grid_cos_sin;

    for (uint32_t i = 0; i < grid.rows * grid.cols; i++, cos_sin += c->head_dim)
        for (size_t j = 0; j < half; j++) {
            uint32_t position = j < quarter ? i / grid.cols : i % grid.cols;
            double theta = pow(c->image_rope_base, -(double)(j % quarter) / (double)quarter);

            cos_sin[j] = (float)cos(position * theta);
            cos_sin[half + j] = (float)sin(position * theta);
        }
}

void image_front_run(ImageFront *f, Workspace *ws, const ImageView *image, uint32_t max_patches,
                     ImageGrid *ret_grid)
{
    ImageGrid grid = image_grid(image->width, image->height, max_patches);
    size_t n = (size_t)grid.rows * grid.cols;

    picture_fit(f, image, grid);
    patches_fill(f, grid);
    workspace_probe(ws, "patches", f->rows, n, IMAGE_PATCH_INPUTS);
    angles_fill(ws, grid);

    ws->backend->ops->pack(ws->backend, ws->packed, f->rows, IMAGE_PATCH_INPUTS, n,
                           IMAGE_PATCH_INPUTS);
    Product embed = {
        .w = &f->patch,
        .x = ws->packed,
        .n = n,
        .bias = tensor_floats(&f->patch_bias),
        .y = ws->x,
        .y_stride = ws->config.d_model,
    };
    ws->backend->ops->products(ws->backend, &embed, 1);
    *ret_grid = grid;
}
