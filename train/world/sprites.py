"""Emoji and icons: one of them to be named, or two or three to be told apart by place."""

from __future__ import annotations

from PIL import Image

from train.world import assets, canvas
from train.world.example import BUCKETS, Example, coin, draw, key_of, pick, sample, span
from train.world.language import NUMBERS, OPPOSITE, RELATIONS, ask, caption, listed, thing

# Share of the shorter side that a sprite takes; training leaves the bands of test out.
SCALES = (0.4, 1.0)
TEST_SCALES = ((0.55, 0.60), (0.80, 0.85))
SMALLEST = 28       # pixels of a sprite among several
NEIGHBOURS = 12     # names this near in the list are alike in kind: faces, animals, arrows
CACHED_SIZES = 12   # of each sprite, at most


def sprite_names() -> list[str]:
    return assets.load().sprite_names


def __getattr__(name: str):
    """SPRITE_NAMES: every name of the pack in a fixed order, read when first asked for."""
    if name == "SPRITE_NAMES":
        return sprite_names()
    raise AttributeError(name)


def scale(rng, split: str) -> float:
    if split == "test":
        return span(rng, *pick(rng, TEST_SCALES))
    while True:
        s = span(rng, *SCALES)
        if not any(lo - 0.005 <= s <= hi + 0.005 for lo, hi in TEST_SCALES):
            return s


def resized(sprite, side: int) -> Image.Image:
    found = sprite.sizes.get(side)
    if found is None:
        if len(sprite.sizes) >= CACHED_SIZES:
            sprite.sizes.pop(next(iter(sprite.sizes)))
        found = sprite.sizes[side] = sprite.image.resize((side, side), Image.Resampling.BILINEAR, reducing_gap=2.0)
    return found


def stamp(rng, page: Image.Image, sprite, side: int, x: float, y: float, difficulty: float) -> None:
    """Draws the sprite with its middle near (x, y)."""
    image = resized(sprite, side)
    if coin(rng, 0.4 * difficulty):
        image = image.rotate(span(rng, -12, 12), Image.Resampling.BILINEAR)
    page.paste(image, (round(x - side / 2), round(y - side / 2)), image)


def contrasting(rng, shown, held_out: bool):
    best, most = (255, 255, 255), -1.0
    for _ in range(6):
        colour = canvas.any_colour(rng, held_out)
        least = min(abs(canvas.light(colour) - s.light) for s in shown)
        if least > most:
            best, most = colour, least
        if most > 50:
            break
    return best


def page_for(rng, size, shown, split: str, difficulty: float) -> Image.Image:
    """Test backgrounds are all held out: a texture or a hue that training never shows."""
    if split == "test":
        hue = coin(rng)
        colour = contrasting(rng, shown, hue)
        return Image.new("RGB", size, colour) if hue else canvas.textured(rng, size, colour, pick(rng, canvas.TEST_TEXTURES))
    return canvas.background(rng, size, contrasting(rng, shown, False), "train", difficulty)


def similar(rng, names, at: int) -> str:
    """Another name, half of the time of the same sort. Every name is as likely as any other, over all."""
    step = draw(rng, 1, NEIGHBOURS) * (1 if coin(rng) else -1) if coin(rng) else draw(rng, 1, len(names) - 1)
    return names[(at + step) % len(names)]


def several_share(bucket: str, difficulty: float) -> float:
    """How often a picture of sprites has two or three of them."""
    return 0.0 if bucket == "small" else 0.25 * difficulty + (0.25 if bucket in ("wide", "tall") else 0.0)


