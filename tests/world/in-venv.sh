#!/bin/sh
# Runs a check of the data world where ./dev train has set up its environment and assets; skipped elsewhere.
# usage: in-venv.sh SOURCE MODULE
set -eu

cd "$1"
export PERCEPT_ASSETS="$1/train/assets" PYTHONDONTWRITEBYTECODE=1
for needed in .venv/bin/python3 train/assets/image.pack train/assets/audio.pack; do
    [ -e "$needed" ] || {
        echo "skipped: no $needed; ./dev train makes it"
        exit 77
    }
done
exec .venv/bin/python3 -m "$2"
