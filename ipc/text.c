#include "ipc/text.h"

#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define REPLACEMENT "\xef\xbf\xbd"

int utf8_sequence(const char *s, size_t left)
{
    const uint8_t *b = (const uint8_t *)s;
    /* The second byte's range excludes overlong forms, surrogates and what lies above U+10FFFF. */
    uint8_t low = b[0] == 0xe0 ? 0xa0 : b[0] == 0xf0 ? 0x90 : 0x80;
    uint8_t high = b[0] == 0xed ? 0x9f : b[0] == 0xf4 ? 0x8f : 0xbf;
    size_t n;

    if (b[0] < 0x80)
        return b[0] != 0;
    if (b[0] < 0xc2 || b[0] > 0xf4)
        return 0;
    n = b[0] < 0xe0 ? 2 : b[0] < 0xf0 ? 3 : 4;
    for (size_t i = 1; i < n; i++) {
        if (i >= left)
            return -1;
        if (b[i] < low || b[i] > high)
            return 0;
        low = 0x80;
        high = 0xbf;
    }
    return (int)n;
}

bool utf8_is_sound(const char *s, size_t length)
{
    for (size_t i = 0; i < length;) {
        int n = utf8_sequence(s + i, length - i);
        if (n <= 0)
            return false;
        i += (size_t)n;
    }
    return true;
}

void text_deinit(TextBuffer *t)
{
    free(t->data);
    *t = (TextBuffer){0};
}

/* Room for `more` bytes and a NUL. */
static int text_reserve(TextBuffer *t, size_t more)
{
    size_t need = t->length + more + 1, capacity = t->capacity ? t->capacity : 256;
    char *data;

    if (need <= t->capacity)
        return 0;
    while (capacity < need)
        capacity *= 2;
    data = realloc(t->data, capacity);
    if (!data)
        return -ENOMEM;
    t->data = data;
    t->capacity = capacity;
    return 0;
}

static void text_put(TextBuffer *t, const char *s, size_t n)
{
    memcpy(t->data + t->length, s, n);
    t->length += n;
    t->data[t->length] = '\0';
}

int text_append(TextBuffer *t, const char *bytes, size_t n)
{
    char joined[4];
    size_t i = 0;
    int r = text_reserve(t, 3 * (t->tail_length + n));

    if (r < 0)
        return r;
    while (t->tail_length + (n - i) > 0) {
        /* A character may begin in the tail, so look at the tail and the next bytes together. */
        size_t held = t->tail_length, left = held + (n - i);
        size_t look = left < sizeof joined ? left : sizeof joined;
        int whole;

        memcpy(joined, t->tail, held);
        memcpy(joined + held, bytes + i, look - held);
        whole = utf8_sequence(joined, look);
        if (whole < 0) {
            memcpy(t->tail, joined, look);
            t->tail_length = look;
            return 0;
        }
        if (whole > 0)
            text_put(t, joined, (size_t)whole);
        else
            text_put(t, REPLACEMENT, 3);
        size_t used = whole > 0 ? (size_t)whole : 1;
        size_t from_tail = used < held ? used : held;
        memmove(t->tail, t->tail + from_tail, held - from_tail);
        t->tail_length = held - from_tail;
        i += used - from_tail;
    }
    return 0;
}

int text_end(TextBuffer *t)
{
    int r;

    if (t->tail_length == 0)
        return 0;
    r = text_reserve(t, 3);
    if (r < 0)
        return r;
    t->tail_length = 0;
    text_put(t, REPLACEMENT, 3);
    return 0;
}

size_t text_prefix(const char *s, size_t length, size_t max)
{
    if (length <= max)
        return length;
    while ((s[max] & 0xc0) == 0x80)
        max--;
    return max;
}
