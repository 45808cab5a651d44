"""Text-only turns: small sums, opposites, spelling, order, kinds of things, and small talk about the machine."""

from __future__ import annotations

from functools import lru_cache

from train.world import assets
from train.world.example import Example, coin, draw, key_of, pick, sample
from train.world.language import NUMBERS, a
from train.world.text_facts import DAYS, MONTHS, OPPOSITE_PAIRS, PLURALS, SETS, SIDES, TALK

TEMPLATES = {
    "add": ("What is {a} plus {b}?", "{a} + {b} = ?", "Add {a} and {b}.", "How much is {a} and {b}?", "What do {a} and {b} make?",
            "Tell me the sum of {a} and {b}."),
    "subtract": ("What is {a} minus {b}?", "{a} - {b} = ?", "Take {b} from {a}.", "How much is {a} less {b}?", "Subtract {b} from {a}.",
                 "What is left of {a} without {b}?"),
    "multiply": ("What is {a} times {b}?", "{a} * {b} = ?", "Multiply {a} by {b}.", "How much is {a} times {b}?",
                 "What do {a} times {b} make?", "Tell me the product of {a} and {b}."),
    "double": ("What is twice {a}?", "Double {a}.", "What is the double of {a}?", "How much is two times {a}?", "What do I get when I double {a}?",
               "Tell me twice {a}."),
    "next": ("Which number comes after {a}?", "What is one more than {a}?", "What number follows {a}?", "Name the number after {a}.",
             "What comes next after {a}?", "Count on from {a} by one."),
    "before": ("Which number comes before {a}?", "What is one less than {a}?", "What number precedes {a}?", "Name the number before {a}.",
               "What comes just before {a}?", "Count back from {a} by one."),
    "larger": ("Which is larger, {a} or {b}?", "Which is the larger number, {a} or {b}?", "{a} or {b}: which is more?", "Name the larger of {a} and {b}.",
               "Which one is greater: {a} or {b}?", "What is the greatest of {a} and {b}?"),
    "is_larger": ("Is {a} larger than {b}?", "Is {a} more than {b}?", "Is {a} greater than {b}?", "Yes or no: is {a} larger than {b}?",
                  "Would you say {a} is more than {b}?", "Does {a} exceed {b}?"),
    "parity": ("Is {a} odd or even?", "Is {a} an odd or an even number?", "Odd or even: {a}?", "Is the number {a} even or odd?",
               "What is {a}, odd or even?", "Which is {a}: even or odd?"),
    "opposite": ("What is the opposite of {a}?", "Name the opposite of {a}.", "What is the contrary of {a}?", "{a} is the opposite of what?",
                 "Which word is the opposite of {a}?", "Tell me the antonym of {a}."),
    "spell": ("Spell {a}.", "How do you spell {a}?", "Spell the word {a}.", "What are the letters of {a}?", "Write {a} letter by letter.",
              "Please spell out {a}."),
    "join": ("Which word is spelled {a}?", "What word is {a}?", "Put {a} together.", "Join the letters {a}.", "Read the letters {a} as a word.",
             "What do the letters {a} spell?"),
    "first": ("What is the first letter of {a}?", "Which letter does {a} begin with?", "{a} begins with which letter?",
              "Name the first letter of {a}.", "With what letter does {a} start?", "What letter opens the word {a}?"),
    "last": ("What is the last letter of {a}?", "Which letter does {a} end with?", "{a} ends with which letter?",
             "Name the last letter of {a}.", "With what letter does {a} end?", "What letter closes the word {a}?"),
    "length": ("How many letters has {a}?", "How many letters are in {a}?", "Count the letters of {a}.", "How long is the word {a}?",
               "What is the number of letters in {a}?", "Tell me how many letters {a} has."),
    "upper": ("Write {a} in capitals.", "What is {a} in upper case?", "Put {a} in upper case.", "Make {a} upper case.", "Change {a} to capitals.",
              "Turn {a} into capital letters."),
    "lower": ("Write {a} in small letters.", "What is {a} in lower case?", "Put {a} in lower case.", "Make {a} lower case.",
              "Change {a} to small letters.", "Turn {a} into lower case."),
    "say": ("Say {a}.", "Repeat: {a}", "Say after me: {a}", "Repeat the words {a}", "Write {a}", "Echo {a}"),
    "last_word": ("What is the last word of: {a}", "Name the last word: {a}", "Which word ends this: {a}", "What word comes last: {a}",
                  "Give the last word of: {a}", "How does this end: {a}"),
    "first_word": ("What is the first word of: {a}", "Name the first word: {a}", "Which word begins this: {a}", "What word comes first: {a}",
                   "Give the first word of: {a}", "How does this begin: {a}"),
    "words": ("How many words are there: {a}", "Count the words: {a}", "How many words has this: {a}", "What is the number of words: {a}",
              "How many words do you see: {a}", "Tell me the number of words: {a}"),
    "plural": ("What is the plural of {a}?", "One {a}, two what?", "What is more than one {a} called?", "Name the plural of {a}.",
               "Which is the plural form of {a}?", "Tell me the plural of {a}."),
    "sides": ("How many sides does {a} have?", "How many corners does {a} have?", "Count the sides of {a}.", "How many edges has {a}?",
              "What is the number of sides of {a}?", "Tell me how many sides {a} has."),
    "set": ("Is {a} {b}?", "Is {a} the name of {b}?", "Would you call {a} {b}?", "Yes or no: is {a} {b}?", "Is the word {a} for {b}?",
            "Does {a} name {b}?"),
    "which_set": ("What is {a}: {b}?", "Is {a} {b}?", "Which is {a}, {b}?", "What kind of thing is {a}, {b}?", "{a} is what: {b}?",
                  "Tell me what {a} is: {b}?"),
    "odd_one": ("Which does not belong: {a}?", "Find the odd one out: {a}.", "Which one is different: {a}?", "What does not fit: {a}?",
                "Name the one that does not belong: {a}.", "Which is the stranger here: {a}?"),
    "digit": ("Write {a} as a digit.", "What is {a} in digits?", "Which digit is {a}?", "{a} as a number?", "Put {a} in digits.",
              "Turn {a} into figures."),
    "name": ("Write {a} as a word.", "What is {a} in words?", "Which word is {a}?", "{a} as a word?", "Put {a} in words.",
             "Spell out the number {a}."),
    "day_after": ("Which day comes after {a}?", "What day follows {a}?", "What is the day after {a}?", "Name the day after {a}.",
                  "{a} is followed by which day?", "If today is {a}, what is tomorrow?"),
    "day_before": ("Which day comes before {a}?", "What day precedes {a}?", "What is the day before {a}?", "Name the day before {a}.",
                   "{a} follows which day?", "If today is {a}, what was yesterday?"),
    "month_after": ("Which month comes after {a}?", "What month follows {a}?", "What is the month after {a}?", "Name the month after {a}.",
                    "{a} is followed by which month?", "After {a} comes which month?"),
    "letter_after": ("Which letter comes after {a}?", "What letter follows {a}?", "What is the letter after {a}?", "Name the letter after {a}.",
                     "{a} is followed by which letter?", "In the alphabet, what comes after {a}?"),
}
ALPHABET = "abcdefghijklmnopqrstuvwxyz"


