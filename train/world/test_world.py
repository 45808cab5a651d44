"""Checks of the picture and text world: `python3 -m train.world.test_world` (PERCEPT_ASSETS names the asset pack)."""

from __future__ import annotations

import re
import time
from collections import Counter, defaultdict

import numpy as np

from train.world import assets, canvas, image, language, shape_questions, shapes, sprites, text, windows, words
from train.world.example import BUCKETS

# Chance of each closed kind at full difficulty in the bucket 'square' ('line' for words). In training a kind has two colours
# less and a colour two or three kinds, which the question names.
TRAIN_CHANCE = {"shape.colour": 1 / 10, "shape.kind": 1 / 11}
CHANCE = {
    "shape.count.all": 1 / 6, "shape.count": 1 / 6, "shape.colour": 1 / 12, "shape.kind": 1 / 14, "shape.where": 1 / 9,
    "shape.side": 1 / 2, "shape.height": 1 / 2, "shape.relation": 1 / 2, "shape.relative": 1 / 4, "shape.exists": 1 / 2,
    "shape.fill": 1 / 3, "shape.arrow": 1 / 4, "sprite.is": 1 / 2, "sprite.order": 1 / 2, "sprite.count": 1 / 3,
    "word.is": 1 / 2, "word.letters": 1 / 10, "word.first": 1 / 26, "word.last": 1 / 26, "word.case": 1 / 2, "word.shade": 1 / 2,
    "window.kind": 1 / 8, "window.button.exists": 1 / 2, "window.button.count": 1 / 3, "window.progress": 1 / 11,
    "window.checked": 1 / 2, "window.scheme": 1 / 2,
}
POINTS = 0.03
EXAMPLES = 3000


def rng_of(*seed) -> np.random.Generator:
    return np.random.default_rng(seed)


def examples(n: int, seed: int, split: str):
    """n of any bucket and difficulty."""
    for i in range(n):
        rng = rng_of(seed, i)
        yield image.image_example(rng, list(BUCKETS)[i % len(BUCKETS)], split, rng.random())


def test_shape_of_examples():
    """Sizes, types, plain ASCII, three to six different questions."""
    for split in ("train", "test"):
        for i, e in enumerate(examples(600, 1, split)):
            assert e.image.shape == (*list(BUCKETS.values())[i % len(BUCKETS)], 3) and e.image.dtype == np.uint8
            assert 0 <= e.key < 2**63 and 1 <= len(e.captions) <= 3
            assert 3 <= len(e.qa) <= 6 and len(set(e.qa)) == len(e.qa), e.qa
            for line in (*e.captions, *(t for turn in e.qa for t in turn)):
                assert line and line.isascii() and "{" not in line and line == line.strip(), line
            assert len(e.spoken.split()) <= 12 and e.image.std() > 1


def test_determinism():
    for bucket in BUCKETS:
        for seed in range(20):
            one, two = (image.image_example(rng_of(2, seed), bucket, "train", 0.8) for _ in range(2))
            assert one.key == two.key and one.qa == two.qa and one.captions == two.captions
            assert np.array_equal(one.image, two.image)
    assert text.text_example(rng_of(3), "train") == text.text_example(rng_of(3), "train")


def test_held_out_shapes():
    """Training shows no held-out pair and no text of it names one; test shows all pairs about alike."""
    pairs = {f"{colour} {kind}" for kind, colour in shapes.HELD_OUT}
    assert len(pairs) == 28 and len({p.split()[1] for p in pairs}) == 14 and len({p.split()[0] for p in pairs}) == 12
    pattern = re.compile("|".join(f"{pair}|{language.plural(pair)}" for pair in pairs))
    seen: Counter = Counter()
    for i in range(3000):
        scene, _ = shapes.shape_scene(rng_of(4, i), "square", "train", 1.0)
        assert not any((t.kind, t.colour) in shapes.HELD_OUT for t in scene.things)
        scene, _ = shapes.shape_scene(rng_of(5, i), "square", "test", 1.0)
        seen.update((t.kind, t.colour) for t in scene.things)
    assert len(seen) == 14 * 12
    share = sum(n for pair, n in seen.items() if pair in shapes.HELD_OUT) / sum(seen.values())
    assert abs(share - 28 / 168) < 0.02, share
    for i in range(800):
        e = shapes.shape_example(rng_of(6, i), "square", "train", 1.0)
        for line in (*e.captions, *(t for turn in e.qa for t in turn)):
            assert not pattern.search(line.lower()), line


