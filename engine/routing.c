#include "engine/routing.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

int routes_init(Routes *r, size_t max_rows, size_t max_units, size_t max_slots)
{
    *r = (Routes){.max_rows = max_rows, .max_units = max_units, .max_slots = max_slots};
    r->first = calloc(max_rows + 1, sizeof(*r->first));
    r->order = calloc(max_slots, sizeof(*r->order));
    r->unit_first = calloc(max_units + 1, sizeof(*r->unit_first));
    r->row = calloc(max_slots, sizeof(*r->row));
    r->gate = calloc(max_slots, sizeof(*r->gate));
    r->pair_unit = calloc(max_slots, sizeof(*r->pair_unit));
    r->pair_gate = calloc(max_slots, sizeof(*r->pair_gate));
    if (!r->first || !r->order || !r->unit_first || !r->row || !r->gate || !r->pair_unit ||
        !r->pair_gate) {
        routes_deinit(r);
        return -ENOMEM;
    }
    return 0;
}

void routes_deinit(Routes *r)
{
    free(r->first);
    free(r->order);
    free(r->unit_first);
    free(r->row);
    free(r->gate);
    free(r->pair_unit);
    free(r->pair_gate);
    *r = (Routes){0};
}

void routes_begin(Routes *r, size_t n_units)
{
    assert(n_units <= r->max_units);
    r->n_rows = r->n_slots = 0;
    r->n_units = n_units;
    r->first[0] = 0;
    memset(r->unit_first, 0, (n_units + 1) * sizeof(*r->unit_first));
}

void routes_add(Routes *r, size_t unit, float gate)
{
    assert(unit < r->n_units && r->n_slots < r->max_slots);
    r->pair_unit[r->n_slots] = (int32_t)unit;
    r->pair_gate[r->n_slots] = gate;
    r->n_slots++;
    r->unit_first[unit + 1]++;
}

void routes_row_end(Routes *r)
{
    assert(r->n_rows < r->max_rows);
    r->first[++r->n_rows] = (int32_t)r->n_slots;
}

/* A counting sort by unit; rows stay ascending inside each. */
void routes_sort(Routes *r)
{
    for (size_t u = 0; u < r->n_units; u++)
        r->unit_first[u + 1] += r->unit_first[u];

    for (size_t row = 0; row < r->n_rows; row++)
        for (int32_t i = r->first[row]; i < r->first[row + 1]; i++) {
            int32_t slot = r->unit_first[r->pair_unit[i]]++;
            r->order[i] = slot;
            r->row[slot] = (int32_t)row;
            r->gate[slot] = r->pair_gate[i];
        }

    /* Each unit's start has walked to its end: shift back. */
    memmove(r->unit_first + 1, r->unit_first, r->n_units * sizeof(*r->unit_first));
    r->unit_first[0] = 0;
}

static void sort_ascending(int32_t *a, size_t n)
{
    for (size_t i = 1; i < n; i++) {
        int32_t x = a[i];
        size_t j = i;
        for (; j > 0 && a[j - 1] > x; j--)
            a[j] = a[j - 1];
        a[j] = x;
    }
}

size_t select_largest(const float *values, size_t n, float floor, size_t cap, int32_t *ret_index)
{
    size_t count = 0;

    assert(cap > 0 && cap <= ROUTING_CAP_MAX);
    /* ret_index is kept sorted by value, largest first; an equal value that comes later stays
     * behind. */
    for (size_t i = 0; i < n; i++) {
        if (!(values[i] > floor))
            continue;
        if (count == cap && !(values[i] > values[ret_index[cap - 1]]))
            continue;
        size_t j = count < cap ? count++ : cap - 1;
        for (; j > 0 && values[ret_index[j - 1]] < values[i]; j--)
            ret_index[j] = ret_index[j - 1];
        ret_index[j] = (int32_t)i;
    }
    sort_ascending(ret_index, count);
    return count;
}