@lru_cache(maxsize=1)
def common_words() -> list[str]:
    return [w for w in assets.load().words[:5000] if 3 <= len(w) <= 8]


@lru_cache(maxsize=1)
def words_by_length() -> dict[int, list[str]]:
    return {n: [w for w in common_words() if len(w) == n] for n in range(3, 9)}


def number(rng, n: int) -> str:
    """Mostly as a digit, at times as a word."""
    return NUMBERS[n] if n <= 12 and coin(rng, 0.4) else str(n)


def result(n: int) -> str:
    return NUMBERS[n] if n <= 12 else str(n)


def two_numbers(rng) -> tuple[int, int]:
    one, two = sample(rng, range(0, 20), 2)
    return one, two


def sentence(rng, n: int) -> str:
    return " ".join(pick(rng, common_words()) for _ in range(n))


def any_word(rng) -> str:
    return pick(rng, words_by_length()[draw(rng, 3, 8)])


def spread(word: str) -> str:
    return " ".join(word)


def _sum(rng):
    total = draw(rng, 0, 20)
    one = draw(rng, 0, total)
    return {"a": number(rng, one), "b": number(rng, total - one)}, result(total)


def _difference(rng):
    rest = draw(rng, 0, 12)
    less = draw(rng, 0, 12)
    return {"a": number(rng, rest + less), "b": number(rng, less)}, result(rest)


def _product(rng):
    one, two = draw(rng, 0, 10), draw(rng, 0, 10)
    return {"a": number(rng, one), "b": number(rng, two)}, result(one * two)


def _plain(low: int, high: int, step):
    def make(rng):
        n = draw(rng, low, high)
        return {"a": number(rng, n)}, step(n)
    return make


def _larger(rng):
    one, two = two_numbers(rng)
    return {"a": one, "b": two}, str(max(one, two))


def _is_larger(rng):
    one, two = two_numbers(rng)
    return {"a": number(rng, one), "b": number(rng, two)}, "yes" if one > two else "no"


def _opposite(rng):
    one, two = sample(rng, pick(rng, OPPOSITE_PAIRS), 2)
    return {"a": one}, CLEAR_OPPOSITES.get(one, two)


