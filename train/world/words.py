"""Words, numbers and short interface strings, drawn in many fonts to be read."""

from __future__ import annotations

import string
from functools import lru_cache

from PIL import Image, ImageDraw

from train.world import assets, canvas
from train.world.example import BUCKETS, Example, coin, draw, key_of, pick, sample
from train.world.language import NUMBERS, ask, caption
from train.world.phrases import INTERFACE

LETTER_SHARE = 0.02     # a first or last letter is asked for so that none comes up much more often than this
LONGEST = 10
RANDOM = 0.15           # share of words that are random letters


class Lexicon:
    """The word list by length, and how often each letter begins or ends a word that is shown."""

    def __init__(self, words):
        self.by_length = {n: [w for w in words if len(w) == n] for n in range(1, LONGEST + 1)}
        self.by_start: dict = {}
        for word in words:
            self.by_start.setdefault((len(word), word[0]), []).append(word)
        self.share = [self._shares(0), self._shares(-1)]

    def _shares(self, at: int) -> dict[str, float]:
        """Of each letter at this end, the lengths being equally likely and a part being random letters."""
        shares = dict.fromkeys(string.ascii_lowercase, RANDOM / 26)
        for words in self.by_length.values():
            for word in words:
                shares[word[at]] += (1 - RANDOM) / len(words) / LONGEST
        return shares


@lru_cache(maxsize=1)
def lexicon() -> Lexicon:
    return Lexicon(assets.load().words)


def random_letters(rng, n: int) -> str:
    return "".join(pick(rng, string.ascii_lowercase) for _ in range(n))


def number_text(rng) -> str:
    kind = draw(rng, 0, 5)
    if kind == 0:
        return f"{draw(rng, 0, 23):02}:{draw(rng, 0, 59):02}"
    if kind == 1:
        return f"{draw(rng, 0, 100)}%"
    if kind == 2:
        return f"{draw(rng, 1, 999)}.{draw(rng, 0, 99):02}"
    if kind == 3:
        return f"{draw(rng, 1, 2000)} {pick(rng, ('KB', 'MB', 'GB', 'ms', 'km'))}"
    return str(draw(rng, 0, 10 ** draw(rng, 1, 6)))


def cased(rng, word: str) -> str:
    """A letter alone stays small, since many capitals differ from it in size only; and a capital I before random letters
    might be an l."""
    at = rng.random() if len(word) > 1 else 1.0
    if at < 0.12:
        return word.upper()
    return word.capitalize() if at < 0.25 and word in known_words() else word


def word_of(rng, n: int) -> str:
    """A word of n letters, in lower case, or at times random letters."""
    return random_letters(rng, n) if n == 1 or coin(rng, RANDOM) else pick(rng, lexicon().by_length[n])


@lru_cache(maxsize=None)
def interface(most: int) -> list[str]:
    return [text for text in INTERFACE if len(text) <= most]


def text_of(rng, difficulty: float, most: int) -> tuple[str, str]:
    """What to write and its sort: a word (its length uniform), an interface string or a number."""
    at = rng.random()
    if at < 0.70 or difficulty < 0.2:
        return cased(rng, word_of(rng, draw(rng, 1, max(3, round(LONGEST * min(1.0, 2 * difficulty)))))), "word"
    if at < 0.88:
        return pick(rng, interface(most)), "interface"
    return number_text(rng), "number"


# --- drawing ------------------------------------------------------------------------------------


def pair_of_colours(rng, split: str):
    """(text, ground, dark on light?) with plenty of contrast in light."""
    dark = coin(rng, 0.5)
    while True:
        ground, ink = canvas.any_colour(rng, split == "test" and coin(rng, 0.3)), canvas.any_colour(rng, False)
        if coin(rng, 0.4):
            ink = (0, 0, 0) if dark else (255, 255, 255)
        if coin(rng, 0.3):
            ground = (255, 255, 255) if dark else (20, 20, 24)
        contrast = canvas.light(ground) - canvas.light(ink)
        if (contrast if dark else -contrast) > 90:
            return ink, ground, dark


def fitting_font(rng, split: str, text: str, room: int, lo: int, hi: int):
    """(font, its box of the text): a random font at a random size at which the text is at most room wide, or None."""
    pack = assets.load()
    for _ in range(6):
        number = pick(rng, pack.font_ids[split])
        size = draw(rng, lo, hi)
        while size >= lo:
            font = pack.font(number, size)
            box = font.getbbox(text)
            if box[2] - box[0] <= room:
                return font, box
            size = min(size - 1, int(size * room / (box[2] - box[0])))
    return None


