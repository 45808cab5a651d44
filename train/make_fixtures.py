"""The small files of tests/fixtures: `python3 -m train.make_fixtures ASSETS [OUT]`.

Scenes of the test split, drawn with the world's own shapes, sounds and voices, with fonts and emoji under the SIL Open
Font License or the Apache License. fixtures.json says of each file what it shows, and asks about it.
The files come out the same each time, but for the stream number that each OGG draws. Needs numpy, Pillow and
libsndfile.
"""

from __future__ import annotations

import ctypes
import ctypes.util
import json
import os
import sys

import numpy as np
from PIL import Image

from train.world import assets, audio, image
from train.world.example import Example
from train.world.mixing import RATE

SEED = 24
# libsndfile's numbers for container, subtype and mode
FORMATS = {".wav": 0x010002, ".flac": 0x170002, ".ogg": 0x200060}
SFM_WRITE = 0x20


class SoundInfo(ctypes.Structure):
    _fields_ = [("frames", ctypes.c_int64), ("samplerate", ctypes.c_int), ("channels", ctypes.c_int),
                ("format", ctypes.c_int), ("sections", ctypes.c_int), ("seekable", ctypes.c_int)]


def write_sound(path: str, samples: np.ndarray, rate: int = RATE) -> None:
    """samples: int16 [n] or [n, channels]."""
    library = ctypes.CDLL(ctypes.util.find_library("sndfile") or "libsndfile.so.1")
    library.sf_open.restype = ctypes.c_void_p
    library.sf_writef_short.restype = ctypes.c_int64
    samples = np.ascontiguousarray(samples.reshape(len(samples), -1), np.int16)
    info = SoundInfo(samplerate=rate, channels=samples.shape[1], format=FORMATS[os.path.splitext(path)[1]])
    file = library.sf_open(path.encode(), SFM_WRITE, ctypes.byref(info))
    if not file:
        raise OSError(f"libsndfile cannot write {path}")
    written = library.sf_writef_short(ctypes.c_void_p(file), samples.ctypes.data_as(ctypes.c_void_p),
                                      ctypes.c_int64(len(samples)))
    library.sf_close(ctypes.c_void_p(file))
    if written != len(samples):
        raise OSError(f"{path}: {written} of {len(samples)} frames written")


def upsampled(samples: np.ndarray, factor: int) -> np.ndarray:
    """Band-limited, by zeros in the spectrum."""
    spectrum = np.fft.rfft(samples.astype(np.float64)) * factor
    return np.clip(np.rint(np.fft.irfft(spectrum, len(samples) * factor)), -32768, 32767).astype(np.int16)


def free_assets(path: str) -> None:
    """Keeps of the pack what a repository may show: one set of emoji, no icon themes."""
    assets.load(path).keep_look("emoji")


def with_question(make, kind: str):
    """The first example that has a question of this kind."""
    while True:
        example = make()
        if any(name == kind for name, _, _ in example.qa):
            return example


def scenes(rng):
    """(file, example) of every file, in the order that SEED draws them."""
    def sight(bucket: str, skill: str, kind: str, difficulty: float = 0.3):
        return with_question(lambda: image.image_example(rng, bucket, "test", difficulty, skill=skill), kind)

    def sound(make, seconds: float, kind: str):
        return with_question(lambda: make(rng, seconds, "test", 0.2), kind)

    shapes = sight("square", "shape", "shape.relation")
    voice = audio.speech_of(rng, shapes.spoken, 3.84, "test", 0.2)
    if voice is None:
        raise RuntimeError("the picture's sentence does not fit its clip; take another SEED")
    yield "shapes.jpg", shapes
    yield "shapes-spoken.ogg", Example("speech", shapes.key, audio=voice, captions=shapes.captions, qa=[
        ("speech.transcribe", "What is said?", shapes.spoken)])
    yield "shapes-large.jpg", sight("wide", "shape", "shape.count.all")
    yield "emoji.png", sight("square", "sprite", "sprite.name")
    yield "emoji.webp", sight("small", "sprite", "sprite.name")
    yield "word.png", sight("line", "word", "word.read")
    yield "word.webp", sight("line", "word", "word.read")
    yield "window.png", sight("detail", "window", "window.title", 0.1)
    yield "sound.wav", sound(audio.sound_example, 2.56, "sound.first")
    yield "sound-48000-stereo.flac", sound(audio.sound_example, 1.28, "sound.class")
    yield "sound.ogg", sound(audio.sound_example, 2.56, "sound.class")
    yield "speech.wav", sound(audio.speech_example, 2.56, "speech.command")
    yield "speech.flac", sound(audio.speech_example, 1.28, "speech.transcribe")
    yield "speech.ogg", sound(audio.speech_example, 2.56, "speech.transcribe")


def write(path: str, name: str, example) -> None:
    if example.image is not None:
        picture = Image.fromarray(example.image)
        if name == "shapes-large.jpg":
            picture = picture.resize((picture.width * 8, picture.height * 8), Image.Resampling.LANCZOS)
        options = {".jpg": {"quality": 88}, ".png": {"optimize": True}, ".webp": {"quality": 90}}
        picture.save(path, **options[os.path.splitext(name)[1]])
    elif name == "sound-48000-stereo.flac":
        left = upsampled(example.audio, 3)
        write_sound(path, np.stack([left, left // 2], axis=1), 3 * RATE)
    else:
        write_sound(path, example.audio)


def main() -> None:
    if len(sys.argv) not in (2, 3):
        sys.exit(__doc__)
    out = sys.argv[2] if len(sys.argv) == 3 else "tests/fixtures"
    os.environ["PERCEPT_ASSETS"] = sys.argv[1]
    free_assets(sys.argv[1])
    os.makedirs(out, exist_ok=True)
    listed = []
    for name, example in scenes(np.random.default_rng(SEED)):
        write(os.path.join(out, name), name, example)
        listed.append({
            "file": name,
            "skill": example.skill,
            "captions": example.captions,
            "questions": [{"kind": k, "question": q, "answer": a} for k, q, a in example.qa],
        })
    with open(os.path.join(out, "fixtures.json"), "w", encoding="utf-8") as file:
        json.dump(listed, file, indent=1)
        file.write("\n")


if __name__ == "__main__":
    main()
