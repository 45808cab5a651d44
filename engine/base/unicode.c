#include "engine/base/unicode.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "engine/base/cleanup.h"
#include "engine/base/utf8.h"

/* Hangul syllables are composed by arithmetic: section 3.12 of the standard. */
#define L_BASE  0x1100
#define V_BASE  0x1161
#define T_BASE  0x11a7
#define S_BASE  0xac00
#define L_COUNT 19
#define V_COUNT 21
#define T_COUNT 28
#define S_COUNT (L_COUNT * V_COUNT * T_COUNT)

/* Below this nothing decomposes away or combines, so such text is in form C. */
#define FIRST_MARK 0x300
/* Runs of marks up to this long are sorted by insertion. */
#define SHORT_RUN 16

/* The last entry that begins at or before the point: its low `bits`. */
static uint32_t run_value(const uint32_t *runs, size_t n, unsigned bits, uint32_t point)
{
    size_t low = 0, high = n;

    while (low < high) {
        size_t middle = (low + high) / 2;

        if (runs[middle] >> bits <= point)
            low = middle + 1;
        else
            high = middle;
    }
    return low ? runs[low - 1] & ((1u << bits) - 1) : 0;
}

UnicodeKind unicode_kind(uint32_t point)
{
    if (point < 0x80) {
        uint32_t lower = point | 0x20;

        if (lower >= 'a' && lower <= 'z')
            return UNICODE_LETTER;
        if (point >= '0' && point <= '9')
            return UNICODE_NUMBER;
        return point == ' ' || (point >= '\t' && point <= '\r') ? UNICODE_SPACE : UNICODE_OTHER;
    }
    return (UnicodeKind)run_value(unicode_kinds, unicode_kinds_count, 2, point);
}

static uint8_t mark_class(uint32_t point)
{
    if (point < FIRST_MARK)
        return 0;
    return (uint8_t)run_value(unicode_marks, unicode_marks_count, 8, point);
}

static const UnicodePair *pair_of(uint32_t point)
{
    size_t low = 0, high = unicode_pairs_count;

    while (low < high) {
        size_t middle = (low + high) / 2;

        if (unicode_pairs[middle].point < point)
            low = middle + 1;
        else
            high = middle;
    }
    return low < unicode_pairs_count && unicode_pairs[low].point == point ? &unicode_pairs[low]
                                                                          : NULL;
}

/* What two code points compose to; 0 when they do not. */
static uint32_t compose(uint32_t a, uint32_t b)
{
    size_t low = 0, high = unicode_composed_count;

    if (a - L_BASE < L_COUNT && b - V_BASE < V_COUNT)
        return S_BASE + ((a - L_BASE) * V_COUNT + (b - V_BASE)) * T_COUNT;
    if (a - S_BASE < S_COUNT && (a - S_BASE) % T_COUNT == 0 && b - T_BASE - 1 < T_COUNT - 1)
        return a + (b - T_BASE);
    while (low < high) {
        size_t middle = (low + high) / 2;
        const UnicodePair *p = &unicode_pairs[unicode_composed[middle]];

        if (p->first == a && p->second == b)
            return p->point;
        if (p->first < a || (p->first == a && p->second < b))
            low = middle + 1;
        else
            high = middle;
    }
    return 0;
}

/* Full canonical decomposition of one code point into out (NULL: only counts). */
static size_t decompose(uint32_t point, uint32_t *out)
{
    const UnicodePair *p;
    uint32_t s = point - S_BASE;
    size_t n;

    if (s < S_COUNT) {
        uint32_t parts[] = {L_BASE + s / (V_COUNT * T_COUNT),
                            V_BASE + s % (V_COUNT * T_COUNT) / T_COUNT, T_BASE + s % T_COUNT};

        n = s % T_COUNT ? 3 : 2;
        if (out)
            memcpy(out, parts, n * sizeof *out);
        return n;
    }
    p = point < 0xc0 ? NULL : pair_of(point);
    if (!p) {
        if (out)
            *out = point;
        return 1;
    }
    n = decompose(p->first, out); /* a few levels; the second never decomposes further */
    if (p->second) {
        if (out)
            out[n] = p->second;
        n++;
    }
    return n;
}

/* A run of marks into the order of their classes; equal ones keep theirs. */
static void marks_sort(uint32_t *run, size_t n, uint32_t *spare)
{
    size_t starts[257] = {0};

    if (n <= SHORT_RUN) {
        for (size_t i = 1; i < n; i++) {
            uint32_t point = run[i];
            size_t j = i;

            for (; j > 0 && mark_class(run[j - 1]) > mark_class(point); j--)
                run[j] = run[j - 1];
            run[j] = point;
        }
        return;
    }
    for (size_t i = 0; i < n; i++)
        starts[mark_class(run[i]) + 1]++;
    for (size_t c = 0; c < 256; c++)
        starts[c + 1] += starts[c];
    for (size_t i = 0; i < n; i++)
        spare[starts[mark_class(run[i])]++] = run[i];
    memcpy(run, spare, n * sizeof *run);
}

static void marks_order(uint32_t *points, size_t n, uint32_t *spare)
{
    for (size_t i = 0, end; i < n; i = end) {
        for (end = i; end < n && mark_class(points[end]) != 0; end++)
            ;
        marks_sort(points + i, end - i, spare);
        end += end < n;
    }
}

/* In place: each starter takes in what follows it and is not blocked. Returns the new count. */
static size_t points_compose(uint32_t *points, size_t n)
{
    size_t kept = 0, starter = SIZE_MAX;
    uint8_t before = 0; /* class of the last point kept after the starter; 0: none */

    for (size_t i = 0; i < n; i++) {
        uint8_t class = mark_class(points[i]);
        bool near = kept > 0 && starter == kept - 1;
        uint32_t whole = starter != SIZE_MAX && (near || (before != 0 && before < class))
                             ? compose(points[starter], points[i])
                             : 0;

        if (whole) {
            points[starter] = whole;
            continue;
        }
        if (class == 0)
            starter = kept;
        before = class;
        points[kept++] = points[i];
    }
    return kept;
}

bool unicode_needs_nfc(const char *text, size_t length)
{
    for (size_t i = 0; i < length; i++)
        if ((uint8_t)text[i] >= 0xcc) /* the first byte of U+0300 and above */
            return true;
    return false;
}

static int points_encode(const uint32_t *points, size_t n, char **ret_text, size_t *ret_length)
{
    _cleanup_free_ char *text = malloc(4 * n + 1);
    size_t length = 0;

    if (!text)
        return -ENOMEM;
    for (size_t i = 0; i < n; i++)
        length += utf8_put(points[i], text + length);
    *ret_text = steal_ptr(&text);
    *ret_length = length;
    return 0;
}

int unicode_nfc(const char *text, size_t length, char **ret_text, size_t *ret_length)
{
    _cleanup_free_ uint32_t *points = NULL, *spare = NULL;
    size_t n = 0, at = 0;

    for (size_t i = 0, step; i < length; i += step) {
        step = utf8_length(text + i, length - i);
        n += decompose(utf8_get(text + i, step), NULL);
    }
    points = calloc(n + 1, sizeof *points);
    spare = calloc(n + 1, sizeof *spare);
    if (!points || !spare)
        return -ENOMEM;
    for (size_t i = 0, step; i < length; i += step) {
        step = utf8_length(text + i, length - i);
        at += decompose(utf8_get(text + i, step), points + at);
    }
    marks_order(points, n, spare);
    return points_encode(points, points_compose(points, n), ret_text, ret_length);
}
