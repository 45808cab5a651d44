#pragma once

/*
 * Which experts will be used: how often each was of late, and how far a layer's router can be
 * believed when it is shown a row too early. What it says of experts that are in memory costs
 * nothing; of the others, each of which costs a read, it errs more often, and that is what is
 * learnt here. Private to the engine.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "engine/routing.h"

/* When a router is shown the rows. */
typedef enum Sight {
    SIGHT_EARLY, /* before the experts of the layer in front have run */
    SIGHT_LATE,  /* after them */
    _SIGHT_COUNT,
} Sight;

#define FORECAST_NOTES_MAX 256

typedef struct Note {
    int32_t expert;
    uint16_t rank;
} Note;

/* Experts that were expected of a layer and not in memory. */
typedef struct Notes {
    Note list[FORECAST_NOTES_MAX];
    size_t n;
} Notes;

typedef struct Forecast {
    size_t n;
    float *rates; /* [n]: of late, used by this part of the rows */
    float trust[_SIGHT_COUNT][ROUTING_CAP_MAX];
    Notes notes[_SIGHT_COUNT];
} Forecast;

/* n experts of all layers together, each used by this part of the rows until more is known. */
int forecast_init(Forecast *f, size_t n, float rate);
void forecast_deinit(Forecast *f);

/* How likely it is that a missing expert will be used, which the router had at this rank. */
float forecast_trust(const Forecast *f, Sight sight, size_t rank);
/* How likely it is that one of n rows will use an expert. */
float forecast_any(const Forecast *f, int32_t expert, size_t n_rows);
/* A missing expert was expected of the layer that runs next. */
void forecast_note(Forecast *f, Sight sight, int32_t expert, size_t rank);
/* Experts `first` on, of a layer: how many of n_rows use each is what unit_first counts up. */
void forecast_learn(Forecast *f, int32_t first, const int32_t *unit_first, size_t n_experts,
                    size_t n_rows);
