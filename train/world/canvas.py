"""Backgrounds, and what happens to a finished picture: noise, blur, JPEG."""

from __future__ import annotations

import colorsys
import io
from functools import lru_cache

import numpy as np
from PIL import Image, ImageFilter

from train.world.example import coin, draw, pick, span

BANK = 512          # side of the texture masks that backgrounds are cut from
TRAIN_TEXTURES = ("gradient", "stripes", "dots", "clouds", "grain")
TEST_TEXTURES = ("checker", "waves")
TEST_HUES = (0.40, 0.50)    # backgrounds of these hues are drawn for test only


@lru_cache(maxsize=None)
def _bank(texture: str) -> list[Image.Image]:
    """Some masks of a texture, from a fixed seed."""
    rng = np.random.default_rng(len(texture) * 1000 + ord(texture[0]))
    y, x = np.mgrid[0:BANK, 0:BANK].astype(np.float32)
    out = []
    for number in range(8):
        turn, period = rng.uniform(0, np.pi), float(rng.uniform(8, 30))
        u, v = x * np.cos(turn) + y * np.sin(turn), y * np.cos(turn) - x * np.sin(turn)
        if texture == "stripes":
            mask = (u / period % 1 < rng.uniform(0.3, 0.6)) * 1.0
        elif texture == "dots":
            mask = ((u / period % 1 - 0.5) ** 2 + (v / period % 1 - 0.5) ** 2 < rng.uniform(0.03, 0.12)) * 1.0
        elif texture == "checker":
            mask = ((u / period % 1 < 0.5) ^ (v / period % 1 < 0.5)) * 1.0
        elif texture == "waves":
            mask = np.sin(u / period * 4 + 1.5 * np.sin(v / period * 2)) * 0.5 + 0.5
        elif texture == "clouds":
            coarse = Image.fromarray((rng.random((6 + 3 * number, 6 + 3 * number)) * 255).astype(np.uint8))
            mask = np.asarray(coarse.resize((BANK, BANK), Image.Resampling.BICUBIC), np.float32) / 255
        else:
            mask = rng.random((BANK, BANK)) ** 2
        out.append(Image.fromarray((mask * 255).astype(np.uint8)))
    return out


@lru_cache(maxsize=None)
def _gradient(size: tuple[int, int], number: int) -> Image.Image:
    w, h = size
    y, x = np.mgrid[0:h, 0:w].astype(np.float32)
    x, y = x / max(1, w - 1), y / max(1, h - 1)
    mask = (x, 1 - x, y, 1 - y, (x + y) / 2, (1 - x + y) / 2, np.hypot(x - 0.5, y - 0.5) * 1.4)[number]
    return Image.fromarray((mask.clip(0, 1) * 255).astype(np.uint8))


@lru_cache(maxsize=1)
def _noise() -> np.ndarray:
    rng = np.random.default_rng(11)
    return rng.normal(0, 1, (4, BANK, BANK)).astype(np.float32)


def light(rgb) -> float:
    return 0.3 * rgb[0] + 0.59 * rgb[1] + 0.11 * rgb[2]


def any_colour(rng, held_out: bool) -> tuple[int, int, int]:
    """A background colour: mostly weak in saturation. The hues of TEST_HUES only when held_out."""
    lo, hi = TEST_HUES
    if held_out:
        hue, saturation = span(rng, lo, hi), span(rng, 0.3, 0.7)
    else:
        hue, saturation = (hi + rng.random() * (1 - hi + lo)) % 1, max(0.0, span(rng, -0.3, 0.75))
    value = 1 - 0.85 * rng.random() ** 1.5
    return tuple(int(255 * c) for c in colorsys.hsv_to_rgb(hue, saturation, value))


def near_colour(rng, rgb, by: int = 40) -> tuple[int, int, int]:
    return tuple(min(255, max(0, c + draw(rng, -by, by))) for c in rgb)


def textured(rng, size, colour, texture: str) -> Image.Image:
    other = near_colour(rng, colour)
    if texture == "gradient":
        mask = _gradient(size, draw(rng, 0, 6))
    else:
        x, y = draw(rng, 0, BANK - size[0]), draw(rng, 0, BANK - size[1])
        mask = pick(rng, _bank(texture)).crop((x, y, x + size[0], y + size[1]))
    return Image.composite(Image.new("RGB", size, other), Image.new("RGB", size, colour), mask)


def background(rng, size, colour, split: str, clutter: float) -> Image.Image:
    """size is (width, height). Plain when clutter is 0, textured more and more often as it nears 1."""
    held_out = split == "test" and coin(rng)
    if not held_out and rng.random() > 0.1 + 0.6 * clutter:
        return Image.new("RGB", size, colour)
    return textured(rng, size, colour, pick(rng, TEST_TEXTURES if held_out else TRAIN_TEXTURES))


def jpeg(image: Image.Image, quality: int) -> Image.Image:
    data = io.BytesIO()
    image.save(data, "JPEG", quality=quality)
    return Image.open(data).convert("RGB")


def finish(rng, image: Image.Image, clutter: float) -> np.ndarray:
    """The picture as a camera or a file gives it: at times blurred, compressed, noisy."""
    if coin(rng, 0.15 * clutter):
        image = image.filter(ImageFilter.GaussianBlur(span(rng, 0.2, 0.6)))
    if coin(rng, 0.05 + 0.2 * clutter):
        image = jpeg(image, draw(rng, 60, 95))
    if not coin(rng, 0.4 * clutter):
        return np.array(image)
    w, h = image.size
    x, y = draw(rng, 0, BANK - w), draw(rng, 0, BANK - h)
    noise = _noise()[draw(rng, 0, 3), y : y + h, x : x + w, None] * span(rng, 1, 10)
    return (np.asarray(image) + noise).clip(0, 255).astype(np.uint8)