def one_sprite(rng, bucket: str, split: str, difficulty: float) -> Example:
    pack = assets.load()
    names = pack.sprite_order
    at = draw(rng, 0, len(names) - 1)
    sprite = pick(rng, pack.looks[names[at]])
    h, w = BUCKETS[bucket]
    page = page_for(rng, (w, h), [sprite], split, difficulty)
    s = scale(rng, split)
    side = round(s * min(w, h))
    free_x, free_y = (w - side) / 2, (h - side) / 2
    room = 0.3 + 0.7 * difficulty
    stamp(rng, page, sprite, side, w / 2 + free_x * span(rng, -room, room), h / 2 + free_y * span(rng, -room, room), difficulty)
    name = sprite.name
    other = similar(rng, names, at)
    yes = coin(rng)
    qa = [
        ask(rng, split, "sprite.name", name),
        ask(rng, split, "sprite.is", "yes" if yes else "no", what=thing(name if yes else other)),
        ask(rng, split, "caption", thing(name)),
    ]
    several = several_share(bucket, difficulty)
    if coin(rng, several / 3 / (1 - several)):  # as often as two and three are asked for
        qa.append(ask(rng, split, "sprite.count", "one"))
    return Example(
        skill="emoji" if sprite.look == "emoji" else "icon", key=key_of("sprite", name), image=canvas.finish(rng, page, difficulty),
        captions=[caption(rng, split, "sprite", x=name, ax=thing(name)) for _ in range(3)], spoken=name, qa=sample(rng, qa, len(qa)))


def several_sprites(rng, bucket: str, split: str, difficulty: float) -> Example:
    """Two or three side by side, or above each other where the picture is tall; all of different names."""
    pack = assets.load()
    h, w = BUCKETS[bucket]
    n = 2 if coin(rng, 2 / 3) else 3
    names = sample(rng, pack.sprite_names, n)
    shown = [pick(rng, pack.looks[name]) for name in names]
    page = page_for(rng, (w, h), shown, split, difficulty)
    upright = h > w or h == w and n == 2 and coin(rng)
    long, short = (h, w) if upright else (w, h)
    for i, sprite in enumerate(shown):
        side = 0
        while side < SMALLEST:
            side = round(scale(rng, split) * min(long / n, short))
        free = (long / n - side) / 2
        along, across = (i + 0.5) * long / n + span(rng, -free, free), short / 2 + (short - side) / 2 * span(rng, -0.6, 0.6)
        stamp(rng, page, sprite, side, *((across, along) if upright else (along, across)), difficulty)
    first, last = ("top", "bottom") if upright else ("left", "right")
    qa = [
        ask(rng, split, "sprite.at", names[0], f"sprite.{first}"), ask(rng, split, "sprite.at", names[-1], f"sprite.{last}"),
        order_question(rng, split, names, upright), ask(rng, split, "caption", row_text(names, upright)),
    ]
    if n == 3:
        qa.append(ask(rng, split, "sprite.at", names[1], "sprite.middle"))
    if coin(rng, 0.5 if n == 2 else 1.0):
        qa.append(ask(rng, split, "sprite.count", NUMBERS[n]))
    looks = {s.look for s in shown}
    return Example(
        skill="emoji" if looks == {"emoji"} else "icon", key=key_of("sprites", names, upright),
        image=canvas.finish(rng, page, difficulty), captions=[row_text(names, upright, rng) for _ in range(2)],
        spoken=row_text(names, upright) if n == 2 and len(row_text(names, upright).split()) <= 9 else "",
        qa=sample(rng, qa, len(qa)))


def row_text(names, upright: bool, rng=None) -> str:
    relation = "above" if upright else "left"
    things = [thing(name) for name in names]
    if len(names) == 3:
        return f"{listed(things)} " + ("from top to bottom" if upright else "from left to right")
    if rng is not None and coin(rng):
        things.reverse()
        relation = OPPOSITE[relation]
    words = RELATIONS[relation][0] if rng is None else pick(rng, RELATIONS[relation])
    return f"{things[0]} {words} {things[1]}"


def order_question(rng, split: str, names, upright: bool):
    i, j = sorted(sample(rng, range(len(names)), 2))
    relation = "above" if upright else "left"
    one, two = names[i], names[j]
    if coin(rng):
        one, two, relation = two, one, OPPOSITE[relation]
    said, answer = (relation, "yes") if coin(rng) else (OPPOSITE[relation], "no")
    return ask(rng, split, "sprite.order", answer, a=one, an_a=thing(one), b=two, rel=pick(rng, RELATIONS[said][:2]))


def sprite_example(rng, bucket: str, split: str, difficulty: float) -> Example:
    several = several_share(bucket, difficulty)
    return (several_sprites if coin(rng, several) else one_sprite)(rng, bucket, split, difficulty)
