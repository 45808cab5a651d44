"""Sample arithmetic of the audio world: levels, noise, filters, resampling, rooms and the final 16-bit clip.

Everything works on float32 arrays at 16 kHz. Filters act on spectra, since numpy has no recursive filter that is fast.
"""

from __future__ import annotations

import numpy as np

RATE = 16000
BLOCK = 480         # 30 ms: levels are those of the loudest block, so a click and a drone of equal level sound alike


def level(x: np.ndarray) -> float:
    """Root mean square of the loudest 30 ms."""
    n = len(x) // BLOCK
    if n < 2:
        return float(np.sqrt(np.dot(x, x) / BLOCK)) if len(x) else 0.0
    blocks = x[: n * BLOCK].reshape(n, BLOCK)
    return float(np.sqrt(np.einsum("ij,ij->i", blocks, blocks).max() / BLOCK))


def decibels(db: float) -> float:
    return 10.0 ** (db / 20.0)


def at_level(x: np.ndarray, db: float) -> np.ndarray:
    """x scaled so that its level is db below full scale."""
    now = level(x)
    return x * np.float32(decibels(db) / now) if now > 1e-9 else x


_SMOOTH: list[int] = sorted(
    2**a * 3**b * 5**c for a in range(19) for b in range(6) for c in range(4) if 2**a * 3**b * 5**c <= 400_000
)


def smooth_size(n: int) -> int:
    """The least size of at least n whose transform is quick."""
    return _SMOOTH[int(np.searchsorted(_SMOOTH, n))]


def filtered(x: np.ndarray, gain) -> np.ndarray:
    """x with its spectrum multiplied by gain(frequencies in Hz)."""
    size = smooth_size(len(x) + 256)
    f = np.fft.rfftfreq(size, 1.0 / RATE).astype(np.float32)
    return np.fft.irfft(np.fft.rfft(x, size) * gain(f), size)[: len(x)].astype(np.float32)


def band(low: float, high: float):
    """Gain of a band with soft edges (second order)."""
    return lambda f: 1.0 / np.sqrt((1.0 + (low / np.maximum(f, 1.0)) ** 4) * (1.0 + (f / high) ** 4))


def noise(rng: np.random.Generator, n: int, gain=None) -> np.ndarray:
    """White noise, or noise whose spectrum follows gain, of unit root mean square."""
    if gain is None:
        return rng.standard_normal(n, dtype=np.float32)
    size = smooth_size(n)
    f = np.fft.rfftfreq(size, 1.0 / RATE).astype(np.float32)
    parts = rng.standard_normal((2, len(f)), dtype=np.float32)
    spectrum = (parts[0] + 1j * parts[1]) * gain(f)
    spectrum[0] = 0
    x = np.fft.irfft(spectrum, size)[:n].astype(np.float32)
    return x / np.float32(np.sqrt(np.dot(x, x) / n) + 1e-12)


def background(rng: np.random.Generator, n: int) -> np.ndarray:
    """A quiet, shapeless bed: hiss, pink or brown noise, hum of the mains, or a mixture."""
    kind = int(rng.integers(5))
    if kind == 0:
        return noise(rng, n)
    if kind == 1:
        return noise(rng, n, lambda f: 1.0 / np.sqrt(f + 20.0))
    if kind == 2:
        return noise(rng, n, lambda f: 1.0 / (f + 60.0))
    if kind == 3:
        low = float(rng.uniform(60, 800))
        return noise(rng, n, band(low, low * float(rng.uniform(3, 10))))
    mains = float(rng.choice([50.0, 60.0])) * float(rng.uniform(0.98, 1.02))
    t = np.arange(n, dtype=np.float32) * np.float32(2 * np.pi / RATE)
    hum = sum(float(a) * np.sin(t * np.float32(mains * k) + float(p))
              for k, a, p in zip((1, 2, 3, 5), rng.uniform(0.2, 1.0, 4), rng.uniform(0, 6.28, 4)))
    x = hum.astype(np.float32) + noise(rng, n, lambda f: 1.0 / np.sqrt(f + 20.0)) * np.float32(rng.uniform(0.3, 1.0))
    return x / np.float32(np.sqrt(np.dot(x, x) / n) + 1e-12)


