#include "engine/forecast.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>

#define FORGETTING       (1 / 256.0f) /* of the use of an expert, each row */
#define TRUST_AT_FIRST   0.5f
#define TRUST_FORGETTING (1 / 64.0f) /* each note */

int forecast_init(Forecast *f, size_t n, float rate)
{
    f->n = n;
    f->rates = malloc(n * sizeof(*f->rates));
    if (!f->rates)
        return -ENOMEM;
    for (size_t i = 0; i < n; i++)
        f->rates[i] = rate;
    for (size_t i = 0; i < _SIGHT_COUNT; i++) {
        f->notes[i].n = 0;
        for (size_t rank = 0; rank < ROUTING_CAP_MAX; rank++)
            f->trust[i][rank] = TRUST_AT_FIRST;
    }
    return 0;
}

void forecast_deinit(Forecast *f)
{
    free(f->rates);
    f->rates = NULL;
}

float forecast_trust(const Forecast *f, Sight sight, size_t rank)
{
    return rank < ROUTING_CAP_MAX ? f->trust[sight][rank] : 0;
}

float forecast_any(const Forecast *f, int32_t expert, size_t n_rows)
{
    return 1 - powf(1 - f->rates[expert], (float)n_rows);
}

void forecast_note(Forecast *f, Sight sight, int32_t expert, size_t rank)
{
    Notes *notes = &f->notes[sight];

    if (notes->n < FORECAST_NOTES_MAX && rank < ROUTING_CAP_MAX)
        notes->list[notes->n++] = (Note){expert, (uint16_t)rank};
}

static void notes_settle(Forecast *f, Sight sight, int32_t first, const int32_t *unit_first,
                         size_t n_experts)
{
    Notes *notes = &f->notes[sight];

    for (size_t i = 0; i < notes->n; i++) {
        size_t unit = (size_t)(notes->list[i].expert - first);
        float *trust = &f->trust[sight][notes->list[i].rank];

        if (unit < n_experts)
            *trust += TRUST_FORGETTING * ((unit_first[unit] < unit_first[unit + 1]) - *trust);
    }
    notes->n = 0;
}

void forecast_learn(Forecast *f, int32_t first, const int32_t *unit_first, size_t n_experts,
                    size_t n_rows)
{
    float part = 1 - powf(1 - FORGETTING, (float)n_rows);

    for (size_t i = 0; i < n_experts; i++) {
        float *rate = &f->rates[(size_t)first + i];
        float used = (float)(unit_first[i + 1] - unit_first[i]) / (float)n_rows;

        *rate += part * (used - *rate);
    }
    for (Sight sight = 0; sight < _SIGHT_COUNT; sight++)
        notes_settle(f, sight, first, unit_first, n_experts);
}
