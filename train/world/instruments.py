"""Short melodies of one instrument, from the notes of the asset pack."""

from __future__ import annotations

import numpy as np

from train.world import audio_assets
from train.world.example import draw, pick, span
from train.world.mixing import RATE, fade, mulaw_decoded

MOTIONS = ("rising", "falling", "same")
NAMES = tuple(audio_assets.FAMILIES)
ARTICLES = {name: ("an " if name[0] in "aeiou" else "a ") + name for name in NAMES}
HELD_OUT_STEPS = (3, 8)


def held_out(i: int, j: int) -> bool:
    """Whether these two instruments follow each other only in tests."""
    return (i - j) % len(NAMES) in HELD_OUT_STEPS or (j - i) % len(NAMES) in HELD_OUT_STEPS


def _note(look: dict[int, np.ndarray], key: float, seconds: float) -> np.ndarray:
    """The nearest rendered note, played at the speed that gives the key."""
    nearest = min(look, key=lambda k: abs(k - key))
    x = mulaw_decoded(look[nearest])
    speed = 2.0 ** ((key - nearest) / 12)
    n = min(int(seconds * RATE), int((len(x) - 1) / speed))
    return fade(np.interp(np.arange(n) * speed, np.arange(len(x)), x).astype(np.float32), 0.001, min(0.05, seconds / 5))


def melody(rng, name: str, motion: str, n_notes: int, seconds: float) -> np.ndarray:
    """n_notes notes in at most these seconds; every step moves two to five semitones, or none."""
    look = pick(rng, audio_assets.notes()[name])
    step = {"rising": 1, "falling": -1, "same": 0}[motion]
    keys = [0.0]
    for _ in range(n_notes - 1):
        keys.append(keys[-1] + step * draw(rng, 2, 5))
    low, high = min(look) - 2, max(look) + 2
    shift = span(rng, low - min(keys), max(low - min(keys), high - max(keys)))
    shift += (round(shift) - shift) * 0.8       # nearly in tune
    length = min(seconds / n_notes, span(rng, 0.26, 0.55 if n_notes > 1 else 0.8))
    x = np.zeros(int(length * n_notes * RATE) + RATE // 50, np.float32)
    gap = span(rng, 0.0, 0.05)
    for i, key in enumerate(keys):
        part = _note(look, key + shift, length - gap)
        at = int(i * length * RATE)
        part = part[: len(x) - at]
        x[at : at + len(part)] += part * np.float32(span(rng, 0.8, 1.0))
    return x
