#include "daemon/run-json.h"

#include <inttypes.h>
#include <stdio.h>

static void name_print(JsonOut *j, const char *name)
{
    printf("%s\"%s\": ", j->separators++ ? ", " : "", name);
}

JsonOut json_begin(JsonOut *parent, const char *name)
{
    if (parent)
        name_print(parent, name);
    putchar('{');
    return (JsonOut){0};
}

void json_end(const JsonOut *parent)
{
    fputs(parent ? "}" : "}\n", stdout);
}

void json_number(JsonOut *j, const char *name, double value)
{
    name_print(j, name);
    printf("%.6g", value);
}

void json_numbers(JsonOut *j, const char *name, const double *values, size_t n)
{
    name_print(j, name);
    for (size_t i = 0; i < n; i++)
        printf("%s%.6g", i ? ", " : "[", values[i]);
    fputs(n ? "]" : "[]", stdout);
}

void json_count(JsonOut *j, const char *name, uint64_t value)
{
    name_print(j, name);
    printf("%" PRIu64, value);
}

void json_text(JsonOut *j, const char *name, const char *value)
{
    name_print(j, name);
    printf("\"%s\"", value);
}
