#pragma once

/* One JSON object on standard output, field by field. Names and strings are our own: no escapes. */

#include <stddef.h>
#include <stdint.h>

typedef struct JsonOut {
    int separators; /* fields written at this depth */
} JsonOut;

/* name NULL: the outermost object; its end ends the line. */
JsonOut json_begin(JsonOut *parent, const char *name);
void json_end(const JsonOut *parent);
void json_number(JsonOut *j, const char *name, double value);
void json_numbers(JsonOut *j, const char *name, const double *values, size_t n);
void json_count(JsonOut *j, const char *name, uint64_t value);
void json_text(JsonOut *j, const char *name, const char *value);
