#pragma once

/* UTF-8 as RFC 3629 has it: no overlong forms, no surrogates, nothing past U+10FFFF. */

#include <stddef.h>
#include <stdint.h>
#include <string.h>

/* Bytes of the code point at the start of text, n >= 1; 0 when there is no sound one. */
static inline size_t utf8_length(const char *text, size_t n)
{
    const uint8_t *s = (const uint8_t *)text;
    size_t length = s[0] < 0x80 ? 1 : s[0] < 0xc2 ? 0 : s[0] < 0xe0 ? 2 : s[0] < 0xf0 ? 3 : 4;
    uint8_t low = 0x80, high = 0xbf; /* of the second byte */

    if (length == 0 || length > n || s[0] > 0xf4)
        return 0;
    if (s[0] == 0xe0)
        low = 0xa0;
    else if (s[0] == 0xed)
        high = 0x9f;
    else if (s[0] == 0xf0)
        low = 0x90;
    else if (s[0] == 0xf4)
        high = 0x8f;
    for (size_t i = 1; i < length; i++, low = 0x80, high = 0xbf)
        if (s[i] < low || s[i] > high)
            return 0;
    return length;
}

/* Where no sound code point begins, n >= 1: bytes of the longest part that one could begin with,
 * at least 1. U+FFFD stands for each (Unicode Standard, section 3.9). */
static inline size_t utf8_broken(const char *text, size_t n)
{
    size_t length = 1;

    for (; length < n && length < 4; length++) {
        char part[4] = {'\x80', '\x80', '\x80', '\x80'}; /* what would complete it */

        memcpy(part, text, length + 1);
        if (utf8_length(part, sizeof part) <= length)
            break;
    }
    return length;
}

/* The sound code point of `length` bytes at the start of text. */
static inline uint32_t utf8_get(const char *text, size_t length)
{
    const uint8_t *s = (const uint8_t *)text;
    uint32_t point = length == 1 ? s[0] : s[0] & (0x7fu >> length);

    for (size_t i = 1; i < length; i++)
        point = point << 6 | (s[i] & 0x3f);
    return point;
}

/* Writes a code point, at most 4 bytes, and returns how many. */
static inline size_t utf8_put(uint32_t point, char *out)
{
    if (point < 0x80) {
        out[0] = (char)point;
        return 1;
    }
    if (point < 0x800) {
        out[0] = (char)(0xc0 | point >> 6);
        out[1] = (char)(0x80 | (point & 0x3f));
        return 2;
    }
    if (point < 0x10000) {
        out[0] = (char)(0xe0 | point >> 12);
        out[1] = (char)(0x80 | (point >> 6 & 0x3f));
        out[2] = (char)(0x80 | (point & 0x3f));
        return 3;
    }
    out[0] = (char)(0xf0 | point >> 18);
    out[1] = (char)(0x80 | (point >> 12 & 0x3f));
    out[2] = (char)(0x80 | (point >> 6 & 0x3f));
    out[3] = (char)(0x80 | (point & 0x3f));
    return 4;
}
