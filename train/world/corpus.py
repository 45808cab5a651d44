"""Lines for the tokenizer: captions, questions and answers of the whole world, in the mix of training."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from train.world.audio import audio_example
from train.world.example import pick
from train.world.image import MIX, image_example
from train.world.text import text_example


def _lines(example) -> Iterator[str]:
    yield from example.captions
    if example.spoken:
        yield example.spoken
    for _, question, answer in example.qa:
        yield question
        yield answer


def _examples(rng) -> Iterator:
    """Pictures, text and sounds in turn."""
    buckets = list(MIX)
    while True:
        for _ in range(3):
            yield image_example(rng, pick(rng, buckets), "train", rng.random())
        yield text_example(rng, "train")
        yield audio_example(rng, 2.56, "train", rng.random())


def corpus_lines(n: int, seed: int = 0) -> Iterator[str]:
    made = 0
    for example in _examples(np.random.default_rng(seed)):
        for line in _lines(example):
            if made == n:
                return
            made += 1
            yield line
