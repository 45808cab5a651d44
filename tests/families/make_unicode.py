#!/usr/bin/env python3
"""Write engine/base/unicode-tables.c: what the splitting rules and NFC know of Unicode.

The tables follow the version that the reference tokenizers use, 16.0, so that no string is cut
elsewhere. Needs unicodedata2==16.0.0 (PyPI), Python's unicodedata at a fixed version.

    python3 tests/families/make_unicode.py > engine/base/unicode-tables.c
"""
import sys

import unicodedata2 as unicode

VERSION = "16.0.0"
LETTER, NUMBER, SPACE = 1, 2, 3
SPACES = [*range(0x9, 0xE), 0x20, 0x85, 0xA0, 0x1680, *range(0x2000, 0x200B), 0x2028, 0x2029,
          0x202F, 0x205F, 0x3000]  # the property White_Space
HANGUL = range(0xAC00, 0xD7A4)  # composed by arithmetic


def points():
    return (p for p in range(0x110000) if not 0xD800 <= p < 0xE000)


def kind(point):
    if point in SPACES:
        return SPACE
    return {"L": LETTER, "N": NUMBER}.get(unicode.category(chr(point))[0], 0)


def runs(value):
    """Where a value of code points changes, and to what."""
    before, out = 0, []
    for p in points():
        v = value(p)
        if v != before:
            out.append((p, v))
            before = v
    return out


def decompositions():
    """(point, first, second, whether the pair composes again), second 0 for singletons."""
    for p in points():
        text = unicode.decomposition(chr(p))
        if not text or text.startswith("<") or p in HANGUL:
            continue
        parts = [int(x, 16) for x in text.split()] + [0]
        composes = parts[1] != 0 and unicode.normalize("NFC", chr(p)) == chr(p)
        yield p, parts[0], parts[1], int(composes)


def table(type_, name, rows):
    print(f"\nconst {type_} {name}[] = {{")
    line = "   "
    for row in rows:
        if len(line) + len(row) + 2 > 100:
            print(line)
            line = "   "
        line += f" {row},"
    print(line + "\n};")
    print(f"const size_t {name}_count = {len(rows)};")


def main():
    if unicode.unidata_version != VERSION:
        sys.exit(f"this is Unicode {unicode.unidata_version}, not {VERSION}")
    pairs = list(decompositions())
    order = sorted((i for i, row in enumerate(pairs) if row[3]), key=lambda i: pairs[i][1:3])
    print(f"/* Unicode {VERSION}, written by tests/families/make_unicode.py. */\n")
    print('#include "engine/base/unicode.h"\n')
    print("/* clang-format off */")
    table("uint32_t", "unicode_kinds", [f"0x{p << 2 | v:x}" for p, v in runs(kind)])
    table("uint32_t", "unicode_marks",
          [f"0x{p << 8 | v:x}" for p, v in runs(lambda p: unicode.combining(chr(p)))])
    table("UnicodePair", "unicode_pairs",
          [f"{{{p},{a},{b}}}" for p, a, b, _ in pairs])
    table("uint16_t", "unicode_composed", [str(i) for i in order])
    print("/* clang-format on */")


if __name__ == "__main__":
    main()
