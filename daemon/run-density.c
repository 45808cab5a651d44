#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "daemon/run-canvas.h"
#include "daemon/run.h"

/* Three panels: the image, and over a grey copy the mean number of head groups and of experts
 * that each patch got. */

#define PANEL_SIDE 448 /* the longer side, about */
#define GAP        16
#define TITLE      36
#define TEXT_SCALE 2
#define IMAGE_ROW  3 /* after <bos>, <image> and the vector: MODEL.md, section 6 */
#define QUESTION   "What is shown?"
#define BATCH_ROWS                                                                                 \
    320 /* the largest image and the question in one forward, so that the trace covers it */

typedef struct Map {
    Media media;
    size_t grid_rows, grid_cols, cell;
    float groups[ENCODER_IMAGE_PATCHES_HIGH], experts[ENCODER_IMAGE_PATCHES_HIGH];
} Map;

/* The patches' shares of the last forward, as means over layers. */
static void map_fill(Map *map, const Engine *engine, uint32_t n_layers)
{
    RouteTrace trace = engine_trace(engine);

    for (size_t i = 0; i < map->grid_rows * map->grid_cols; i++) {
        map->groups[i] = (float)trace.groups[IMAGE_ROW + i] / (float)n_layers;
        map->experts[i] = (float)trace.experts[IMAGE_ROW + i] / (float)n_layers;
    }
}

static int map_route(Run *run, Map *map, Prompt *prompt)
{
    Encoded encoded;
    float vector[SPACE_LENGTH];
    Session *session;

    int r = run_encode(run, &map->media, true, &encoded, vector);
    if (r < 0)
        return r;
    map->grid_rows = encoded.grid_rows;
    map->grid_cols = encoded.grid_cols;
    r = splice_begin(run->splice, prompt, NULL, 0);
    if (r >= 0)
        r = splice_media(run->splice, prompt, &encoded, vector);
    if (r >= 0)
        r = splice_question(run->splice, prompt, QUESTION, strlen(QUESTION));
    if (r >= 0)
        r = session_open(run->engine, &session);
    if (r < 0)
        return r;
    BatchItem item = {
        .session = session,
        .rows = prompt->rows,
        .n = (uint32_t)prompt->n,
        .shift = run->options->effort / 2,
    };
    r = decoder_forward(run->engine, &item, 1, run->options->route);
    if (r >= 0)
        map_fill(map, run->engine, model_info(run->model)->n_layers);
    return r;
}

static Color source_color(const Map *map, size_t x, size_t y)
{
    size_t sx = x * map->media.width / (map->grid_cols * map->cell);
    size_t sy = y * map->media.height / (map->grid_rows * map->cell);
    const uint8_t *p = map->media.rgb + 3 * (sy * map->media.width + sx);
    return (Color){p[0], p[1], p[2]};
}

/* One panel at column x0; values NULL: the image itself. */
static void panel_draw(Canvas *c, const Map *map, size_t x0, const char *title, const float *values)
{
    const Color ink = {40, 40, 40};
    size_t width = map->grid_cols * map->cell, height = map->grid_rows * map->cell;
    float low = 1e9f, high = 0;
    char text[64];

    for (size_t i = 0; values && i < map->grid_rows * map->grid_cols; i++) {
        low = values[i] < low ? values[i] : low;
        high = values[i] > high ? values[i] : high;
    }
    for (size_t y = 0; y < height; y++)
        for (size_t x = 0; x < width; x++) {
            Color color = source_color(map, x, y);
            if (values) {
                float value = values[y / map->cell * map->grid_cols + x / map->cell];
                uint8_t grey = (uint8_t)((color.r * 3 + color.g * 6 + color.b) / 10);
                Color heat = color_heat(high > low ? (value - low) / (high - low) : 0);
                bool edge = x % map->cell == 0 || y % map->cell == 0;
                color = color_mix((Color){grey, grey, grey}, heat, edge ? 0.55f : 0.75f);
            }
            c->pixels[(TITLE + y) * c->width + x0 + x] = color;
        }
    canvas_text(c, x0, (TITLE - CANVAS_GLYPH_HEIGHT * TEXT_SCALE) / 2, TEXT_SCALE, title, ink);
    if (!values)
        return;

    /* The scale: from the least to the most. */
    snprintf(text, sizeof(text), "%.1f", low);
    canvas_text(c, x0, TITLE + height + GAP, TEXT_SCALE, text, ink);
    snprintf(text, sizeof(text), "%.1f a layer", high);
    size_t bar = x0 + 5 * CANVAS_GLYPH_WIDTH * TEXT_SCALE, bar_width = width / 3;
    for (size_t x = 0; x < bar_width; x++)
        canvas_rectangle(c, bar + x, TITLE + height + GAP - 1, 1,
                         CANVAS_GLYPH_HEIGHT * TEXT_SCALE + 2,
                         color_heat((float)x / (float)bar_width));
    canvas_text(c, bar + bar_width + CANVAS_GLYPH_WIDTH * TEXT_SCALE, TITLE + height + GAP,
                TEXT_SCALE, text, ink);
}

static int map_draw(Map *map, const char *path)
{
    Canvas c;
    size_t longer = map->grid_rows > map->grid_cols ? map->grid_rows : map->grid_cols;
    map->cell = PANEL_SIDE / longer > 4 ? PANEL_SIDE / longer : 4;
    size_t width = map->grid_cols * map->cell, height = map->grid_rows * map->cell;
    size_t column = (width > PANEL_SIDE ? width : PANEL_SIDE) + GAP;

    int r = canvas_init(&c, 3 * column + GAP, TITLE + height + 3 * GAP, (Color){255, 255, 255});
    if (r < 0)
        return r;
    panel_draw(&c, map, GAP, "image", NULL);
    panel_draw(&c, map, GAP + column, "head groups", map->groups);
    panel_draw(&c, map, GAP + 2 * column, "experts", map->experts);
    r = canvas_write(&c, path);
    canvas_deinit(&c);
    return r < 0 ? run_error(r, "cannot write %s", path) : 0;
}

static int density(Run *run, Map *map)
{
    const RunOptions *o = run->options;
    const RunMedia file = {MEDIA_IMAGE, o->text};
    Prompt prompt;

    int r = run_open_encoders(run);
    if (r >= 0)
        r = run_media_read(run, &file, true, &map->media);
    if (r >= 0)
        r = prompt_init(&prompt, run->splice, BATCH_ROWS);
    if (r < 0)
        return r;
    r = map_route(run, map, &prompt);
    prompt_deinit(&prompt, run->splice);
    if (r < 0)
        return run_error(r, "%s: %s", o->text, strerror(-r));
    return map_draw(map, o->output);
}

int run_density(const RunOptions *options)
{
    EngineOptions engine = engine_options_default();
    Map map = {0};
    Run run;

    engine.max_batch_rows = BATCH_ROWS;
    int r = run_open(&run, options, &engine);
    if (r >= 0)
        r = density(&run, &map);
    media_deinit(&map.media);
    run_close(&run);
    return r;
}
