"""A small tokenizer and what it makes of some texts, for tests/unit/test-tokenizer.c.

    python -m train.make_tokenizer_fixture tests/unit/tokenizer.gguf

One weight file without tensors: the usual keys, and `test.texts`, `test.counts`, `test.ids` (all ids in a row).
"""

from __future__ import annotations

import json
import random
import sys

from gguf import GGUFWriter

from train.tokenizer import BOS, EOS, SPECIALS, strip_added, train

COLOURS = ["red", "green", "blue", "yellow", "white", "black", "purple"]
SHAPES = ["circle", "square", "triangle", "star", "hexagon", "cross", "ring"]
SOUNDS = ["a dog barking", "two beeps", "rain", "a rising siren", "a door closing", "footsteps"]


def corpus(rng: random.Random) -> list[str]:
    lines = []
    for _ in range(400):
        a, b = rng.sample(SHAPES, 2)
        lines += [
            f"There are {rng.randint(2, 19)} {rng.choice(COLOURS)} {a}s left of the {rng.choice(COLOURS)} {b}.",
            f"What colour is the {a}? It's {rng.choice(COLOURS)}, isn't it?",
            f"I heard {rng.choice(SOUNDS)}, then {rng.choice(SOUNDS)}.",
            f"Grüße aus Köln: {rng.choice(['naïve', 'café', 'Straße', 'façade'])} 😀👍 — {rng.random():.3f}",
        ]
    return lines


def texts(rng: random.Random, lines: list[str]) -> list[str]:
    fixed = [
        "", " ", "  ", "\n", "a", " a", "  a", "a ", "a  ", " \n a", "\t\t x\r\n", "12345", " 1 22  333", "a1b2", "!!??", " ?!", "  ?!",
        "It's", "don't", "<image>", "<bos><eos>", "\x00\x01", "\x7f", "\u00a0x\u2003y", "日本語のテキスト", "😀😀😀 👍🏽", "é e\u0301", "\u0100\u0120",
        "circle" * 40, "a" * 300, " " * 70, "ab" * 129 + "!", "?" * 99, "circles", "CIRCLE", "the\x0bred\x0csquare",
    ]
    alphabet = "abcde rstu  circle.,!?019ß😀\n\t"
    noise = ["".join(rng.choice(alphabet) for _ in range(rng.randint(1, 60))) for _ in range(60)]
    return fixed + rng.sample(lines, 40) + noise


def main(out: str) -> None:
    rng = random.Random(5)
    lines = corpus(rng)
    tokenizer = strip_added(train(lines, vocab_size=600))
    model = json.loads(tokenizer.to_str())["model"]
    tokens = sorted(model["vocab"], key=model["vocab"].get)
    cases = texts(rng, lines)
    ids = [tokenizer.encode(text).ids for text in cases]

    w = GGUFWriter(out, "percept")
    w.add_tokenizer_model("gpt2")
    w.add_tokenizer_pre("percept")
    w.add_token_list(tokens)
    w.add_token_merges([m if isinstance(m, str) else " ".join(m) for m in model["merges"]])
    w.add_token_types([3] * len(SPECIALS) + [1] * (len(tokens) - len(SPECIALS)))
    w.add_bos_token_id(BOS)
    w.add_eos_token_id(EOS)
    w.add_array("test.texts", cases)
    w.add_array("test.counts", [len(i) for i in ids])
    w.add_array("test.ids", sum(ids, []))
    w.write_header_to_file()
    w.write_kv_data_to_file()
    w.close()


if __name__ == "__main__":
    main(sys.argv[1])
