#pragma once

/*
 * The embedding within a memory budget: a forward reads one row of it for a token, so the table
 * stays in the file, and the pages of the rows that were read leave memory when there are as many
 * as there is room for. Private to the engine.
 */

#include "engine/model.h"

typedef struct Lookup {
    const Model *model;
    const Tensor *table; /* NULL: all of it is in memory, since the head reads it, or it is small */
    size_t room, used;   /* bytes of pages */
} Lookup;

void lookup_init(Lookup *l, const Model *model, size_t max_rows);
/* What the table takes less of memory than of the file. */
uint64_t lookup_saves(const Lookup *l);
/* Has the rows of at most max_rows tokens read together, which come one by one otherwise. */
void lookup_rows(Lookup *l, const int32_t *ids, size_t n);
