"""Speech from espeak-ng through its library: words in, 16 kHz samples out.

The library and its data are found in the folder PERCEPT_ESPEAK (as audio_assets packs it), in espeak/ beside the
asset packs of PERCEPT_ASSETS, or in the system. The synthesiser keeps the phase of its oscillators from one sentence
to the next, so it is loaded afresh for each: 1 ms that makes a sentence depend on its arguments alone.
"""

from __future__ import annotations

import _ctypes
import ctypes
import os
import threading

import numpy as np

from train.world.mixing import RATE, fade, resampled

ACCENTS = {
    "en-us": "gmw/en-US", "en-gb": "gmw/en", "en-gb-scotland": "gmw/en-GB-scotland", "en-gb-x-rp": "gmw/en-GB-x-rp",
    "en-029": "gmw/en-029", "en-gb-x-gbclan": "gmw/en-GB-x-gbclan", "en-gb-x-gbcwmd": "gmw/en-GB-x-gbcwmd",
    "en-us-nyc": "gmw/en-US-nyc",
}
# Variants that stay intelligible; whispers, croaks, robots with echo and the like are left out.
VARIANTS = {
    "train": ("m1 m2 m3 m5 m6 m8 f1 f2 f4 f5 klatt klatt2 klatt4 Alex Andrea Andy Annie Gene Hugo Jacky "
              "Michael Mike adam antonio belinda benjamin caleb david edward edward2 john linda marcelo max michel miguel "
              "paul pedro quincy rob sandro shelby steph steph2 victor zac").split(),
    "test": "m4 m7 f3 klatt3 Denis Diogo Gene2 Henrique aunty ed pablo steph3 travis".split(),
}
_KNOWN = frozenset(v for split in VARIANTS.values() for v in split)
SYNCHRONOUS, CHARACTERS_ARE_UTF8, RATE_PARAMETER, PITCH_PARAMETER = 2, 1, 1, 3
ESPEAK_RATE = 22050

_lock = threading.Lock()
_parts: list[bytes] = []
_shims: list[ctypes.CDLL] = []


def voices(split: str) -> list[str]:
    """Names that speak() takes: every accent in every variant of the split."""
    return [f"{accent}+{variant}" for accent in ACCENTS for variant in VARIANTS[split]]


def folder() -> str | None:
    """The packed library, or None for the system's."""
    found = os.environ.get("PERCEPT_ESPEAK")
    if not found and os.environ.get("PERCEPT_ASSETS"):
        assets = os.environ["PERCEPT_ASSETS"]
        beside = os.path.join(assets if os.path.isdir(assets) else os.path.dirname(assets), "espeak")
        found = beside if os.path.isdir(beside) else None
    return found


@ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.c_void_p)
def _collect(samples, n, _events):
    if n > 0 and samples:
        _parts.append(ctypes.string_at(samples, 2 * n))
    return 0


def _load() -> tuple[ctypes.CDLL, bytes | None]:
    where = folder()
    if where is None:
        return ctypes.CDLL("libespeak-ng.so.1"), None
    if not _shims:      # what the library needs, by the names it asks for
        _shims.extend(ctypes.CDLL(os.path.join(where, name), ctypes.RTLD_GLOBAL) for name in ("libsonic.so.0", "libpcaudio.so.0"))
    return ctypes.CDLL(os.path.join(where, "libespeak-ng.so.1")), where.encode()


def _synthesised(text: bytes, voice: bytes, rate: int, pitch: int) -> bytes:
    library, data = _load()
    try:
        if library.espeak_Initialize(SYNCHRONOUS, 0, data, 0) != ESPEAK_RATE:
            raise RuntimeError("espeak-ng does not start: its data is missing or of another version")
        library.espeak_SetSynthCallback(_collect)
        if library.espeak_SetVoiceByName(voice):
            raise ValueError(f"espeak-ng has no voice {voice.decode()}")
        library.espeak_SetParameter(RATE_PARAMETER, rate, 0)
        library.espeak_SetParameter(PITCH_PARAMETER, pitch, 0)
        _parts.clear()
        _libc.srand(1)
        library.espeak_Synth(text, len(text) + 1, 0, 1, 0, CHARACTERS_ARE_UTF8, None, None)
        return b"".join(_parts)
    finally:
        library.espeak_Terminate()
        _ctypes.dlclose(library._handle)


_libc = ctypes.CDLL(None)


def trimmed(x: np.ndarray, floor: float = 0.006) -> np.ndarray:
    """x without the silence around it, 10 ms spared."""
    loud = np.flatnonzero(np.abs(x) > floor * np.abs(x).max()) if len(x) else []
    if len(loud) == 0:
        return x[:0]
    margin = RATE // 100
    return x[max(0, loud[0] - margin) : loud[-1] + margin]


def spoken(text: str, voice: str, rate: int, pitch: int) -> np.ndarray:
    """The words as float32 at 16 kHz, trimmed, in the synthesiser's own level."""
    accent, _, variant = voice.partition("+")
    if accent not in ACCENTS or (variant and variant not in _KNOWN):   # espeak-ng would take another without a word
        raise ValueError(f"no voice {voice}")
    name = ACCENTS[accent] + ("+" + variant if variant else "")
    with _lock:
        raw = _synthesised(text.encode(), name.encode(), int(rate), int(pitch))
    x = np.frombuffer(raw, np.int16).astype(np.float32) / np.float32(32768)
    return fade(trimmed(resampled(x, 320, 441)), 0.004, 0.008)


def speak(text: str, voice: str = "en-us", rate: int = 165, pitch: int = 50) -> np.ndarray:
    """The words as int16 at 16 kHz."""
    return np.round(np.clip(spoken(text, voice, rate, pitch), -1, 1) * 32767).astype(np.int16)
