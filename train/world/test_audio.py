"""Checks of the audio world: `python3 -m train.world.test_audio` (PERCEPT_ASSETS names the asset packs)."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections import Counter, defaultdict

import numpy as np

from train.world import audio, instruments, mixing, sounds, speech
from train.world import audio_language as lang
from train.world import audio_vocabulary as vocabulary

LENGTHS = (1.28, 2.56, 3.84)


def _rng(seed: int) -> np.random.Generator:
    return np.random.default_rng(seed)


def _many(n: int, split: str, seed: int):
    rng = _rng(seed)
    return [audio.audio_example(rng, LENGTHS[i % 3], split, float(rng.random())) for i in range(n)]


def test_clips():
    """Exact lengths, 16 bits, heard but not clipped, text in plain ASCII, 3 to 6 questions."""
    for i, e in enumerate(_many(240, "train", 1) + _many(240, "test", 2)):
        assert e.audio.dtype == np.int16 and len(e.audio) == round(LENGTHS[i % 3] * 16000), e.captions
        peak = np.abs(e.audio.astype(np.int32)).max()
        assert 300 < peak <= 0.98 * 32768, (peak, e.captions)
        assert 0 <= e.key < 2**63 and 1 <= len(e.captions) <= 3 and 3 <= len(e.qa) <= 6, e.qa
        for text in (*e.captions, *(t for qa in e.qa for t in qa)):
            assert text.isascii() and text and "{" not in text and text == text.strip(), text
        assert len(set(e.qa)) == len(e.qa)


def test_determinism():
    """A seed decides everything, whatever this process did before, and another process agrees."""
    digest = lambda: [(e.key, e.audio.tobytes(), e.captions, e.qa) for e in _many(9, "train", 7)]
    first = digest()
    speech.speak("something else", "en-gb+f2", 190, 60)
    assert digest() == first
    code = "from train.world import audio; import numpy as np, zlib; r = np.random.default_rng(5);" \
           "print(zlib.crc32(audio.speech_example(r, 2.56, 'test', 1.0).audio.tobytes()))"
    runs = {subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, text=True).stdout for _ in range(2)}
    assert len(runs) == 1 and runs.pop().strip().isdigit()


def test_keys():
    """Equal scenes and only those have equal keys: the canonical caption tells scenes apart."""
    caption_of: dict[int, str] = {}
    for e in _many(400, "train", 3):
        answers = {kind: answer for kind, _, answer in e.qa}
        canonical = "someone says: " + answers["speech.transcribe"] if e.skill == "speech" else answers["caption"]
        assert caption_of.setdefault(e.key, canonical) == canonical
    assert len(set(caption_of.values())) == len(caption_of)


def test_sounds_differ():
    """Every class sounds, stays in its time, and is told from the others by its mean spectrum and envelope."""
    def features(s, rng):
        x = mixing.at_level(np.asarray(s.make(rng, s.long, rng.random()), np.float32), -20.0)
        assert np.isfinite(x).all() and 0 < len(x) <= int(s.long * 16000) + 1, s.name
        x = np.pad(x, (0, 24000 - len(x)))
        bands = np.abs(np.fft.rfft(x.reshape(-1, 400), axis=1)) ** 2
        return np.log(bands[:, 1:].reshape(60, 25, 8).sum(2) + 1e-4)

    rng = _rng(4)
    shapes = [np.array([features(s, rng) for _ in range(12)]) for s in sounds.SOUNDS]
    for s, own in zip(sounds.SOUNDS, shapes):
        assert own.std(axis=0).max() > 0.2, f"{s.name} does not vary"
    right = 0
    for i, own in enumerate(shapes):
        for x in own[:4]:
            nearest = [min(((x - y) ** 2).mean() for y in other[4:]) for other in shapes]
            right += int(np.argmin(nearest)) == i
    assert right / (4 * len(shapes)) > 0.85, right / (4 * len(shapes))


def test_splits():
    """Voices, templates, neighbouring sounds and instruments, and filled commands of the two splits are disjoint."""
    assert not set(speech.voices("train")) & set(speech.voices("test"))
    share = len(speech.VARIANTS["test"]) / sum(map(len, speech.VARIANTS.values()))
    assert 0.15 < share < 0.3, share
    for table in (lang._QUESTIONS, lang._CAPTIONS):
        for kind in table["train"]:
            assert table["test"][kind] and not set(table["train"][kind]) & set(table["test"][kind]), kind
    for held_out, n in ((sounds.held_out, len(sounds.SOUNDS)), (instruments.held_out, len(instruments.NAMES))):
        partners = {sum(held_out(i, j) for j in range(n)) for i in range(n)}
        assert len(partners) == 1 and partners.pop() == 4 and not any(held_out(i, i) for i in range(n))
    for split in ("train", "test"):
        rng = _rng(8)
        for _ in range(300):
            groups, _focus = audio._scene(rng, 2.56, split, 1.0)
            for a, b in zip(groups, groups[1:]):
                assert sounds.held_out(a.sound, b.sound) == (split == "test")
            assert audio._held_out_command(audio._slot_command(rng, split)) == (split == "test")


def test_vocabulary():
    assert len(vocabulary.WORDS) >= 250 and len(vocabulary.COMMANDS) >= 120
    assert len(set(vocabulary.COMMANDS)) == len(vocabulary.COMMANDS)
    for text in (*vocabulary.WORDS, *vocabulary.COMMANDS, *vocabulary.NUMBERS):
        assert re.fullmatch(r"[a-z]+( [a-z]+)*", text), text
    assert vocabulary.number(0) == "zero" and vocabulary.number(42) == "forty two" and vocabulary.number(100) == "one hundred"


def _answers(n: int) -> dict[str, list[tuple[str, str]]]:
    """Questions and answers of scenes by kind, most of them without their sound."""
    out = defaultdict(list)
    rng = _rng(11)
    for i in range(n):
        seconds = LENGTHS[i % 3]
        difficulty = float(rng.random())
        groups, focus = audio._scene(rng, seconds, "train", difficulty)
        must, may = audio._sound_questions(rng, groups, focus, "train", audio._layouts(seconds, difficulty))
        for kind, question, answer in must + may:
            out[kind].append((question, answer))
    examples = _many(n // 8, "train", 12)
    for make, share in ((audio.instrument_example, 10), (audio.speech_example, 20)):
        examples += [make(rng, LENGTHS[i % 3], "train", 0.5) for i in range(n // share)]
    for i, e in enumerate(examples):
        for kind, question, answer in e.qa:
            if not kind.startswith("sound.") and (kind != "audio.type" or i < n // 8):
                out[kind].append((question, answer))
    return out


def test_balance():
    """No closed question is answered better than chance by its words or by its commonest answer."""
    answers = _answers(9000)
    for kind, choices in (
            ("sound.count", 5), ("sound.kinds", 3), ("sound.exists", 2), ("sound.order", 2), ("sound.pitch", 2), ("instrument.count", 4),
            ("instrument.motion", 3), ("instrument.exists", 2), ("speech.words", 4), ("speech.contains", 2), ("audio.type", 3)):
        counts, chance = Counter(a for _, a in answers[kind]), 1 / choices
        room = 0.01 + 4 * np.sqrt(chance * (1 - chance) / counts.total())
        assert len(counts) == choices and counts.total() > 100, (kind, counts)
        assert max(counts.values()) / counts.total() < chance + room, (kind, counts)
    for kind in ("sound.class", "sound.first", "sound.last", "sound.after", "sound.before", "sound.louder"):
        counts = Counter(a for _, a in answers[kind])
        assert len(counts) == len(sounds.SOUNDS) and max(counts.values()) / counts.total() < 2.5 / len(sounds.SOUNDS), (kind, counts)
    asked = defaultdict(Counter)
    for question, answer in answers["sound.exists"]:
        asked[next(s.name for s in sorted(sounds.SOUNDS, key=lambda s: -len(s.one)) if s.one in question.lower())][answer] += 1
    for name, counts in asked.items():
        assert 0.3 < counts["yes"] / counts.total() < 0.7, (name, counts)


def test_speech():
    x = speech.speak("open the file manager", speech.voices("train")[0], 160, 50)
    assert x.dtype == np.int16 and 0.8 < len(x) / 16000 < 2.0
    assert not np.array_equal(x, speech.speak("open the file manager", speech.voices("train")[1], 160, 50))
    assert len(speech.speak("open the file manager", rate=200)) < len(speech.speak("open the file manager", rate=130))
    clip = audio.speech_of(_rng(1), "a red circle and two blue squares", 3.84, "train")
    assert clip.dtype == np.int16 and len(clip) == 61440
    assert audio.speech_of(_rng(1), "far too many words for so short a clip " * 3, 1.28, "train") is None
    try:
        speech.speak("hello", "en-us+nobody")
    except ValueError:
        return
    raise AssertionError("an unknown voice was accepted")


def test_arithmetic():
    """Resampling keeps a tone and its level; mu-law is true to 2%; levels are what they say."""
    t = np.arange(22050) / 22050
    y = mixing.resampled(np.sin(2 * np.pi * 1000 * t).astype(np.float32), 320, 441)
    expected = np.sin(2 * np.pi * 1000 * np.arange(len(y)) / 16000)
    assert len(y) == 16000 and np.abs(y - expected)[400:-400].max() < 0.01
    z = np.linspace(-1, 1, 999).astype(np.float32)
    assert np.abs(mixing.mulaw_decoded(mixing.mulaw_encoded(z)) - z).max() < 0.025
    tone = np.sin(2 * np.pi * 500 * np.arange(16000) / 16000).astype(np.float32)
    assert abs(20 * np.log10(mixing.level(mixing.at_level(tone, -20.0))) + 20) < 0.1


if __name__ == "__main__":
    if not os.environ.get("PERCEPT_ASSETS"):
        sys.exit("set PERCEPT_ASSETS: `python3 -m train.world.audio_assets build OUT` makes what it names")
    for name, test in list(globals().items()):
        if name.startswith("test_"):
            test()
            print("ok", name, flush=True)
