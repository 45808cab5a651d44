"""The audio part of the asset pack: `python3 -m train.world.audio_assets build OUT`.

OUT/espeak/ gets espeak-ng's library with English data only, so that a machine without packages can speak;
OUT/audio.pack gets single notes of a General MIDI sound font, as 8-bit mu-law at 16 kHz.
Needs espeak-ng, fluidsynth, timgm6mb-soundfont and gcc.
"""

from __future__ import annotations

import io
import json
import os
import shutil
import struct
import subprocess
import sys
import tempfile
import wave
import zipfile
from functools import lru_cache

import numpy as np

from train.world import mixing, speech

LIBRARIES = "/usr/lib/x86_64-linux-gnu"
DATA_FILES = ("phondata", "phonindex", "phontab", "intonations", "en_dict")
SOUND_FONT = "/usr/share/sounds/sf2/TimGM6mb.sf2"
NOTE_SECONDS = 0.85
SLOT_SECONDS = 2.0      # between note starts, so that releases die away
RENDER_RATE = 48000
# Stands in for the library that plays sound, which is never asked to.
PLAYER = """
struct audio_object;
struct audio_object *create_audio_device_object(const char *d, const char *a, const char *b) { return 0; }
int audio_object_open(struct audio_object *o, int f, unsigned r, unsigned char c) { return -1; }
void audio_object_close(struct audio_object *o) { }
void audio_object_destroy(struct audio_object *o) { }
int audio_object_write(struct audio_object *o, const void *d, unsigned long n) { return -1; }
int audio_object_drain(struct audio_object *o) { return -1; }
int audio_object_flush(struct audio_object *o) { return -1; }
const char *audio_object_strerror(struct audio_object *o, int e) { return "no sound output"; }
"""
# Family: General MIDI programs (from 0) and the keys to render.
FAMILIES: dict[str, tuple[tuple[int, ...], tuple[int, ...]]] = {
    "piano": ((0, 1), (48, 54, 60, 66, 72)),
    "harpsichord": ((6,), (48, 54, 60, 66, 72)),
    "music box": ((10,), (72, 77, 82, 87, 92)),
    "xylophone": ((13,), (67, 72, 77, 82, 87)),
    "organ": ((16, 19), (48, 54, 60, 66, 72)),
    "accordion": ((21,), (55, 60, 65, 70, 75)),
    "guitar": ((24, 25), (45, 50, 55, 60, 65)),
    "electric guitar": ((29, 30), (45, 50, 55, 60, 65)),
    "bass": ((33, 34), (28, 32, 36, 40, 44)),
    "violin": ((40,), (60, 66, 72, 78, 84)),
    "harp": ((46,), (52, 58, 64, 70, 76)),
    "choir": ((52,), (53, 58, 63, 68, 73)),
    "trumpet": ((56,), (58, 63, 68, 73, 78)),
    "tuba": ((58,), (32, 36, 40, 44, 48)),
    "saxophone": ((65, 66), (50, 55, 60, 65, 70)),
    "clarinet": ((71,), (55, 60, 65, 70, 75)),
    "flute": ((73,), (67, 72, 77, 82, 87)),
    "banjo": ((105,), (50, 55, 60, 65, 70)),
    "sitar": ((104,), (50, 55, 60, 65, 70)),
    "steel drum": ((114,), (60, 65, 70, 75, 80)),
}


def pack_path() -> str:
    assets = os.environ.get("PERCEPT_ASSETS")
    if not assets:
        raise FileNotFoundError("no asset pack: set PERCEPT_ASSETS; `python3 -m train.world.audio_assets build OUT` makes one")
    return os.path.join(assets if os.path.isdir(assets) else os.path.dirname(assets), "audio.pack")


@lru_cache(maxsize=1)
def _notes(path: str) -> dict[str, list[dict[int, np.ndarray]]]:
    with zipfile.ZipFile(path) as pack:
        meta = json.loads(pack.read("meta"))
        raw = np.frombuffer(pack.read("notes"), np.uint8)
    notes: dict[str, list[dict[int, np.ndarray]]] = {}
    for m in meta:
        looks = notes.setdefault(m["family"], [])
        while len(looks) <= m["look"]:
            looks.append({})
        looks[m["look"]][m["key"]] = raw[m["at"] : m["at"] + m["size"]]
    return notes


def notes() -> dict[str, list[dict[int, np.ndarray]]]:
    """For each family its instruments, each a note (mu-law) by MIDI key."""
    return _notes(pack_path())


