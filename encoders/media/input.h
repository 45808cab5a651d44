#pragma once

/* The encoded bytes of one request, in memory that nobody else can change. Private to this
 * folder. */

#include <stddef.h>
#include <stdint.h>

#include "encoders/media/reason.h"

typedef struct Input {
    uint8_t *data; /* private: may be written */
    size_t size;
} Input;

/* A memfd sealed against writing and shrinking is mapped, another regular file copied. in must
 * be zero; input_deinit() in any case. */
Reason input_init(Input *in, int fd);
void input_deinit(Input *in);
