#!/bin/sh
# The engine builds with a C compiler and the C library alone: every other dependency switched off, and what was
# linked asked for the libraries it needs.
# usage: engine-alone.sh SOURCE
set -eu

build=$(mktemp -d)
trap 'rm -rf "$build"' EXIT INT TERM
env -u DESTDIR meson setup "$build" "$1" -Doptimization=0 -Ddebug=false \
    -Dservice=disabled -Dmedia=disabled -Dbatch=disabled -Dindex=disabled >"$build/log" || {
    cat "$build/log"
    exit 1
}
ninja -C "$build" tests/unit/test-decoder
others=$(readelf --dynamic "$build/tests/unit/test-decoder" | sed -n 's/.*(NEEDED).*\[\(.*\)\]/\1/p' |
    grep -Ev '^(libc|libm|ld-linux.*)\.so\.[0-9]+$' || true)
if [ -n "$others" ]; then
    echo "the engine also needs: $others"
    exit 1
fi
"$build/tests/unit/test-decoder"