def _variable(n: int) -> bytes:
    out = [n & 127]
    while n := n >> 7:
        out.append(n & 127 | 128)
    return bytes(reversed(out))


def _midi(program: int, keys: tuple[int, ...]) -> bytes:
    """One track at 1000 ticks a second: each key for NOTE_SECONDS, every SLOT_SECONDS."""
    track = b"\x00\xff\x51\x03" + (1_000_000).to_bytes(3, "big") + b"\x00" + bytes((0xC0, program))
    rest = 0
    for key in keys:
        track += _variable(rest) + bytes((0x90, key, 100)) + _variable(int(NOTE_SECONDS * 1000)) + bytes((0x80, key, 0))
        rest = int((SLOT_SECONDS - NOTE_SECONDS) * 1000)
    track += _variable(rest) + b"\xff\x2f\x00"
    return b"MThd" + struct.pack(">IHHH", 6, 0, 1, 1000) + b"MTrk" + struct.pack(">I", len(track)) + track


def _render(program: int, keys: tuple[int, ...]) -> list[np.ndarray]:
    with tempfile.TemporaryDirectory() as d:
        midi, wav = os.path.join(d, "n.mid"), os.path.join(d, "n.wav")
        with open(midi, "wb") as f:
            f.write(_midi(program, keys))
        subprocess.run(["fluidsynth", "-niq", "-R", "0", "-C", "0", "-g", "0.8", "-r", str(RENDER_RATE), "-O", "s16",
                        "-F", wav, SOUND_FONT, midi], check=True, stdout=subprocess.DEVNULL)
        with wave.open(wav) as f:
            stereo = np.frombuffer(f.readframes(f.getnframes()), np.int16).reshape(-1, f.getnchannels())
    x = mixing.resampled(stereo.mean(1).astype(np.float32) / 32768, 1, 3)
    step, length = int(SLOT_SECONDS * mixing.RATE), int(NOTE_SECONDS * mixing.RATE)
    return [x[i * step : i * step + length] for i in range(len(keys))]


def build_notes(out: str) -> None:
    meta, blob = [], io.BytesIO()
    for family, (programs, keys) in FAMILIES.items():
        for look, program in enumerate(programs):
            for key, x in zip(keys, _render(program, keys)):
                start = int(np.argmax(np.abs(x) > 0.02 * np.abs(x).max()))
                x = x[max(0, start - 32) :]
                code = mixing.mulaw_encoded(x * np.float32(0.9 / np.abs(x).max())).tobytes()
                meta.append({"family": family, "look": look, "key": key, "at": blob.tell(), "size": len(code)})
                blob.write(code)
    with zipfile.ZipFile(os.path.join(out, "audio.pack"), "w", zipfile.ZIP_DEFLATED, compresslevel=9) as pack:
        pack.writestr("meta", json.dumps(meta))
        pack.writestr("notes", blob.getvalue())


def build_espeak(out: str) -> None:
    """Everything under one folder: three libraries and espeak-ng-data with English alone."""
    where = os.path.join(out, "espeak")
    shutil.rmtree(where, ignore_errors=True)
    source, data = os.path.join(LIBRARIES, "espeak-ng-data"), os.path.join(where, "espeak-ng-data")
    os.makedirs(os.path.join(data, "lang", "gmw"))
    os.makedirs(os.path.join(data, "voices", "!v"))
    for name in DATA_FILES:
        shutil.copy(os.path.join(source, name), os.path.join(data, name))
    for accent in speech.ACCENTS.values():
        shutil.copy(os.path.join(source, "lang", accent), os.path.join(data, "lang", accent))
    for split in speech.VARIANTS.values():
        for variant in split:
            shutil.copy(os.path.join(source, "voices", "!v", variant), os.path.join(data, "voices", "!v", variant))
    for name in ("libespeak-ng.so.1", "libsonic.so.0"):
        shutil.copy(os.path.join(LIBRARIES, name), os.path.join(where, name))
    subprocess.run(["gcc", "-shared", "-fPIC", "-O1", "-s", "-nostdlib", "-Wl,-soname,libpcaudio.so.0", "-x", "c", "-",
                    "-o", os.path.join(where, "libpcaudio.so.0")], input=PLAYER.encode(), check=True)


def build(out: str) -> None:
    os.makedirs(out, exist_ok=True)
    build_espeak(out)
    build_notes(out)


if __name__ == "__main__":
    if len(sys.argv) != 3 or sys.argv[1] != "build":
        sys.exit("usage: python3 -m train.world.audio_assets build OUT")
    build(sys.argv[2])
