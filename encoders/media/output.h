#pragma once

/* The result of one request: a memfd of the client's, filled through a mapping, and the reply that
 * describes it. Private to this folder. */

#include <stddef.h>

#include "encoders/media/wire.h"

typedef struct Output {
    int fd;
    void *map;
    size_t size;
    WireReply reply;
} Output;

/* Sizes the memfd and maps it, once; NULL on failure. */
void *output_map(Output *out, size_t size);
/* Takes the mapping away: while it stands, the client cannot seal the memfd. */
void output_unmap(Output *out);
