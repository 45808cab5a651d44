#pragma once

/* A bar on standard error, where that is a terminal: how many, how fast, how long yet. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define PROGRESS_SAMPLES 32

typedef struct Progress {
    bool shown, drawn;
    size_t done, total; /* total 0: not known yet */
    uint64_t drawn_msec;
    /* The last few seconds, from which the rate comes: the service slows down and speeds up. */
    struct {
        uint64_t msec;
        size_t done;
    } samples[PROGRESS_SAMPLES];
    size_t n_samples;
} Progress;

void progress_begin(Progress *p, size_t total);
void progress_advance(Progress *p, size_t n);
/* Makes room for a line of text; the next advance draws again. */
void progress_clear(Progress *p);

/* Of a bar with this many columns; rate: a second, 0 if not known. */
void progress_line(char *ret_line, size_t size, size_t columns, size_t done, size_t total,
                   double rate);
