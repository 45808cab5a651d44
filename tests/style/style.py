#!/usr/bin/python3
"""The style check: include table, white space, headers that compile alone, sizes, words.

usage: style.py ROOT. Prints one line per violation and exits 1 if there is any; a long function is
only warned of. Which folder may include what stands in table.py.
"""

import concurrent.futures
import fnmatch
import os
import platform
import re
import shutil
import subprocess
import sys

import table

C_SUFFIXES = (".c", ".h")
CODE_SUFFIXES = (".c", ".h", ".cu", ".cuh", ".py", ".sh")
TEXT_SUFFIXES = CODE_SUFFIXES + (
    ".md", ".build", ".txt", ".in", ".conf", ".service", ".socket", ".xml", ".catalog", ".yml")
TEXT_NAMES = ("dev", "dev-packages", "dev-packages-train", "dev-packages-lint", "run",
              ".clang-format", ".gitignore", "meson_options.txt")

COLUMNS_MAX = 100
LINES_MAX = 700
FUNCTION_WARN = 60
FUNCTION_MAX = 150
WORDS = re.compile(r"\b(TODO|FIXME|XXX)\b|(?i:\b(stubs?|placeholders?)\b)")
# The check and its own test name what they look for.
SELF = ("tests/style/style.py", "tests/style/test_style.py")


def source_files(root):
    """Paths of the tree's text files relative to root; build folders and caches left out."""
    for folder, names, files in os.walk(root):
        names[:] = sorted(
            name for name in names
            if (not name.startswith(".") or name == ".ci") and name != "__pycache__"
            and not os.path.exists(os.path.join(folder, name, "meson-private"))
            and not os.path.exists(os.path.join(folder, name, "CACHEDIR.TAG")))
        for name in sorted(files):
            path = os.path.join(folder, name)
            if name.endswith(TEXT_SUFFIXES) or name in TEXT_NAMES:
                yield os.path.relpath(path, root)


def folder_of(path):
    parts = path.split("/")[:-1]
    while parts and "/".join(parts) not in table.FOLDERS:
        parts.pop()
    return table.FOLDERS.get("/".join(parts)) if parts else None


def matches(name, pattern):
    """'*' stays within one folder, '**' does not."""
    if "**" in pattern:
        return fnmatch.fnmatchcase(name, pattern.replace("**", "*"))
    return name.count("/") == pattern.count("/") and fnmatch.fnmatchcase(name, pattern)


def check_includes(path, lines):
    folder = folder_of(path)
    if folder is None:
        yield 1, "is a C file in a folder that the include table does not name"
        return
    system = folder.system + folder.only.get(path, [])
    for number, line in enumerate(lines, 1):
        found = re.match(r'\s*#\s*include\s*(?:"([^"]+)"|<([^>]+)>)', line)
        if not found:
            if re.match(r"\s*#\s*include\b", line):
                yield number, "includes what this check cannot read"
            continue
        ours, theirs = found.groups()
        if ours and not any(matches(ours, pattern) for pattern in folder.headers):
            yield number, f'may not include "{ours}"'
        if theirs and not any(pattern.fullmatch(theirs) for pattern in system):
            yield number, f"may not include <{theirs}>"


def check_space(path, data):
    if data and not data.endswith("\n"):
        yield data.count("\n") + 1, "has no newline at its end"
    if data.endswith("\n\n"):
        yield data.count("\n"), "ends with an empty line"
    for number, line in enumerate(data.split("\n"), 1):
        if "\t" in line:
            yield number, "holds a tab"
        if line != line.rstrip():
            yield number, "ends with a blank"
        if path.endswith(C_SUFFIXES) and len(line) > COLUMNS_MAX:
            yield number, f"has {len(line)} columns; {COLUMNS_MAX} are the limit"


def check_words(path, lines):
    for number, line in enumerate(lines, 1):
        found = WORDS.search(line)
        if found:
            yield number, f"holds the word '{found.group(0)}'"