def test_held_out_fonts():
    pack = assets.load()
    families = {split: {pack.fonts[i]["family"] for i in ids} for split, ids in pack.font_ids.items()}
    assert not families["test"] & families["train"]
    for name in assets.TEST_FAMILIES:
        assert name in families["test"] and not any(family.startswith(name) for family in families["train"]), name
    assert len(families["train"]) >= 48
    used = record_fonts(pack, lambda rng, split: (words.word_example(rng, "line", split, 1.0),
                                                  windows.window_example(rng, "square", split, 1.0)))
    for split in ("train", "test"):
        assert used[split] and used[split] <= set(pack.font_ids[split]), split


def record_fonts(pack, draw) -> dict[str, set[int]]:
    """The fonts that draw asks the pack for, in each split."""
    used: dict[str, set[int]] = {"train": set(), "test": set()}
    plain = pack.font
    try:
        for split, numbers in used.items():
            pack.font = lambda number, size, numbers=numbers: (numbers.add(number), plain(number, size))[1]
            for i in range(150):
                draw(rng_of(7, i), split)
    finally:
        pack.font = plain
    return used


def test_held_out_sprites():
    """Sizes and backgrounds of test do not occur in training."""
    for i in range(4000):
        train, test = (sprites.scale(rng_of(8, i), split) for split in ("train", "test"))
        assert not any(lo <= train <= hi for lo, hi in sprites.TEST_SCALES)
        assert any(lo <= test <= hi for lo, hi in sprites.TEST_SCALES)
    import colorsys
    lo, hi = canvas.TEST_HUES
    for i in range(4000):
        hue, saturation, value = colorsys.rgb_to_hsv(*(c / 255 for c in canvas.any_colour(rng_of(9, i), False)))
        if saturation > 0.1 and value > 0.3:
            assert not lo + 0.02 < hue < hi - 0.02, hue
        hue, _, _ = colorsys.rgb_to_hsv(*(c / 255 for c in canvas.any_colour(rng_of(9, i), True)))
        assert lo - 0.03 < hue < hi + 0.03
    assert not set(canvas.TRAIN_TEXTURES) & set(canvas.TEST_TEXTURES)


def test_held_out_templates():
    """The last of each six never in training; found in test."""
    for table in (language.QUESTIONS, text.TEMPLATES):
        assert all(len(t) == 6 and len(set(t)) == 6 for t in table.values())
    for kind, templates in language.QUESTIONS.items():
        if "{" in templates[5]:
            continue
        plain = templates[5].rstrip("?.").lower()
        asked = {split: {language.ask(rng_of(10, i), split, kind, "", what="", a="", b="", rel="", an_a="", colour="")[1]
                         .rstrip("?.").lower() for i in range(200)} for split in ("train", "test")}
        assert plain not in asked["train"] and plain in asked["test"], kind


def test_sprite_names():
    names = sprites.SPRITE_NAMES
    assert len(names) >= 1000 and len(set(names)) == len(names) and names == assets.load().sprite_names
    assert all(re.fullmatch(r"[a-z0-9]+( [a-z0-9]+)*", name) for name in names)
    assert len(assets.load().words) >= 8000


def test_captions_distinguish():
    """A caption belongs to one key only, and the answer to 'describe' and the key determine each other."""
    key_of_caption: dict = {}
    key_of_told: dict = {}
    told_of_key: dict = {}
    for i in range(6000):
        rng = rng_of(11, i)
        e = image.image_example(rng, list(BUCKETS)[i % len(BUCKETS)], "test" if i % 2 else "train", rng.random())
        for line in e.captions:
            assert key_of_caption.setdefault(line, e.key) == e.key, line
        told = [answer for kind, _, answer in e.qa if kind == "caption"]
        if told:
            told = (e.skill in ("emoji", "icon"), told[0])
            assert key_of_told.setdefault(told, e.key) == e.key and told_of_key.setdefault(e.key, told) == told, told
    assert len(told_of_key) > 3000


