"""`image_example`: one picture of a desktop's sights, its captions and its questions."""

from __future__ import annotations

from train.world.example import Example, weighted
from train.world.shapes import shape_example
from train.world.sprites import sprite_example
from train.world.windows import window_example
from train.world.words import word_example

MAKERS = {"shape": shape_example, "sprite": sprite_example, "word": word_example, "window": window_example}
MIX = {  # weights of the skills in each bucket
    "square": {"shape": 40, "sprite": 40, "word": 12, "window": 8},
    "small": {"shape": 25, "sprite": 65, "word": 10},
    "line": {"word": 100},
    "wide": {"shape": 35, "sprite": 25, "word": 20, "window": 20},
    "tall": {"shape": 50, "sprite": 35, "word": 15},
    "detail": {"shape": 20, "sprite": 20, "word": 20, "window": 40},
}


def image_example(rng, bucket: str, split: str, difficulty: float, skill: str = "") -> Example:
    """A picture of this bucket's size; of this skill ('shape', 'sprite', 'word', 'window') when one is named."""
    return MAKERS[skill or weighted(rng, MIX[bucket])](rng, bucket, split, difficulty)
