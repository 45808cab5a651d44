#pragma once

/* What an answer from a collection is made of: kept as long as its request, since the stream
 * begins with it whenever it is opened, and the result holds it. */

#include "ipc/handlers.h"
#include "ipc/writer.h"

typedef struct Sources {
    bool known; /* of a collection's answer, once the search is through */
    WorkRecord list[LIMIT_SOURCES];
    size_t n;
} Sources;

/* Copies them; -ENOMEM: some are left out. */
int sources_set(Sources *s, const WorkRecord *list, size_t n);
void sources_deinit(Sources *s);
/* Entry `sources` of an open a{sv}, if they are known. */
void sources_write(const Sources *s, Writer *w);
/* "rank score identifier" of one, for the stream. */
size_t sources_line(const Sources *s, size_t i, char *line, size_t size);
