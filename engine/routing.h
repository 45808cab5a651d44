#pragma once

/*
 * Which rows go through which units. A unit is a head group or an expert; unit 0 always runs
 * (the always-on group, the shared expert). A slot is one pair (row, unit) that runs.
 *
 * Slots are numbered unit by unit, rows ascending inside a unit, so each unit reads a list of
 * rows and writes one run of a buffer; `order` walks them the other way, row by row with units
 * ascending, to add the outputs up.
 */

#include <stddef.h>
#include <stdint.h>

typedef struct Routes {
    size_t max_rows, max_units, max_slots;
    size_t n_rows, n_units, n_slots;
    int32_t *first; /* [n_rows + 1]: slots of row r are order[first[r]] … order[first[r + 1] - 1] */
    int32_t *order;      /* [n_slots] */
    int32_t *unit_first; /* [n_units + 1]: slots of unit u */
    int32_t *row;        /* [n_slots] */
    float *gate;         /* [n_slots] */
    int32_t *pair_unit;  /* [n_slots] in the order of arrival, before they are sorted */
    float *pair_gate;
} Routes;

int routes_init(Routes *r, size_t max_rows, size_t max_units, size_t max_slots);
void routes_deinit(Routes *r);

/* Build: begin, then for each row its units ascending and row_end, then sort. */
void routes_begin(Routes *r, size_t n_units);
void routes_add(Routes *r, size_t unit, float gate);
void routes_row_end(Routes *r);
void routes_sort(Routes *r);

static inline size_t routes_unit_rows(const Routes *r, size_t unit)
{
    return (size_t)(r->unit_first[unit + 1] - r->unit_first[unit]);
}

/* Indices of the `cap` largest of the values above `floor`, ties to the lower index, ascending.
 * cap <= ROUTING_CAP_MAX. */
#define ROUTING_CAP_MAX 64
size_t select_largest(const float *values, size_t n, float floor, size_t cap, int32_t *ret_index);