def write(rng, page: Image.Image, text: str, font, box, ink, x: float, y: float) -> None:
    """Draws text so that its ink box begins at (x, y)."""
    ImageDraw.Draw(page).text((round(x) - box[0], round(y) - box[1]), text, font=font, fill=ink)


def slot(rng, page, text: str, area, split: str, ink, lo: int, hi: int) -> bool:
    """Writes text somewhere in area (x0, y0, x1, y1)."""
    room_x, room_y = area[2] - area[0] - 4, area[3] - area[1]
    found = fitting_font(rng, split, text, room_x, lo, hi)
    if not found:
        return False
    font, box = found
    free_x, free_y = max(0, room_x - (box[2] - box[0])), max(0, room_y - (box[3] - box[1]))
    write(rng, page, text, font, box, ink, area[0] + 2 + free_x * rng.random(), area[1] + free_y * rng.random())
    return True


SIZES = {  # of a font, in pixels
    "line": (16, 27), "square": (16, 30), "small": (14, 22), "wide": (16, 30), "tall": (16, 26), "detail": (16, 40)}


def word_example(rng, bucket: str, split: str, difficulty: float) -> Example:
    h, w = BUCKETS[bucket]
    lo, hi = SIZES[bucket]
    most = {"line": 24, "small": 5, "tall": 8, "square": 10, "wide": 14, "detail": 18}[bucket]
    two = h >= 90 and coin(rng, 0.35 * difficulty)
    ink, ground, dark = pair_of_colours(rng, split)
    while True:
        lines, sorts = zip(*(text_of(rng, difficulty, most) for _ in range(1 + two)))
        if max(map(len, lines)) > most:
            continue
        page = canvas.background(rng, (w, h), ground, split, 0.5 * difficulty)
        areas = [(0, i * h // len(lines), w, (i + 1) * h // len(lines)) for i in range(len(lines))]
        if all(slot(rng, page, text, area, split, ink, lo, hi) for text, area in zip(lines, areas)):
            break
    told = " ".join(lines)
    qa = [ask(rng, split, "word.read", told), ask(rng, split, "caption", f'the text "{told}"')]
    if two:
        qa += [ask(rng, split, "word.line", lines[0], "word.line1"), ask(rng, split, "word.line", lines[1], "word.line2")]
    else:
        qa += [is_question(rng, split, told, sorts[0], most)]
        qa += word_questions(rng, split, told) if sorts[0] == "word" else []
    if len(qa) < 6 and coin(rng, 0.3):
        qa.append(ask(rng, split, "word.shade", "dark on light" if dark else "light on dark"))
    return Example(
        skill="word", key=key_of("text", told), image=canvas.finish(rng, page, 0.7 * difficulty),
        captions=[caption(rng, split, "word", x=told) for _ in range(2)], spoken=spoken_text(told),
        qa=sample(rng, qa, len(qa)))


def spoken_text(text: str) -> str:
    words = text.split()
    return text if len(words) <= 4 and all(w.isalpha() and (len(w) > 3 and w.lower() in known_words()) for w in words) else ""


@lru_cache(maxsize=1)
def known_words() -> frozenset:
    return frozenset(assets.load().words)


def word_questions(rng, split: str, text: str) -> list:
    out = []
    if coin(rng, 0.4):
        out.append(ask(rng, split, "word.letters", NUMBERS[len(text)]))
    end = draw(rng, 0, 1)
    letter = text[-end].lower()
    if coin(rng, 0.4 * min(1.0, LETTER_SHARE / lexicon().share[end][letter])):
        out.append(ask(rng, split, "word.last" if end else "word.first", letter))
    # Capitals are rarer than small letters: small ones are asked for only as often.
    if len(text) > 1 and (text.isupper() or text.islower() and coin(rng, 0.16)):
        out.append(ask(rng, split, "word.case", "upper case" if text.isupper() else "lower case"))
    return out


def is_question(rng, split: str, text: str, sort: str, most: int):
    """The text itself, or another that is drawn like it."""
    if coin(rng):
        return ask(rng, split, "word.is", "yes", what=f'"{text}"')
    while True:
        other = other_text(rng, text, sort, most)
        if other != text:
            return ask(rng, split, "word.is", "no", what=f'"{other}"')


def other_text(rng, text: str, sort: str, most: int) -> str:
    """For a word one of its length and case, half of the time with its first letter."""
    if sort == "interface":
        return pick(rng, interface(most))
    if sort == "number":
        return number_text(rng)
    alike = lexicon().by_start.get((len(text), text[0].lower()), [])
    other = pick(rng, alike) if len(alike) > 1 and coin(rng) else word_of(rng, len(text))
    return other.upper() if text.isupper() else other.capitalize() if text[0].isupper() else other