def functions(lines):
    """(name, first line, length) of every function whose closing brace stands in column 1."""
    start = name = None
    for number, line in enumerate(lines, 1):
        if start is None and re.match(r"[A-Za-z_]", line) and "(" in line:
            found = re.search(r"(\w+)\s*\(", re.sub(r"__attribute__\s*\(\(.*?\)\)", "", line))
            name, head = (found.group(1) if found else None), number
        if name and start is None:
            if line.rstrip().endswith("{") and not re.search(r"=\s*\{$", line):
                start = head
            elif line.rstrip().endswith(";"):
                name = None
        if line == "}" and start is not None:
            yield name, start, number - start + 1
            start = name = None


def check_blocking(path, lines):
    """Calls that wait for the bus, outside the functions that may."""
    if not path.startswith(tuple(folder + "/" for folder in table.BLOCKING_FOLDERS)):
        return
    spans = list(functions(lines))
    for number, line in enumerate(lines, 1):
        if not table.BLOCKING.search(line):
            continue
        inside = next((n for n, first, size in spans if first <= number < first + size), None)
        allowed = table.BLOCKING_ALLOWED.get(path, ())
        if "*" not in allowed and inside not in allowed:
            yield number, f"waits for the bus in {inside or 'a declaration'}"


def check_header_alone(root, path, compiler):
    """The header compiled as a program of its own, twice included."""
    source = f'#include "{path}"\n#include "{path}"\n'
    special = [flag for prefix, flags in table.HEADER_FLAGS.items() if path.startswith(prefix)
               for flag in flags]
    if special and platform.machine() != "x86_64":
        return
    run = subprocess.run(
        [*compiler, "-std=gnu11", "-D_GNU_SOURCE", "-Wall", "-Wextra", "-Werror", "-fsyntax-only",
         *special, "-I.", "-x", "c", "-"],
        input=source, capture_output=True, text=True, check=False, cwd=root)
    if run.returncode != 0:
        first = next((line for line in run.stderr.split("\n") if "error" in line), "no message")
        yield 1, f"does not compile alone: {first}"


def header_flags():
    flags = os.environ.get("STYLE_CFLAGS", "").split()
    if flags or not shutil.which("pkg-config"):
        return flags
    run = subprocess.run(["pkg-config", "--cflags", "dbus-1"], capture_output=True, text=True,
                         check=False)
    return run.stdout.split()


def check_file(root, path):
    """Yields (line, message) for one file; a message that begins with 'warning' is not counted."""
    with open(os.path.join(root, path), encoding="utf-8") as file:
        data = file.read()
    lines = data.split("\n")
    yield from check_space(path, data)
    if path not in SELF:
        yield from check_words(path, lines)
    if path.endswith(CODE_SUFFIXES) and len(lines) - 1 > LINES_MAX:
        yield LINES_MAX + 1, f"has {len(lines) - 1} lines; {LINES_MAX} are the limit"
    if not path.endswith(C_SUFFIXES):
        return
    yield from check_includes(path, lines)
    yield from check_blocking(path, lines)
    for name, first, size in functions(lines):
        if size > FUNCTION_MAX:
            yield first, f"{name} has {size} lines; {FUNCTION_MAX} are the limit"
        elif size > FUNCTION_WARN:
            yield first, f"warning: {name} has {size} lines"


def violations(root):
    paths = list(source_files(root))
    for path in paths:
        for line, message in check_file(root, path):
            yield f"{path}:{line}: {message}"
    compiler = [os.environ.get("CC", "cc"), *header_flags()]
    headers = [path for path in paths if path.endswith(".h")]
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        alone = pool.map(lambda path: list(check_header_alone(root, path, compiler)), headers)
        for path, found in zip(headers, alone):
            for line, message in found:
                yield f"{path}:{line}: {message}"


def main(root):
    failed = 0
    for text in violations(root):
        print(text)
        failed += ": warning: " not in text
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1] if len(sys.argv) > 1 else "."))
