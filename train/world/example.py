"""What every generator returns, and the few helpers that all of them draw with."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field

import numpy as np

BUCKETS = {  # height, width
    "square": (128, 128),
    "line": (32, 256),
    "wide": (96, 160),
    "tall": (160, 96),
    "small": (64, 64),
    "detail": (256, 256),
}
SPLITS = ("train", "test")


@dataclass
class Example:
    skill: str
    # 63-bit hash of the scene's meaning: equal scenes have equal keys, others do not.
    key: int
    image: np.ndarray | None = None
    audio: np.ndarray | None = None
    captions: list[str] = field(default_factory=list)
    spoken: str = ""
    qa: list[tuple[str, str, str]] = field(default_factory=list)
    # The scene shows a combination (colour of a kind) that training never shows.
    held_out: bool = False


def key_of(*meaning) -> int:
    """The key of a scene whose meaning is these plain values; their order counts."""
    text = repr(meaning).encode()
    return int.from_bytes(hashlib.blake2b(text, digest_size=8).digest(), "little") >> 1


def pick(rng, items):
    """One of items; much cheaper than rng.choice."""
    return items[int(rng.random() * len(items))]


def coin(rng, p: float = 0.5) -> bool:
    return rng.random() < p


def draw(rng, lo: int, hi: int) -> int:
    """A whole number from lo to hi, both included."""
    return lo + int(rng.random() * (hi - lo + 1))


def span(rng, lo: float, hi: float) -> float:
    return lo + rng.random() * (hi - lo)


def weighted(rng, table):
    """A key of table (a dict of weights)."""
    at = rng.random() * sum(table.values())
    for item, weight in table.items():
        at -= weight
        if at < 0:
            return item
    return item


def sample(rng, items, n: int) -> list:
    """n different ones of items, in random order."""
    left = list(items)
    out = []
    for _ in range(n):
        at = int(rng.random() * len(left))
        out.append(left[at])
        left[at] = left[-1]
        left.pop()
    return out


def favoured(rng, items, weights) -> list:
    """All of items in random order, those of more weight sooner."""
    keys = [rng.random() ** (1 / w) for w in weights]
    return [items[i] for i in sorted(range(len(items)), key=keys.__getitem__, reverse=True)]
