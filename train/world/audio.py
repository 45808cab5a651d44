"""Examples for the ear: sounds, instruments and speech, with captions, questions and answers.

A scene is decided first and rendered after. Each question of a closed kind is drawn so that its words say nothing of
its answer: counts are uniform, yes and no equally likely, classes drawn alike for both.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from train.world import audio_language as lang
from train.world import audio_vocabulary as vocabulary
from train.world import instruments, sounds, speech
from train.world.example import Example, coin, draw, key_of, pick, sample, span
from train.world.mixing import RATE, at_level, finished, telephone

SKILLS = {"sound": 0.40, "speech": 0.45, "instrument": 0.15}
COUNTS = 5                  # a counted class is heard one to five times
LOUD, QUIET, SOFTEST, LOUDEST = -12.0, -24.0, -30.0, -6.0
SEQUENCE_WORDS = 4          # questions about the number of words: one to four
RATES, PITCHES = (130, 210), (25, 75)
SHORT = 2.0                 # clips of fewer seconds hold at most two sounds


def audio_example(rng, seconds: float, split: str, difficulty: float) -> Example:
    at = rng.random()
    if at < SKILLS["sound"]:
        return sound_example(rng, seconds, split, difficulty)
    if at < SKILLS["sound"] + SKILLS["speech"]:
        return speech_example(rng, seconds, split, difficulty)
    return instrument_example(rng, seconds, split, difficulty)


def _type_question(rng, split: str, skill: str, answer: str) -> list:
    """Asked of each skill equally often in all."""
    least = min(SKILLS.values())
    return [("audio.type", lang.question(rng, "audio.type", split), answer)] if rng.random() < 0.4 * least / SKILLS[skill] else []


def _chosen(rng, must: list, may: list, most: int = 6) -> list:
    """must, and of may as many as fit, in random order."""
    qa = must + sample(rng, may, min(len(may), most - len(must)))
    return sample(rng, qa, len(qa))


# ---- sounds


@dataclass
class Group:
    sound: int
    count: int
    height: float
    gain: float     # dB against the strongest


def _layouts(seconds: float, difficulty: float) -> tuple[float, ...]:
    """Chances of one, two and three different sounds."""
    if seconds < SHORT:
        return (0.6, 0.4)
    return (0.5 - 0.1 * difficulty, 0.35, 0.15 + 0.1 * difficulty)


def _next_sound(rng, used: list[int], split: str) -> int:
    """A sound that may follow the last one in this split; every class has as many such partners."""
    while True:
        i = draw(rng, 0, len(sounds.SOUNDS) - 1)
        if i not in used and sounds.held_out(used[-1], i) == (split == "test"):
            return i


def _scene(rng, seconds: float, split: str, difficulty: float) -> tuple[list[Group], int | None]:
    """The groups in order, and which of them has a count that was drawn uniformly."""
    at, kinds = rng.random(), 1
    for p in _layouts(seconds, difficulty)[:-1]:
        kinds, at = (kinds + 1, at - p) if at >= p else (kinds, -1.0)
        if at < 0:
            break
    order = [draw(rng, 0, len(sounds.SOUNDS) - 1)]
    while len(order) < kinds:
        order.append(_next_sound(rng, order, split))
    focus = draw(rng, 0, kinds - 1)
    groups = [Group(i, 1, rng.random(), 0.0) for i in order]
    countable = bool(sounds.SOUNDS[order[focus]].many) and (kinds == 1 or seconds >= SHORT)
    if countable:
        groups[focus].count = draw(rng, 1, COUNTS)
    if kinds == 2:
        if coin(rng):
            groups[draw(rng, 0, 1)].gain = -span(rng, 9, 14)
    return groups, focus if countable else None


def _durations(rng, groups: list[Group], seconds: float) -> tuple[list[float], float]:
    """Seconds of one event of each group, and the silence that is left."""
    gaps = sum(0.07 * (g.count - 1) for g in groups) + 0.13 * (len(groups) - 1) + 0.06
    least = [sounds.SOUNDS[g.sound].short for g in groups]
    wish = [span(rng, 0, 1) * (sounds.SOUNDS[g.sound].long - lo) for g, lo in zip(groups, least)]
    need = sum(g.count * lo for g, lo in zip(groups, least))
    more = sum(g.count * w for g, w in zip(groups, wish))
    spare = max(0.0, seconds - gaps - need)
    scale = min(1.0, spare / more) if more > 0 else 0.0
    shrink = min(1.0, (seconds - gaps) / need)
    return [(lo + w * scale) * shrink for lo, w in zip(least, wish)], spare - more * scale


def _render(rng, groups: list[Group], seconds: float) -> np.ndarray:
    x = np.zeros(round(seconds * RATE), np.float32)
    durations, left = _durations(rng, groups, seconds)
    repeats = sum(g.count - 1 for g in groups)
    inner = min(span(rng, 0.0, 0.22), left / repeats) if repeats else 0.0
    shares = rng.dirichlet(np.ones(len(groups) + 1)) * (left - inner * repeats)
    at = 0.03 + shares[0]
    for g, d, share in zip(groups, durations, shares[1:]):
        s = sounds.SOUNDS[g.sound]
        for i in range(g.count):
            event = at_level(np.asarray(s.make(rng, d, g.height), np.float32), -20.0 + g.gain + span(rng, -1.5, 1.5))
            start = int(at * RATE)
            event = event[: len(x) - start]
            x[start : start + len(event)] += event
            at += d + (0.07 + inner if i < g.count - 1 else 0.0)
        at += 0.13 + share
    return x


def _sound_questions(rng, groups: list[Group], focus: int | None, split: str, chances: tuple[float, ...]) -> tuple[list, list]:
    """Questions that are always asked, and those of which some are."""
    ask = lambda kind, answer, **slots: (kind, lang.question(rng, kind, split, **slots), answer)
    the = lambda g: lang.definite(g.count, g.sound)
    name = lambda g: sounds.SOUNDS[g.sound].name
    present = [g.sound for g in groups]
    parts = [lang.amount(g.count, g.sound) for g in groups]
    must, may = [ask("caption", lang.in_order(parts))], []
    if len(groups) == 1:
        must.append(ask("sound.class", name(groups[0])))
    if focus is not None:
        g = groups[focus]
        must.append(ask("sound.count", lang.NUMBER_WORDS[g.count], many=sounds.SOUNDS[g.sound].many))
    if len(chances) > 2 and rng.random() < 0.6 * min(chances) / chances[len(groups) - 1]:
        must.append(ask("sound.kinds", lang.NUMBER_WORDS[len(groups)]))
    yes = coin(rng)
    asked = pick(rng, present) if yes else pick(rng, [i for i in range(len(sounds.SOUNDS)) if i not in present])
    may.append(ask("sound.exists", "yes" if yes else "no", one=sounds.SOUNDS[asked].one))
    if len(groups) > 1:
        may.append(ask("sound.first", name(groups[0])))
        may.append(ask("sound.last", name(groups[-1])))
        i = draw(rng, 0, len(groups) - 2)
        may.append(ask("sound.after", name(groups[i + 1]), the=the(groups[i])))
        may.append(ask("sound.before", name(groups[i]), the=the(groups[i + 1])))
        a, b = (groups[j] for j in sorted(sample(rng, range(len(groups)), 2)))
        yes = coin(rng)
        a, b = (a, b) if yes else (b, a)
        may.append(ask("sound.order", "yes" if yes else "no", the=the(a), other=the(b)))
        if min(g.gain for g in groups) < -6:
            a, b = sample(rng, groups, 2)
            must.append(ask("sound.louder", name(a if a.gain > b.gain else b), the=the(a), other=the(b)))
    for g in groups:
        if sounds.SOUNDS[g.sound].pitched and not 0.33 < g.height < 0.67:
            may.append(ask("sound.pitch", "high" if g.height > 0.5 else "low", the=the(g)))
    return must, may


def sound_example(rng, seconds: float, split: str, difficulty: float) -> Example:
    groups, focus = _scene(rng, seconds, split, difficulty)
    loudness = span(rng, SOFTEST, LOUDEST)
    samples = finished(rng, _render(rng, groups, seconds), difficulty, loudness, min(g.gain for g in groups))
    must, may = _sound_questions(rng, groups, focus, split, _layouts(seconds, difficulty))
    if not QUIET < loudness < LOUD and len(groups) == 1:
        may.append(("sound.loudness", lang.question(rng, "sound.loudness", split), "loud" if loudness >= LOUD else "quiet"))
    must += _type_question(rng, split, "sound", "sound")
    return Example(
        skill="sound", key=key_of("sound", *((g.count, sounds.SOUNDS[g.sound].name) for g in groups)), audio=samples,
        captions=lang.captions(rng, "sound", split, 2, list=[lang.amount(g.count, g.sound) for g in groups]),
        qa=_chosen(rng, must, may), held_out=split == "test" and len(groups) > 1)


# ---- instruments


def _notes_phrase(n: int, motion: str) -> str:
    if n == 1:
        return "one note"
    return f"{lang.NUMBER_WORDS[n]} equal notes" if motion == "same" else f"{lang.NUMBER_WORDS[n]} {motion} notes"


def _duet(rng, seconds: float, split: str) -> tuple[np.ndarray, list[str]]:
    """Two instruments, a note each."""
    i = draw(rng, 0, len(instruments.NAMES) - 1)
    partners = [j for j in range(len(instruments.NAMES)) if j != i and instruments.held_out(i, j) == (split == "test")]
    names = [instruments.NAMES[i], instruments.NAMES[pick(rng, partners)]]
    parts = [at_level(instruments.melody(rng, n, "same", 1, seconds / 2 - 0.08), -20.0) for n in names]
    gap = np.zeros(int(span(rng, 0.0, seconds - 0.1 - sum(map(len, parts)) / RATE) * RATE), np.float32)
    return np.concatenate([parts[0], gap, parts[1]]), names


def _at_random(rng, x: np.ndarray, seconds: float) -> np.ndarray:
    """x somewhere in a clip of these seconds."""
    out = np.zeros(round(seconds * RATE), np.float32)
    x = x[: len(out)]
    start = draw(rng, 0, len(out) - len(x))
    out[start : start + len(x)] = x
    return out


def instrument_example(rng, seconds: float, split: str, difficulty: float) -> Example:
    ask = lambda kind, answer, **slots: (kind, lang.question(rng, kind, split, **slots), answer)
    one = instruments.ARTICLES
    if coin(rng, 0.3):
        x, names = _duet(rng, seconds, split)
        meaning, phrase = ("duet", *names), f"{one[names[0]]} and then {one[names[1]]}"
        captions = lang.captions(rng, "instruments", split, 2, a=one[names[0]], b=one[names[1]])
        must = [ask("instrument.first", names[0]), ask("instrument.last", names[1]), ask("caption", phrase)]
    else:
        names = [pick(rng, instruments.NAMES)]
        n, motion = draw(rng, 1, 4), pick(rng, instruments.MOTIONS)
        x = instruments.melody(rng, names[0], motion, n, seconds - 0.06)
        notes = _notes_phrase(n, motion)
        meaning, phrase = ("solo", names[0], notes), f"{one[names[0]]} plays {notes}"
        captions = lang.captions(rng, "instrument", split, 2, one=one[names[0]], notes=notes)
        must = [ask("instrument.class", names[0]), ask("instrument.count", lang.NUMBER_WORDS[n]), ask("caption", phrase)]
        if n > 1:
            must.append(ask("instrument.motion", motion))
    yes = coin(rng)
    asked = pick(rng, names) if yes else pick(rng, [i for i in instruments.NAMES if i not in names])
    may = [ask("instrument.exists", "yes" if yes else "no", one=one[asked])]
    must += _type_question(rng, split, "instrument", "music")
    samples = finished(rng, _at_random(rng, x, seconds), difficulty, span(rng, -26.0, LOUDEST), -4.0)
    return Example(skill="instrument", key=key_of("instrument", *meaning), audio=samples, captions=captions, qa=_chosen(rng, must, may))


# ---- speech


def _held_out_command(text: str) -> bool:
    """Fillings of commands with slots that are spoken only in tests."""
    return key_of("command", text) % 8 == 0


def _slot_command(rng, split: str) -> str:
    while True:
        text = pick(rng, vocabulary.SLOT_COMMANDS)
        for name, values in vocabulary.SLOTS.items():
            while "{" + name + "}" in text:
                text = text.replace("{" + name + "}", pick(rng, values), 1)
        if _held_out_command(text) == (split == "test"):
            return text


def _text(rng, seconds: float, split: str) -> tuple[str, str]:
    """(kind, transcript): kind is 'words', 'number' or 'command'."""
    at = rng.random()
    if seconds < SHORT:
        if at < 0.65:
            return "words", pick(rng, vocabulary.WORDS)
        return ("number", pick(rng, vocabulary.NUMBERS)) if at < 0.85 else ("command", pick(rng, vocabulary.COMMANDS))
    if at < 0.35:
        return "words", " ".join(sample(rng, vocabulary.WORDS, draw(rng, 1, SEQUENCE_WORDS)))
    if at < 0.42:
        return "number", pick(rng, vocabulary.NUMBERS)
    return "command", pick(rng, vocabulary.COMMANDS) if at < 0.68 else _slot_command(rng, split)


def _voiced(rng, text: str, seconds: float, split: str) -> np.ndarray | None:
    """The words in a random voice, spoken faster rather than cut; None when they do not fit."""
    voice = f"{pick(rng, list(speech.ACCENTS))}+{pick(rng, speech.VARIANTS[split])}"
    pitch = draw(rng, *PITCHES)
    rate = draw(rng, *RATES)
    if len(text) * 0.045 > seconds:     # even the fastest voice needs this long
        return None
    for attempt in (rate, RATES[1] + 15):
        x = speech.spoken(text, voice, attempt, pitch)
        if 0 < len(x) <= seconds * RATE - 320:
            return x
    return None


def _clip(rng, x: np.ndarray, seconds: float, difficulty: float) -> np.ndarray:
    if coin(rng, 0.15 * difficulty):
        x = telephone(rng, x)
    return finished(rng, _at_random(rng, x, seconds), difficulty, span(rng, -24.0, -5.0), -5.0)


def speech_of(rng, text: str, seconds: float, split: str, difficulty: float = 0.5) -> np.ndarray | None:
    """The text spoken in a clip of exactly these seconds, int16; None when it does not fit."""
    x = _voiced(rng, text, seconds, split)
    return None if x is None else _clip(rng, x, seconds, difficulty)


_PLAIN = frozenset("a an the to of in on is at me my and for it this that".split())


def _contains(rng, words: list[str], seconds: float, split: str) -> tuple[str, str]:
    """(word, yes or no); a word not said comes from another transcript of the same making."""
    while True:
        yes = coin(rng)
        said = words if yes else _text(rng, seconds, split)[1].split()
        words_asked = [w for w in said if w not in _PLAIN and (yes or w not in words)]
        if words_asked:
            return pick(rng, words_asked), "yes" if yes else "no"


def speech_example(rng, seconds: float, split: str, difficulty: float) -> Example:
    x = None
    while x is None:
        kind, text = _text(rng, seconds, split)
        x = _voiced(rng, text, seconds, split)
    words = text.split()
    ask = lambda kind, answer, **slots: (kind, lang.question(rng, kind, split, **slots), answer)
    must = [ask("speech.transcribe", text)]
    if kind == "command":
        must.append(ask("speech.command", text))
    elif kind == "number":
        must.append(ask("speech.number", text))
    elif seconds >= SHORT:
        must.append(ask("speech.words", lang.NUMBER_WORDS[len(words)]))
    word, said = _contains(rng, words, seconds, split)
    may = [ask("speech.contains", said, word=word)]
    if len(words) > 1:
        may += [ask("speech.first", words[0]), ask("speech.last", words[-1])]
    must += _type_question(rng, split, "speech", "speech")
    may.append(ask("caption", "someone says: " + text))
    return Example(
        skill="speech", key=key_of("speech", text), audio=_clip(rng, x, seconds, difficulty),
        captions=lang.captions(rng, "speech", split, 2, text=text), qa=_chosen(rng, must, may, 5),
        held_out=split == "test" and _held_out_command(text))