def test_keys_are_of_meaning():
    """Moved within its cells, resized and repainted, a scene keeps its key; with a colour changed or mirrored it does not."""
    changed = 0
    for i in range(500):
        rng = rng_of(12, i)
        scene, _ = shapes.shape_scene(rng, "square", "train", 1.0)
        key = scene.key()
        for thing in scene.things:
            thing.x, thing.big, thing.fill = thing.x + 1, not thing.big, "striped"
        assert shapes.Scene(scene.things[::-1], "square").key() == key
        if isinstance(scene.layout, tuple):
            for thing in scene.things:
                thing.cell = (2 - thing.cell[0], 2 - thing.cell[1])
            assert shapes.Scene(scene.things, "square").key() != key
            changed += 1
        for thing in scene.things:
            thing.colour = "white" if thing.colour != "white" else "black"
        assert shapes.Scene(scene.things, "square").key() != key
    assert changed > 100


def question_only(turns) -> float:
    """Right answers of a reader of questions only: of each wording the answer most frequent in the other half, or for
    wordings unseen there the most frequent of the kind; the better of that and the latter alone."""
    halves = (turns[::2], turns[1::2])
    right = {"wording": 0, "kind": 0}
    for known, asked in (halves, halves[::-1]):
        overall = Counter(answer for _, answer in known).most_common(1)[0][0]
        seen: dict = defaultdict(Counter)
        for question, answer in known:
            seen[question][answer] += 1
        best = {question: counts.most_common(1)[0][0] for question, counts in seen.items()}
        right["kind"] += sum(answer == overall for _, answer in asked)
        right["wording"] += sum(answer == best.get(question, overall) for question, answer in asked)
    return max(right.values()) / len(turns)


def content(question: str) -> str:
    """What a question is about, whatever its wording: 'red circles' of 'How many red circles are there?'"""
    return re.sub(r"[^a-z0-9 \"]", "", question.lower())


def shape_turns(n: int, split: str):
    """Questions on n scenes that nobody paints."""
    for i in range(n):
        rng = rng_of(13, i)
        scene, plan = shapes.shape_scene(rng, "square", split, 1.0)
        yield shape_questions.shape_questions(rng, split, scene, plan, scene.describe(), 1.0)


def picture_turns(n: int, split: str):
    for skill, bucket in (("sprite", "square"), ("word", "line"), ("window", "square")):
        for i in range(n):
            yield image.image_example(rng_of(14, i, len(skill)), bucket, split, 1.0, skill).qa


def test_balance():
    """A reader of the question only is within three points of chance, for each closed kind in each split."""
    asked: dict = defaultdict(list)
    for split in ("train", "test"):
        for turns in (*shape_turns(3 * EXAMPLES, split), *picture_turns(EXAMPLES, split)):
            for kind, question, answer in turns:
                asked[kind, split].append((content(question), answer))
    for kind in CHANCE:
        for split in ("train", "test"):
            chance = TRAIN_CHANCE.get(kind, CHANCE[kind]) if split == "train" else CHANCE[kind]
            turns = asked[kind, split]
            score = question_only(turns)
            error = 3 * (chance * (1 - chance) / len(turns)) ** 0.5
            print(f"  {kind} {split}: {len(turns)} asked, chance {100 * chance:.1f}%, question only {100 * score:.1f}%")
            assert len(turns) > 80 and score < chance + POINTS + max(0.0, error - POINTS), kind


def test_text():
    """Each kind of turn in both splits, and sums that are right."""
    kinds = {split: Counter(turn[0] for i in range(1500) for turn in text.text_example(rng_of(15, i), split).qa)
             for split in ("train", "test")}
    assert len(kinds["train"]) >= 20 and kinds["train"].keys() == kinds["test"].keys()
    for i in range(2000):
        kind, question, answer = text.turn(rng_of(16, i), "train", "add")
        numbers = [int(w) if w.isdigit() else language.NUMBERS.index(w) for w in re.findall(r"[a-z]+|\d+", question.lower())
                   if w.isdigit() or w in language.NUMBERS]
        assert len(numbers) == 2 and answer == text.result(sum(numbers)), question


def main() -> None:
    for name, test in list(globals().items()):
        if name.startswith("test_"):
            start = time.perf_counter()
            test()
            print(f"{name}: passed in {time.perf_counter() - start:.1f} s", flush=True)


if __name__ == "__main__":
    main()
