#include "engine/base/split.h"

#include <limits.h>
#include <stdint.h>
#include <string.h>

#include "engine/base/unicode.h"
#include "engine/base/utf8.h"

/* clang-format off */
static const SplitRule rules[] = {
    { .names = "percept", .ascii = true },
    { .names = "qwen2", .nfc = true, .fold = true, .mark_letters = true, .digits = 1,
      .newlines = true },
    { .names = "llama-bpe llama3 llama-v3", .whole = true, .bos = true, .fold = true,
      .mark_letters = true, .digits = 3, .newlines = true },
    { .names = "olmo gpt-neox", .nfc = true, .blank_digits = true, .digits = UINT_MAX },
    { .names = "gpt-2 gpt2", .blank_digits = true, .digits = UINT_MAX },
};
/* clang-format on */

const SplitRule *split_find(const char *name, size_t length)
{
    for (size_t i = 0; i < sizeof rules / sizeof *rules; i++)
        for (const char *at = rules[i].names; *at; at += strspn(at, " ")) {
            size_t n = strcspn(at, " ");

            if (n == length && memcmp(at, name, n) == 0)
                return &rules[i];
            at += n;
        }
    return NULL;
}

/* A place in the text and the character there; at the end its width is 0 and it is of no kind. */
typedef struct Cursor {
    const char *text, *end;
    size_t width;
    uint32_t point;
    UnicodeKind kind;
} Cursor;

static Cursor cursor_at(const char *text, const char *end)
{
    Cursor c = {.text = text, .end = end, .kind = UNICODE_OTHER};

    if (text == end)
        return c;
    c.width = utf8_length(text, (size_t)(end - text));
    c.point = utf8_get(text, c.width);
    c.kind = unicode_kind(c.point);
    return c;
}

static Cursor cursor_next(const Cursor *c)
{
    return cursor_at(c->text + c->width, c->end);
}

static bool is_kind(const Cursor *c, UnicodeKind kind)
{
    return c->width > 0 && c->kind == kind;
}

/* Skips at most `max` characters of a kind. */
static Cursor skip_kind(Cursor c, UnicodeKind kind, unsigned max)
{
    for (; max > 0 && is_kind(&c, kind); max--)
        c = cursor_next(&c);
    return c;
}

static bool is_newline(const Cursor *c)
{
    return c->width > 0 && (c->point == '\r' || c->point == '\n');
}

/* A letter of a contraction in lower case. Of the letters there, only s has another form outside
 * ASCII that differs by case alone: the long s. */
static uint32_t fold(const SplitRule *rule, const Cursor *c)
{
    if (!rule->fold || c->width == 0)
        return c->point;
    if (c->point == 0x17f)
        return 's';
    return c->point >= 'A' && c->point <= 'Z' ? c->point | 0x20 : c->point;
}

/* 's 't 're 've 'm 'll 'd; NULL when there is none. */
static const char *contraction_end(const SplitRule *rule, const Cursor *c)
{
    static const char pairs[][2] = {{'r', 'e'}, {'v', 'e'}, {'l', 'l'}};
    Cursor first, second;
    uint32_t a;

    if (c->point != '\'')
        return NULL;
    first = cursor_next(c);
    a = fold(rule, &first);
    if (a == 's' || a == 't' || a == 'm' || a == 'd')
        return first.text + first.width;
    second = cursor_next(&first);
    for (size_t i = 0; i < sizeof pairs / sizeof *pairs; i++)
        if (a == (uint8_t)pairs[i][0] && fold(rule, &second) == (uint8_t)pairs[i][1])
            return second.text + second.width;
    return NULL;
}

/* Whether the character may lead letters that follow it. */
static bool leads_letters(const SplitRule *rule, const Cursor *c)
{
    if (!rule->mark_letters)
        return c->point == ' ';
    return !is_newline(c) && c->kind != UNICODE_NUMBER;
}

/* White space, of which the last character is left to what follows, where anything does. */
static const char *space_end(const SplitRule *rule, Cursor c)
{
    const char *last = c.text, *after_newline = NULL, *start = c.text;

    for (; is_kind(&c, UNICODE_SPACE); c = cursor_next(&c)) {
        last = c.text;
        if (is_newline(&c))
            after_newline = c.text + c.width;
    }
    if (rule->newlines && after_newline)
        return after_newline;
    return c.width == 0 || last == start ? c.text : last;
}

static const char *unicode_piece(const SplitRule *rule, const char *text, const char *end)
{
    Cursor c = cursor_at(text, end), next;
    const char *contraction = contraction_end(rule, &c);

    if (contraction)
        return contraction;
    if (c.kind == UNICODE_LETTER)
        return skip_kind(c, UNICODE_LETTER, UINT_MAX).text;
    next = cursor_next(&c);
    if (is_kind(&next, UNICODE_LETTER) && leads_letters(rule, &c))
        return skip_kind(next, UNICODE_LETTER, UINT_MAX).text;
    if (c.kind == UNICODE_NUMBER)
        return skip_kind(c, UNICODE_NUMBER, rule->digits).text;
    if (is_kind(&next, UNICODE_NUMBER) && c.point == ' ' && rule->blank_digits)
        return skip_kind(next, UNICODE_NUMBER, rule->digits).text;
    if (c.kind == UNICODE_OTHER || (c.point == ' ' && is_kind(&next, UNICODE_OTHER))) {
        next = skip_kind(next, UNICODE_OTHER, UINT_MAX);
        while (rule->newlines && is_newline(&next))
            next = cursor_next(&next);
        return next.text;
    }
    return space_end(rule, c);
}

static UnicodeKind ascii_kind(char c)
{
    return (uint8_t)c < 0x80 ? unicode_kind((uint8_t)c) : UNICODE_OTHER;
}

/* The four alternatives of MODEL.md, section 9, in their order. */
static size_t ascii_piece(const char *text, size_t length)
{
    size_t i = text[0] == ' ' && length > 1 && ascii_kind(text[1]) != UNICODE_SPACE ? 1 : 0;
    UnicodeKind kind = ascii_kind(text[i]);

    if (kind == UNICODE_NUMBER)
        return i + 1;
    for (i++; i < length && ascii_kind(text[i]) == kind; i++)
        ;
    return i;
}

size_t split_next(const SplitRule *rule, const char *text, size_t length)
{
    if (rule->ascii)
        return ascii_piece(text, length);
    return (size_t)(unicode_piece(rule, text, text + length) - text);
}