def fade(x: np.ndarray, attack: float = 0.004, release: float = 0.01) -> np.ndarray:
    """x with linear ramps at both ends, in place; seconds."""
    a, r = min(int(attack * RATE), len(x) // 2), min(int(release * RATE), len(x) // 2)
    if a:
        x[:a] *= np.linspace(0, 1, a, endpoint=False, dtype=np.float32)
    if r:
        x[-r:] *= np.linspace(1, 0, r, dtype=np.float32)
    return x


def resampled(x: np.ndarray, up: int, down: int) -> np.ndarray:
    """x at up/down of its rate: band limited through its spectrum, with a soft edge below the new limit."""
    q = smooth_size(-(-(len(x) + 64) // down))
    spectrum = np.fft.rfft(x, q * down)
    bins = q * up // 2 + 1
    out = np.zeros(bins, np.complex128)
    kept = min(bins, len(spectrum))
    out[:kept] = spectrum[:kept]
    edge = max(1, kept // 24)
    out[kept - edge : kept] *= 0.5 + 0.5 * np.cos(np.linspace(0, np.pi, edge))
    n = -(-len(x) * up // down)
    return (np.fft.irfft(out, q * up)[:n] * (up / down)).astype(np.float32)


def telephone(rng: np.random.Generator, x: np.ndarray) -> np.ndarray:
    return filtered(x, band(float(rng.uniform(150, 320)), float(rng.uniform(2800, 5500))))


def room(rng: np.random.Generator, x: np.ndarray) -> np.ndarray:
    """x in a small room: a decaying noise tail, 8 to 20 dB below the direct sound."""
    n = int(rng.uniform(0.05, 0.18) * RATE)
    tail = rng.standard_normal(n, dtype=np.float32) * np.exp(np.linspace(0, -6.9, n, dtype=np.float32))
    tail[: int(0.004 * RATE)] = 0
    tail *= np.float32(decibels(float(rng.uniform(-20, -8))) / np.sqrt(np.dot(tail, tail)))
    tail[0] = 1.0
    size = smooth_size(len(x) + n)
    return np.fft.irfft(np.fft.rfft(x, size) * np.fft.rfft(tail, size), size)[: len(x)].astype(np.float32)


def mulaw_encoded(x: np.ndarray) -> np.ndarray:
    """float32 in [-1, 1] -> uint8."""
    y = np.sign(x) * np.log1p(255.0 * np.abs(np.clip(x, -1, 1))) / np.log(256.0)
    return np.round((y + 1.0) * 127.5).astype(np.uint8)


_MULAW = None


def mulaw_decoded(x: np.ndarray) -> np.ndarray:
    global _MULAW
    if _MULAW is None:
        y = np.arange(256) / 127.5 - 1.0
        _MULAW = (np.sign(y) * (256.0 ** np.abs(y) - 1.0) / 255.0).astype(np.float32)
    return _MULAW[x]


def finished(rng: np.random.Generator, x: np.ndarray, difficulty: float, loudness: float, weakest: float = 0.0) -> np.ndarray:
    """The clip: a room at times, noise below the weakest part, peak or loudness bound, 16 bits.

    loudness: level in dB below full scale of the strongest part; weakest: dB of the weakest part below the strongest."""
    if rng.random() < 0.2 * difficulty:
        x = room(rng, x)
    x = at_level(x, loudness)
    snr = float(rng.uniform(40.0 - 30.0 * difficulty, 40.0))
    x = x + background(rng, len(x)) * np.float32(decibels(loudness + weakest - snr))
    peak = float(np.abs(x).max())
    if peak > 0.97:
        x = x * np.float32(0.97 / peak)
    return np.round(x * 32767.0).astype(np.int16)
