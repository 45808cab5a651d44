#pragma once

/* Sizes in bytes as people write them: a whole number, and K, M, G or T for powers of 1024. */

#include <ctype.h>
#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

/* -EINVAL: something else, or more than fits. */
static inline int size_parse(const char *text, uint64_t *ret_size)
{
    static const char units[] = "KMGT";
    unsigned long long size;
    unsigned shift = 0;
    char *end;

    errno = 0;
    size = strtoull(text, &end, 10);
    if (!isdigit((unsigned char)*text) || errno)
        return -EINVAL;
    if (*end) {
        const char *unit = strchr(units, *end);

        if (!unit || end[1])
            return -EINVAL;
        shift = 10 * (unsigned)(unit - units + 1);
    }
    if (size > UINT64_MAX >> shift)
        return -EINVAL;
    *ret_size = (uint64_t)size << shift;
    return 0;
}
