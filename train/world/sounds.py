"""The sounds of a desktop and its surroundings, each a small synthesiser of one event.

A synthesiser takes (rng, seconds, height): how long the event lasts at most, and where in its range of pitch it
lies (0 low, 1 high). What it draws from rng makes the timbre; the mixer sets the level.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Callable

import numpy as np

from train.world.example import draw, pick, span
from train.world.mixing import RATE, band, fade, filtered, noise

TAU = np.float32(2 * np.pi)


@dataclass(frozen=True)
class Sound:
    name: str           # the answer: 'bell'
    one: str            # 'a bell'
    many: str           # 'bells'; '' where events of the class cannot be counted by ear
    short: float        # seconds of one event, least and most
    long: float
    make: Callable
    pitched: bool = False


def _time(seconds: float) -> np.ndarray:
    return np.arange(max(64, int(seconds * RATE)), dtype=np.float32) / np.float32(RATE)


def _height(lo: float, hi: float, height: float) -> float:
    return lo * (hi / lo) ** height


def _sweep(hz: np.ndarray) -> np.ndarray:
    """Phase in radians of an oscillator whose frequency moves."""
    return (np.cumsum(hz, dtype=np.float64) * (2 * np.pi / RATE) % (2 * np.pi)).astype(np.float32)


def _decay(t: np.ndarray, seconds: float) -> np.ndarray:
    """An exponential that falls by 60 dB in these seconds."""
    return np.exp(t * np.float32(-6.9 / seconds))


def _partials(t: np.ndarray, hz: float, ratios, gains, decays=None) -> np.ndarray:
    x = np.zeros_like(t)
    for i, (ratio, gain) in enumerate(zip(ratios, gains)):
        if hz * ratio < RATE / 2.1:
            part = np.sin(t * (TAU * np.float32(hz * ratio))) * np.float32(gain)
            x += part if decays is None else part * _decay(t, decays[i])
    return x


def _saw(phase: np.ndarray, top: int, tilt: float = 1.0) -> np.ndarray:
    """A band-limited saw from its first harmonics."""
    x = np.zeros_like(phase)
    for k in range(1, top + 1):
        x += np.sin(phase * np.float32(k)) * np.float32(k**-tilt)
    return x


def _tick(rng, hz: float, seconds: float, grit: float = 0.5) -> np.ndarray:
    """A struck resonance: what clicks, keys and knocks are made of."""
    t = _time(seconds)
    x = np.sin(t * (TAU * np.float32(hz)) + np.float32(span(rng, 0, 6.28))) + np.float32(grit) * noise(rng, len(t))
    return x * _decay(t, seconds)


def _place(x: np.ndarray, part: np.ndarray, at: float, gain: float = 1.0) -> None:
    start = int(at * RATE)
    n = min(len(part), len(x) - start)
    if n > 0:
        x[start : start + n] += part[:n] * np.float32(gain)


def beep(rng, seconds, height):
    t = _time(seconds)
    return fade(np.sin(t * (TAU * np.float32(_height(260, 3200, height)))), 0.004, 0.006)


def _chirp(rng, seconds, height, up):
    t = _time(seconds)
    low = _height(300, 1500, height)
    hz = low * span(rng, 1.9, 3.2) ** (t / t[-1])
    return fade(np.sin(_sweep(hz if up else hz[::-1])), 0.008, 0.012)


def chirp_up(rng, seconds, height):
    return _chirp(rng, seconds, height, True)


def chirp_down(rng, seconds, height):
    return _chirp(rng, seconds, height, False)


def siren(rng, seconds, height):
    t = _time(seconds)
    rate, depth, middle = span(rng, 1.8, 4.0), span(rng, 0.25, 0.4), _height(600, 1300, height)
    wave = np.sin(t * (TAU * np.float32(rate)) + np.float32(span(rng, 0, 6.28)))
    phase = _sweep(middle * np.exp2(np.float32(depth * 1.6) * wave))
    return fade(_saw(phase, 4, span(rng, 0.8, 1.5)), 0.03, 0.05)


def bell(rng, seconds, height):
    t = _time(seconds)
    hz = _height(420, 1700, height)
    ratios = np.array((1.0, 2.0, 2.76, 4.1, 5.4)) * (1 + rng.normal(0, 0.015, 5))
    ring = seconds * span(rng, 1.2, 1.9)
    return fade(_partials(t, hz, ratios, (1.0, 0.6, 0.8, 0.5, 0.35), ring / np.array((1, 1.2, 1.5, 2.2, 3.0))), 0.001, 0.02)


def alarm(rng, seconds, height):
    """Quick pulses of a hard high tone, three or four and a pause."""
    t = _time(seconds)
    hz, rate = _height(1700, 2900, height), span(rng, 9, 13)
    pulses = draw(rng, 3, 4)
    at = t * np.float32(rate)
    on = ((at % 1.0) < 0.55) & ((at.astype(np.int32) % (pulses + 1)) < pulses)
    tone = np.sin(t * (TAU * np.float32(hz))) + np.float32(0.4) * np.sin(t * (TAU * np.float32(3 * hz)) * (3 * hz < 7600))
    return fade(tone * on, 0.002, 0.01)


def telephone_ring(rng, seconds, height):
    t = _time(seconds)
    lo = _height(380, 480, height)
    trill = np.float32(0.55) + np.float32(0.45) * np.sign(np.sin(t * (TAU * np.float32(span(rng, 17, 23)))))
    return fade((np.sin(t * TAU * np.float32(lo)) + np.sin(t * TAU * np.float32(lo * 1.09)) +
                 np.float32(0.5) * np.sin(t * TAU * np.float32(lo * 3))) * trill, 0.01, 0.02)


def keypad(rng, seconds, height):
    """One key of a telephone: two tones."""
    t = _time(seconds)
    row, column = pick(rng, (697, 770, 852, 941)), pick(rng, (1209, 1336, 1477))
    return fade(np.sin(t * TAU * np.float32(row)) + np.sin(t * TAU * np.float32(column)), 0.003, 0.005)


def click(rng, seconds, height):
    x = np.zeros(int(seconds * RATE), np.float32)
    _place(x, _tick(rng, _height(2200, 4200, height), span(rng, 0.006, 0.014), 0.9), 0)
    return x


def typing(rng, seconds, height):
    x = np.zeros(int(seconds * RATE), np.float32)
    hz, at = span(rng, 1200, 3000), span(rng, 0, 0.02)
    while at < seconds - 0.05:
        _place(x, _tick(rng, hz * span(rng, 0.7, 1.4), span(rng, 0.015, 0.035), 1.5), at, span(rng, 0.4, 1.0))
        _place(x, _tick(rng, span(rng, 250, 500), 0.03, 0.4), at + 0.004, span(rng, 0.2, 0.5))
        at += span(rng, 0.055, 0.15)
    return x


def knock(rng, seconds, height):
    x = np.zeros(int(seconds * RATE), np.float32)
    hz = _height(180, 420, height)
    length = min(seconds, span(rng, 0.07, 0.12))
    _place(x, _tick(rng, hz, length, 0.15) + _tick(rng, hz * span(rng, 2.2, 2.9), length, 0.1) * np.float32(0.5), 0)
    return fade(x, 0.001, 0.01)


def drum(rng, seconds, height):
    t = _time(min(seconds, span(rng, 0.2, 0.4)))
    low = _height(48, 85, height)
    phase = _sweep(low * (1 + 2.2 * np.exp(-t * np.float32(span(rng, 28, 45)))))
    hit = noise(rng, len(t), band(60, 900)) * np.exp(-t * np.float32(120)) * np.float32(0.35)
    return fade((np.sin(phase) * _decay(t, t[-1] * 1.2) + hit).astype(np.float32), 0.001, 0.03)


def clap(rng, seconds, height):
    n = max(int(0.1 * RATE), int(min(seconds, 0.16) * RATE))
    t = np.arange(n, dtype=np.float32) / np.float32(RATE)
    envelope = np.zeros(n, np.float32)
    for i in range(3):
        start = int(i * span(rng, 0.008, 0.012) * RATE)
        envelope[start:] = np.maximum(envelope[start:], np.exp(-t[: n - start] * np.float32(60 if i == 2 else 300)))
    middle = _height(900, 1600, height)
    return fade(noise(rng, n, band(middle * 0.6, middle * 1.8)) * envelope, 0.0005, 0.01)


def engine(rng, seconds, height):
    t = _time(seconds)
    hz = _height(28, 62, height) * (1 + span(rng, -0.15, 0.35) * t / t[-1] + 0.01 * np.sin(t * np.float32(span(rng, 20, 50))))
    phase = _sweep(hz)
    pulse = np.maximum(np.sin(phase), 0) ** 3
    rough = noise(rng, len(t), band(60, 500)) * pulse
    return fade(_saw(phase, 10, 0.7) * np.float32(0.5) + rough * np.float32(span(rng, 0.8, 1.6)), 0.05, 0.08)


def static(rng, seconds, height):
    return fade(noise(rng, int(seconds * RATE)), 0.003, 0.005)


def wind(rng, seconds, height):
    t = _time(seconds)
    middle = span(rng, 280, 600)
    x = noise(rng, len(t), lambda f: 1.0 / (1.0 + ((f - middle) / 90.0) ** 2))
    x += np.float32(0.4) * noise(rng, len(t), band(40, 250))
    swell = 0.55 + 0.45 * np.sin(t * (TAU * np.float32(span(rng, 0.7, 1.6))) + np.float32(span(rng, 0, 6.28)))
    return fade((x * swell).astype(np.float32), 0.12, 0.15)


def rain(rng, seconds, height):
    n = int(seconds * RATE)
    drops = np.zeros(n, np.float32)
    count = int(seconds * span(rng, 120, 260))
    drops[rng.integers(0, n, count)] = rng.uniform(0.2, 1.0, count).astype(np.float32) ** 2 * 12
    drops *= np.where(rng.random(n) < 0.5, -1, 1).astype(np.float32)
    x = filtered(drops, band(2200, 5500)) * np.float32(2.5) + noise(rng, n, band(1800, 6500)) * np.float32(0.25)
    return fade(x, 0.06, 0.08)


def drop(rng, seconds, height):
    """A drop of water: a short resonance that rises."""
    t = _time(min(seconds, span(rng, 0.06, 0.11)))
    hz = _height(500, 1100, height) * (1 + span(rng, 1.0, 1.8) * (t / t[-1]) ** 2)
    return fade(np.sin(_sweep(hz)) * np.exp(-t * np.float32(28)), 0.003, 0.01)


def bird(rng, seconds, height):
    x = np.zeros(int(seconds * RATE), np.float32)
    base, step, at = _height(3000, 4600, height), span(rng, 0.07, 0.12), 0.0
    bend, ripple = span(rng, 0.15, 0.35) * pick(rng, (-1, 1)), span(rng, 40, 70)
    while at + 0.05 < seconds:
        t = _time(step * span(rng, 0.55, 0.75))
        hz = base * span(rng, 0.92, 1.08) * (1 + bend * t / t[-1] + 0.06 * np.sin(t * TAU * np.float32(ripple)))
        _place(x, fade(np.sin(_sweep(hz)), 0.008, 0.012), at, span(rng, 0.6, 1.0))
        at += step
    return x


def whistle(rng, seconds, height):
    """Breathy, with vibrato and a rise and fall at its ends: what a beep is not."""
    t = _time(seconds)
    shape = np.abs(np.sin(np.pi * t / t[-1])) ** np.float32(0.35)
    hz = _height(650, 2300, height) * (0.8 + 0.2 * shape) * (1 + 0.025 * np.sin(t * TAU * np.float32(span(rng, 6, 9))))
    tone = np.sin(_sweep(hz))
    breath = noise(rng, len(t), band(1200, 5000)) * np.float32(span(rng, 0.12, 0.22))
    return fade(((tone + breath) * shape).astype(np.float32), 0.03, 0.04)


def buzzer(rng, seconds, height):
    t = _time(seconds)
    hz = _height(95, 330, height)
    x = _saw(t * (TAU * np.float32(hz)), min(24, int(6000 / hz)), 0.45)
    return fade(np.tanh(x * np.float32(0.8)), 0.004, 0.006)


def heartbeat(rng, seconds, height):
    x = np.zeros(int(seconds * RATE), np.float32)
    beat, at = span(rng, 0.42, 0.55), 0.0
    hz = _height(45, 65, height)
    while at + 0.2 < seconds or at == 0.0:
        for offset, gain, pitch in ((0.0, 1.0, hz), (span(rng, 0.14, 0.17), 0.75, hz * 1.25)):
            t = _time(0.09)
            _place(x, np.sin(t * TAU * np.float32(pitch)) * np.sin(np.pi * t / t[-1]) ** 2, at + offset, gain)
        at += beat
    return x


def shutter(rng, seconds, height):
    x = np.zeros(int(seconds * RATE), np.float32)
    gap = span(rng, 0.075, 0.11)
    for at, hz in ((0.0, span(rng, 2600, 3800)), (gap, span(rng, 1500, 2200))):
        _place(x, _tick(rng, hz, 0.02, 1.2), at)
    whirr = noise(rng, int((gap - 0.02) * RATE), band(2500, 6000)) * np.float32(0.05)
    _place(x, whirr, 0.018)
    return x


def laser(rng, seconds, height):
    """Very fast, wide falls of a hollow tone, repeated."""
    x = np.zeros(int(seconds * RATE), np.float32)
    high, shots = _height(3200, 5200, height), max(2, int(seconds / span(rng, 0.09, 0.13)))
    for i in range(shots):
        t = _time(seconds / shots * 0.9)
        phase = _sweep(180 + high * np.exp(-t * np.float32(5.0 / t[-1])))
        _place(x, fade(np.sin(phase) + np.sin(phase * 3) * np.float32(0.33), 0.001, 0.01), i * seconds / shots)
    return x


def explosion(rng, seconds, height):
    t = _time(seconds)
    boom = noise(rng, len(t), lambda f: 1.0 / (f + 60.0)) * np.exp(-t * np.float32(4.0 / seconds))
    crack = noise(rng, len(t), band(100, 3000)) * np.exp(-t * np.float32(22)) * np.float32(0.9)
    return fade(np.tanh((boom + crack) * np.float32(1.5)).astype(np.float32), 0.003, 0.06)


def modem(rng, seconds, height):
    """Data as tones: a new one of a set every hundredth of a second."""
    n = int(seconds * RATE)
    symbol = int(span(rng, 0.012, 0.02) * RATE)
    tones = np.array((1000, 1350, 1700, 2050)) * _height(0.85, 1.2, height)
    hz = np.repeat(tones[rng.integers(0, 4, n // symbol + 1)], symbol)[:n]
    return fade(np.sin(_sweep(hz)) + noise(rng, n, band(900, 2600)) * np.float32(0.25), 0.004, 0.006)


def chime(rng, seconds, height):
    """A doorbell: a soft high note, then a lower one."""
    x = np.zeros(int(seconds * RATE), np.float32)
    hz, fall = _height(560, 1000, height), pick(rng, (0.794, 0.749))
    for at, pitch in ((0.0, hz), (seconds * span(rng, 0.38, 0.45), hz * fall)):
        t = _time(seconds - at)
        _place(x, _partials(t, pitch, (1.0, 2.0, 3.0), (1.0, 0.25, 0.08)) * _decay(t, seconds * 1.1), at)
    return fade(x, 0.002, 0.02)


def cricket(rng, seconds, height):
    t = _time(seconds)
    hz, rate = _height(4200, 5600, height), span(rng, 28, 40)
    group = ((t * np.float32(span(rng, 4, 6))) % 1.0) < 0.65
    pulse = np.maximum(0, np.sin(t * TAU * np.float32(rate))) ** np.float32(0.7)
    return fade(np.sin(t * TAU * np.float32(hz)) * pulse * group, 0.01, 0.01)


def horn(rng, seconds, height):
    """A vehicle's horn: two steady notes a third apart, rich in harmonics."""
    t = _time(seconds)
    hz = _height(190, 480, height)
    x = sum(_saw(t * TAU * np.float32(f), min(9, int(5000 / f)), 0.9) for f in (hz, hz * span(rng, 1.24, 1.27)))
    return fade(x, 0.02, 0.03)