# A word that stands in two pairs keeps the answer of the first.
CLEAR_OPPOSITES: dict[str, str] = {}
for _one, _two in OPPOSITE_PAIRS:
    CLEAR_OPPOSITES.setdefault(_one, _two)
    CLEAR_OPPOSITES.setdefault(_two, _one)


def _of_word(step, shown=lambda word: word):
    def make(rng):
        word = any_word(rng)
        return {"a": shown(word)}, step(word)
    return make


def _of_sentence(step):
    def make(rng):
        text = sentence(rng, draw(rng, 2, 6))
        return {"a": text}, step(text)
    return make


def _from(table, step):
    def make(rng):
        i = int(rng.random() * len(table))
        return {"a": table[i]}, step(table, i)
    return make


def _set(rng):
    yes = coin(rng)
    name = pick(rng, list(SETS))
    home = name if yes else pick(rng, [s for s in SETS if s != name])
    return {"a": pick(rng, SETS[home]), "b": a(name)}, "yes" if yes else "no"


def _which_set(rng):
    one, two = sample(rng, list(SETS), 2)
    return {"a": pick(rng, SETS[one]), "b": " or ".join(a(s) for s in sample(rng, (one, two), 2))}, a(one)


def _odd_one(rng):
    one, two = sample(rng, list(SETS), 2)
    odd = pick(rng, SETS[two])
    return {"a": ", ".join(sample(rng, [*sample(rng, SETS[one], 3), odd], 4))}, odd


def _sides(rng):
    kind = pick(rng, list(SIDES))
    return {"a": a(kind)}, NUMBERS[SIDES[kind]]


def _plural(rng):
    one = pick(rng, list(PLURALS))
    return {"a": one}, PLURALS[one]


def _following(table, i):
    return table[(i + 1) % len(table)]


MAKERS = {
    "add": _sum, "subtract": _difference, "multiply": _product, "double": _plain(0, 10, lambda n: result(2 * n)),
    "next": _plain(0, 30, lambda n: result(n + 1)), "before": _plain(1, 30, lambda n: result(n - 1)), "larger": _larger,
    "is_larger": _is_larger, "parity": _plain(0, 99, lambda n: "odd" if n % 2 else "even"), "opposite": _opposite,
    "spell": _of_word(spread), "join": _of_word(lambda w: w, spread), "first": _of_word(lambda w: w[0]), "last": _of_word(lambda w: w[-1]),
    "length": _of_word(lambda w: NUMBERS[len(w)]), "upper": _of_word(str.upper), "lower": _of_word(lambda w: w, str.upper),
    "say": _of_sentence(lambda t: t), "last_word": _of_sentence(lambda t: t.split()[-1]),
    "first_word": _of_sentence(lambda t: t.split()[0]), "words": _of_sentence(lambda t: NUMBERS[len(t.split())]),
    "plural": _plural, "sides": _sides, "set": _set, "which_set": _which_set, "odd_one": _odd_one,
    "digit": _plain(0, 12, str), "name": _plain(0, 12, lambda n: NUMBERS[n]),
    "day_after": _from(DAYS, _following), "day_before": _from(DAYS, lambda t, i: t[i - 1]), "month_after": _from(MONTHS, _following),
    "letter_after": _from(ALPHABET[:-1], lambda t, i: ALPHABET[i + 1]),
}
SHOWN = {"digit": lambda slots: {"a": NUMBERS[int(slots["a"])] if slots["a"].isdigit() else slots["a"]},
         "name": lambda slots: {"a": slots["a"] if slots["a"].isdigit() else str(NUMBERS.index(slots["a"]))}}
KINDS = (*MAKERS, "talk", "talk")


def wording(rng, split: str, templates) -> str:
    held_out = split == "test" and coin(rng)
    return pick(rng, templates[5:6] if held_out else templates[:5])


def turn(rng, split: str, kind: str) -> tuple[str, str, str]:
    if kind == "talk":
        said, answer = pick(rng, TALK)
        return "text.talk", roughen(rng, wording(rng, split, said), True), answer
    slots, answer = MAKERS[kind](rng)
    slots = SHOWN.get(kind, dict)(slots)
    return f"text.{kind}", roughen(rng, wording(rng, split, TEMPLATES[kind]).format(**slots), kind not in ("upper", "lower")), answer


def roughen(rng, text: str, may_lower: bool) -> str:
    text = text[0].upper() + text[1:]
    if coin(rng, 0.1):
        text = text.rstrip("?.")
    return text.lower() if may_lower and coin(rng, 0.1) else text


def text_example(rng, split: str) -> Example:
    qa = [turn(rng, split, kind) for kind in sample(rng, KINDS, draw(rng, 3, 5))]
    return Example(skill="text", key=key_of("text-only", qa), qa=qa)
