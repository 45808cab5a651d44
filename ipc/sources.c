#include "ipc/sources.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int sources_set(Sources *s, const WorkRecord *list, size_t n)
{
    assert(n <= LIMIT_SOURCES && !s->known);
    s->known = true;
    for (; s->n < n; s->n++) {
        char *id = strdup(list[s->n].id);

        if (!id)
            return -ENOMEM;
        s->list[s->n] = (WorkRecord){
            .id = id,
            .modality = list[s->n].modality, /* a static word */
            .score = list[s->n].score,
            .rank = list[s->n].rank,
        };
    }
    return 0;
}

void sources_deinit(Sources *s)
{
    for (size_t i = 0; i < s->n; i++)
        free((char *)s->list[i].id);
    *s = (Sources){0};
}

void sources_write(const Sources *s, Writer *w)
{
    if (!s->known)
        return;
    writer_entry_open(w, "sources", "a(sda{sv})");
    writer_open(w, DBUS_TYPE_ARRAY, "(sda{sv})");
    for (size_t i = 0; i < s->n; i++) {
        writer_open(w, DBUS_TYPE_STRUCT, NULL);
        writer_string(w, s->list[i].id);
        writer_basic(w, DBUS_TYPE_DOUBLE, &s->list[i].score);
        writer_open(w, DBUS_TYPE_ARRAY, "{sv}");
        writer_entry_u32(w, "rank", s->list[i].rank);
        writer_entry_string(w, "modality", s->list[i].modality);
        writer_close(w);
        writer_close(w);
    }
    writer_close(w);
    writer_entry_close(w);
}

size_t sources_line(const Sources *s, size_t i, char *line, size_t size)
{
    int n = snprintf(line, size, "%u %.4f %s", s->list[i].rank, s->list[i].score, s->list[i].id);

    assert(n > 0 && (size_t)n < size);
    return (size_t)n;
}