def glass(rng, seconds, height):
    """A breaking glass: a crash, then many high fragments."""
    n = int(seconds * RATE)
    t = np.arange(n, dtype=np.float32) / np.float32(RATE)
    x = noise(rng, n, band(2500, 7500)) * np.exp(-t * np.float32(45)) * np.float32(0.8)
    for _ in range(14):
        at = abs(rng.normal(0, 0.3)) * seconds
        part = _time(span(rng, 0.05, 0.16))
        hz = span(rng, 2600, 7200)
        _place(x, np.sin(part * TAU * np.float32(hz)) * _decay(part, part[-1]), at, span(rng, 0.15, 0.5))
    return x


def coin_sound(rng, seconds, height):
    """A game's coin: two square notes, the second a fourth higher and longer."""
    t = _time(seconds)
    hz = np.where(t < min(0.07, seconds * 0.4), 1.0, 1.335) * _height(750, 1250, height)
    phase = _sweep(hz)
    x = np.sin(phase) + np.sin(phase * 3) / 3 + np.sin(phase * 5) / 5
    return fade(x * _decay(t, seconds * 1.6), 0.001, 0.01)


def spring(rng, seconds, height):
    """Boing: a twang whose pitch wobbles ever faster while it dies."""
    t = _time(seconds)
    wobble = np.sin(TAU * (np.float32(7) * t + np.float32(9) * t * t))
    phase = _sweep(_height(180, 330, height) * np.exp2(np.float32(0.7) * wobble * (1 - np.float32(0.4) * t / t[-1])))
    return fade(_saw(phase, 5, 1.1) * _decay(t, seconds * 1.5), 0.002, 0.03)


