"""The tokenizer: byte-level BPE over the pre-tokenisation of engine/MODEL.md, section 9.

    python -m train.tokenizer OUT.json [LINES]     trains it on the world's captions, questions and answers
"""

from __future__ import annotations

import sys

from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers

SPECIALS = ["<pad>", "<bos>", "<eos>", "<image>", "<audio>", "<user>", "<assistant>", "<system>"]
PAD, BOS, EOS, IMAGE, AUDIO, USER, ASSISTANT, SYSTEM = range(8)
PATTERN = r" ?[A-Za-z]+| ?[0-9]| ?[^ \t\n\v\f\rA-Za-z0-9]+|[ \t\n\v\f\r]+"


def train(lines, vocab_size: int = 2048) -> Tokenizer:
    t = Tokenizer(models.BPE())
    t.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Split(Regex(PATTERN), "isolated"), pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)]
    )
    t.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size, special_tokens=SPECIALS, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False
    )
    t.train_from_iterator(lines, trainer)
    # Text never produces a special: drop them from the added tokens, keep their ids.
    return t


def load(path: str) -> Tokenizer:
    return Tokenizer.from_file(path)


def strip_added(t: Tokenizer) -> Tokenizer:
    import json

    d = json.loads(t.to_str())
    d["added_tokens"] = []
    return Tokenizer.from_str(json.dumps(d))


if __name__ == "__main__":
    from train.world.corpus import corpus_lines

    n = int(sys.argv[2]) if len(sys.argv) > 2 else 200_000
    strip_added(train(corpus_lines(n, seed=7))).save(sys.argv[1])
