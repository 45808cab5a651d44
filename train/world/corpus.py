"""Lines for the tokenizer: captions, questions and answers of the whole world, in the mix of training."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

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
    """Pictures, sounds and text in turn; sounds only where their generator can run."""
    try:
        from train.world.audio_language import language_example as sound_example
    except ImportError:
        sound_example = None
    buckets = list(MIX)
    while True:
        yield image_example(rng, buckets[int(rng.random() * len(buckets))], "train", rng.random())
        yield text_example(rng, "train")
        if sound_example:
            yield sound_example(rng, "train")


def corpus_lines(n: int, seed: int = 0) -> Iterator[str]:
    made = 0
    for example in _examples(np.random.default_rng(seed)):
        for line in _lines(example):
            if made == n:
                return
            made += 1
            yield line