def frog(rng, seconds, height):
    """A croak: pulses at a low rate through one resonance."""
    n = int(seconds * RATE)
    x = np.zeros(n, np.float32)
    rate, tone = span(rng, 32, 52), _height(500, 900, height)
    one = _tick(rng, tone, 0.022, 0.2)
    at = 0.0
    while at < seconds - 0.02:
        _place(x, one, at, 0.4 + 0.6 * np.sin(np.pi * min(1.0, at / seconds)))
        at += 1.0 / (rate * span(rng, 0.97, 1.03))
    return x


def scratch(rng, seconds, height):
    """A saw through wood: noise in strokes, to and fro."""
    t = _time(seconds)
    stroke = (t * np.float32(span(rng, 3.6, 5.0))) % 2.0
    forth = stroke < 1.0
    envelope = np.abs(np.sin(np.pi * (stroke % 1.0))) ** np.float32(0.5)
    up, down = noise(rng, len(t), band(900, 2200)), noise(rng, len(t), band(2600, 5200))
    teeth = np.float32(0.6) + np.float32(0.4) * np.sign(np.sin(t * TAU * np.float32(span(rng, 70, 110))))
    return fade(np.where(forth, up, down) * envelope * teeth, 0.01, 0.02)


def robot(rng, seconds, height):
    """A computer of an old film: a random square tone every tenth of a second."""
    n = int(seconds * RATE)
    step = int(span(rng, 0.055, 0.09) * RATE)
    hz = np.repeat(_height(350, 700, height) * np.exp2(rng.uniform(0, 2.2, n // step + 1)), step)[:n]
    gate = (np.arange(n) % step) < step * 0.8
    phase = _sweep(hz)
    return fade((np.sin(phase) + np.sin(phase * 3) / 3) * gate, 0.002, 0.005)


SOUNDS: tuple[Sound, ...] = (
    Sound("beep", "a beep", "beeps", 0.08, 0.32, beep, True),
    Sound("rising chirp", "a rising chirp", "rising chirps", 0.13, 0.35, chirp_up),
    Sound("falling chirp", "a falling chirp", "falling chirps", 0.13, 0.35, chirp_down),
    Sound("siren", "a siren", "", 0.5, 1.3, siren),
    Sound("bell", "a bell", "bells", 0.14, 0.6, bell, True),
    Sound("alarm clock", "an alarm clock", "", 0.45, 1.0, alarm),
    Sound("telephone", "a telephone", "", 0.4, 1.0, telephone_ring),
    Sound("keypad tone", "a keypad tone", "keypad tones", 0.08, 0.25, keypad),
    Sound("click", "a click", "clicks", 0.04, 0.06, click),
    Sound("typing", "typing", "", 0.45, 1.2, typing),
    Sound("knock", "a knock", "knocks", 0.1, 0.16, knock),
    Sound("drum", "a drum", "drum beats", 0.14, 0.4, drum),
    Sound("clap", "a clap", "claps", 0.1, 0.16, clap),
    Sound("engine", "an engine", "", 0.45, 1.3, engine),
    Sound("static", "static", "bursts of static", 0.12, 0.5, static),
    Sound("wind", "wind", "", 0.5, 1.4, wind),
    Sound("rain", "rain", "", 0.45, 1.4, rain),
    Sound("water drop", "a water drop", "water drops", 0.07, 0.12, drop),
    Sound("bird", "a bird", "", 0.35, 0.9, bird),
    Sound("whistle", "a whistle", "whistles", 0.15, 0.6, whistle, True),
    Sound("buzzer", "a buzzer", "buzzers", 0.12, 0.5, buzzer, True),
    Sound("heartbeat", "a heartbeat", "", 0.45, 1.2, heartbeat),
    Sound("camera shutter", "a camera shutter", "camera shutters", 0.15, 0.18, shutter),
    Sound("laser", "a laser", "", 0.3, 0.6, laser),
    Sound("explosion", "an explosion", "", 0.4, 1.2, explosion),
    Sound("modem", "a modem", "", 0.4, 1.1, modem),
    Sound("doorbell", "a doorbell", "", 0.45, 0.9, chime),
    Sound("cricket", "a cricket", "", 0.45, 1.1, cricket),
    Sound("horn", "a horn", "horns", 0.14, 0.6, horn, True),
    Sound("breaking glass", "breaking glass", "", 0.35, 0.7, glass),
    Sound("coin", "a coin", "coins", 0.14, 0.35, coin_sound),
    Sound("spring", "a spring", "", 0.4, 0.8, spring),
    Sound("frog", "a frog", "", 0.3, 0.6, frog),
    Sound("saw", "a saw", "", 0.45, 1.1, scratch),
    Sound("robot", "a robot", "", 0.4, 0.9, robot),
)
NAMES = tuple(s.name for s in SOUNDS)
COUNTABLE = tuple(i for i, s in enumerate(SOUNDS) if s.many)
HELD_OUT_STEPS = (4, 11)


def held_out(i: int, j: int) -> bool:
    """Whether these two classes are heard side by side only in tests; as many partners for every class."""
    return (i - j) % len(SOUNDS) in HELD_OUT_STEPS or (j - i) % len(SOUNDS) in HELD_OUT_STEPS
