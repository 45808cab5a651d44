"""Coloured shapes: a scene of up to six objects, its picture, its captions and its questions.

A scene follows one of two plans, so that answers stay balanced. In a general scene the number of
objects is uniform and every object is drawn alike; it may be asked how many there are in all. In a
counted scene the number of one kind, colour or pair is uniform, others are added, and only that
number is asked for.
"""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from PIL import Image, ImageChops, ImageDraw

from train.world import canvas
from train.world.example import BUCKETS, Example, coin, draw, key_of, pick, sample, span
from train.world.language import OPPOSITE, PLACES, RELATIONS, caption, counted, listed

KINDS = ("circle", "square", "triangle", "star", "heart", "diamond", "pentagon", "hexagon", "cross", "ring", "arrow", "moon",
         "oval", "semicircle")
COLOURS = {
    "red": (222, 30, 35), "orange": (250, 135, 10), "yellow": (246, 222, 25), "green": (30, 155, 50), "blue": (35, 75, 220),
    "purple": (130, 45, 175), "pink": (250, 135, 190), "brown": (130, 75, 35), "black": (18, 18, 20), "white": (250, 250, 250),
    "gray": (130, 130, 134), "cyan": (45, 210, 225),
}
NAMES = tuple(COLOURS)
# Two colours of each kind are held out: a picture in training never shows them, nor does a text name them.
HELD_OUT = frozenset((kind, NAMES[(5 * i + step) % 12]) for i, kind in enumerate(KINDS) for step in (2, 5))
COMBOS = {
    "train": [(k, c) for k in KINDS for c in NAMES if (k, c) not in HELD_OUT],
    "test": [(k, c) for k in KINDS for c in NAMES],
}
FILLS = ("solid", "outlined", "striped")
GRIDS = {"square": (3, 3), "small": (2, 2), "wide": (3, 2), "tall": (2, 3), "detail": (3, 3)}  # columns, rows
MOST = {"square": 6, "small": 3, "wide": 5, "tall": 5, "detail": 6}
ROWS = {2: ("top", "bottom"), 3: ("top", "", "bottom")}
SIDES = {2: ("left", "right"), 3: ("left", "", "right")}
ARROWS = ("right", "down", "left", "up")


@dataclass
class Thing:
    kind: str
    colour: str
    cell: tuple[int, int] = (0, 0)
    big: bool = True
    fill: str = "solid"
    turn: int = 0       # degrees; for an arrow and a half circle also a quarter turn
    x: float = 0.0      # of the centre, in pixels
    y: float = 0.0
    radius: int = 0


# --- drawing ------------------------------------------------------------------------------------


def _regular(n: int, start: float, inner: float = 1.0):
    """Corners of a regular polygon, or of a star when inner is less than 1."""
    count = n if inner == 1.0 else 2 * n
    return [((inner if i % 2 else 1.0) * math.cos(start + 2 * math.pi * i / count),
             (inner if i % 2 else 1.0) * math.sin(start + 2 * math.pi * i / count)) for i in range(count)]


def _heart():
    t = np.linspace(0, 2 * math.pi, 60)
    return list(zip(np.sin(t) ** 3, -(13 * np.cos(t) - 5 * np.cos(2 * t) - 2 * np.cos(3 * t) - np.cos(4 * t)) / 16 - 0.1))


UP = -math.pi / 2
OUTLINES = {
    "circle": _regular(64, 0), "square": [(-0.82, -0.82), (0.82, -0.82), (0.82, 0.82), (-0.82, 0.82)],
    "triangle": [(0, -0.95), (0.98, 0.8), (-0.98, 0.8)], "star": _regular(5, UP, 0.42), "heart": _heart(),
    "diamond": [(0, -1), (0.68, 0), (0, 1), (-0.68, 0)], "pentagon": _regular(5, UP), "hexagon": _regular(6, 0),
    "cross": [(-0.3, -0.95), (0.3, -0.95), (0.3, -0.3), (0.95, -0.3), (0.95, 0.3), (0.3, 0.3), (0.3, 0.95), (-0.3, 0.95),
              (-0.3, 0.3), (-0.95, 0.3), (-0.95, -0.3), (-0.3, -0.3)],
    "ring": _regular(64, 0), "moon": _regular(64, 0),
    "arrow": [(-0.95, -0.28), (0.1, -0.28), (0.1, -0.8), (0.98, 0), (0.1, 0.8), (0.1, 0.28), (-0.95, 0.28)],
    "oval": [(x, 0.58 * y) for x, y in _regular(64, 0)],
    "semicircle": [(math.cos(t), math.sin(t) * 1.05 - 0.45) for t in np.linspace(0, math.pi, 40)],
}
HOLES = {"ring": (0.55, 0.0), "moon": (0.88, 0.5)}     # scale and shift of a circle that is cut out
FINE = 3


@lru_cache(maxsize=20000)
def mask(kind: str, radius: int, turn: int, fill: str) -> Image.Image:
    """The shape's coverage, 2 radius + 3 pixels wide."""
    side = 2 * radius + 3
    c, s = math.cos(math.radians(turn)), math.sin(math.radians(turn))
    half, r = side * FINE / 2, radius * FINE

    def place(points, scale=1.0, dx=0.0):
        return [(half + r * ((x * scale + dx) * c - y * scale * s), half + r * ((x * scale + dx) * s + y * scale * c))
                for x, y in points]

    # Outlines of the shape; the second is a hole.
    paths = [place(OUTLINES[kind])]
    if kind in HOLES:
        paths.append(place(OUTLINES["circle"], *HOLES[kind]))
    page = Image.new("L", (side * FINE, side * FINE))
    pen = ImageDraw.Draw(page)
    for path, shade in zip(paths, (255, 0)):
        pen.polygon(path, fill=shade)
    if fill != "solid":
        ink = Image.new("L", page.size)
        pen = ImageDraw.Draw(ink)
        width = max(2.0, radius * 0.14) * FINE
        for path in paths:
            pen.line(path + path[:2], fill=255, width=round(2 * width), joint="curve")
        if fill == "striped":
            period = max(5, round(radius * 0.45)) * FINE
            for at in range(0, page.size[0], period):
                pen.rectangle((0, at, page.size[0], at + period // 2), fill=255)
        page = ImageChops.darker(page, ink)
    return page.resize((side, side), Image.Resampling.BOX)


def paint(rng, things, size, split: str, difficulty: float) -> np.ndarray:
    shades = [tuple(min(255, max(0, v + draw(rng, -8, 8))) for v in COLOURS[t.colour]) for t in things]
    best, contrast = None, -1.0
    for _ in range(8):  # a background that none of the shapes sinks into
        colour = canvas.any_colour(rng, split == "test" and coin(rng, 0.3))
        least = min(sum(abs(p - q) for p, q in zip(colour, shade)) for shade in shades)
        if least > contrast:
            best, contrast = colour, least
        if contrast > 170:
            break
    image = canvas.background(rng, size, best, split, difficulty)
    if coin(rng, 0.3 * difficulty):
        pen = ImageDraw.Draw(image)
        for _ in range(draw(rng, 1, 4)):
            line = (rng.random() * size[0], rng.random() * size[1], rng.random() * size[0], rng.random() * size[1])
            pen.line(line, fill=canvas.near_colour(rng, best, 30))
    for thing, shade in zip(things, shades):
        shape = mask(thing.kind, thing.radius, thing.turn, thing.fill)
        at = (round(thing.x - shape.width / 2), round(thing.y - shape.height / 2))
        image.paste(shade, (*at, at[0] + shape.width, at[1] + shape.height), shape)
    return canvas.finish(rng, image, difficulty)


# --- scenes -------------------------------------------------------------------------------------


def general_things(rng, most: int, combos) -> list[Thing]:
    things: list[Thing] = []
    for _ in range(draw(rng, 1, most)):
        again = pick(rng, things) if things and coin(rng, 0.25) else None
        things.append(Thing(again.kind, again.colour) if again else Thing(*pick(rng, combos)))
    return things


def counted_things(rng, most: int, combos) -> tuple[list[Thing], tuple[str, str], int]:
    """(things, (kind or '', colour or '') that is counted, how many of it)"""
    kind, colour = pick(rng, combos)
    which = draw(rng, 0, 2)
    want = ("" if which == 1 else kind, "" if which == 0 else colour)
    fits = [c for c in combos if (not want[0] or c[0] == want[0]) and (not want[1] or c[1] == want[1])]
    top = min(5, most)
    n = draw(rng, 0, top)
    near = [c for c in combos if c not in fits and (c[0] == kind or c[1] == colour)]
    others = draw(rng, 1 if n == 0 else 0, most - n)
    things = [Thing(*pick(rng, fits)) for _ in range(n)]
    while len(things) < n + others:
        combo = pick(rng, near if near and coin(rng) else combos)
        if combo not in fits:
            things.append(Thing(*combo))
    return things, want, n


def place(rng, things, bucket: str, size) -> None:
    """Cells, and within each a jitter that keeps the shape inside it."""
    columns, rows = GRIDS[bucket]
    cells = [(x, y) for x in range(columns) for y in range(rows)]
    groups = Counter((t.colour, t.kind) for t in things)
    chosen = sample(rng, cells, len(things))
    if len(groups) == 1 and len(things) in (2, 3):
        chosen = line_up(rng, cells, columns, rows, len(things))
    w, h = size[0] / columns, size[1] / rows
    reach = min(w, h) / 2
    for thing, cell in zip(things, chosen):
        thing.cell = cell
        lo, hi = (0.78, 0.94) if thing.big else (0.44, 0.52)
        thing.radius = int(span(rng, lo, hi) * reach - 1)
        thing.radius -= thing.radius % 2 if thing.radius > 16 else 0    # fewer masks to keep
        free = 0.6 if len(things) > 1 else 1.0      # left of must look like left of
        slack_x, slack_y = free * (w / 2 - thing.radius - 1), free * (h / 2 - thing.radius - 1)
        thing.x = (cell[0] + 0.5) * w + span(rng, -slack_x, slack_x)
        thing.y = (cell[1] + 0.5) * h + span(rng, -slack_y, slack_y)


def line_up(rng, cells, columns: int, rows: int, n: int):
    """Cells of two or three equal things: in one row, in one column, or neither, each as likely."""
    ways = [w for w, room in (("row", columns), ("column", rows), ("", n)) if room >= n]
    way = pick(rng, ways)
    if way == "row":
        y = draw(rng, 0, rows - 1)
        return [(x, y) for x in sample(rng, range(columns), n)]
    if way == "column":
        x = draw(rng, 0, columns - 1)
        return [(x, y) for y in sample(rng, range(rows), n)]
    while True:
        chosen = sample(rng, cells, n)
        if len({c[0] for c in chosen}) > 1 and len({c[1] for c in chosen}) > 1:
            return chosen


def vary(rng, things, difficulty: float) -> None:
    for thing in things:
        thing.big = coin(rng)
        thing.turn = 5 * draw(rng, -2, 2) if coin(rng, difficulty) else 0
        if thing.kind in ("arrow", "semicircle"):
            thing.turn += 90 * draw(rng, 0, 3)
        if coin(rng, 0.5 * difficulty) and thing.kind != "ring":
            thing.fill = pick(rng, FILLS[1:])


def direction(a_things, b_things) -> str:
    """The relation of one group to another by their middles in cells, '' when it is not plain."""
    dx = sum(t.cell[0] for t in a_things) / len(a_things) - sum(t.cell[0] for t in b_things) / len(b_things)
    dy = sum(t.cell[1] for t in a_things) / len(a_things) - sum(t.cell[1] for t in b_things) / len(b_things)
    if abs(dx) >= 0.6 and abs(dx) > 1.5 * abs(dy):
        return "left" if dx < 0 else "right"
    if abs(dy) >= 0.6 and abs(dy) > 1.5 * abs(dx):
        return "above" if dy < 0 else "below"
    return ""


def cell_name(cell, bucket: str) -> str:
    columns, rows = GRIDS[bucket]
    return f"{ROWS[rows][cell[1]]} {SIDES[columns][cell[0]]}".strip() or "center"


class Scene:
    """Things in their places, and the meaning that captions and the key are made of."""

    def __init__(self, things, bucket: str):
        self.things, self.bucket = things, bucket
        found: dict[tuple[str, str], list[Thing]] = {}
        for thing in things:
            found.setdefault((thing.colour, thing.kind), []).append(thing)
        self.members = dict(sorted(found.items(), key=lambda item: (-len(item[1]), item[0])))
        self.groups = [(len(members), *pair) for pair, members in self.members.items()]
        self.layout = self._layout()

    def _layout(self):
        """One thing: its place. Equal things: how they are lined up. Others: (i, relation, j) of two groups."""
        if len(self.things) == 1:
            return cell_name(self.things[0].cell, self.bucket)
        if len(self.groups) == 1:
            if len({t.cell[1] for t in self.things}) == 1:
                return "row"
            return "column" if len({t.cell[0] for t in self.things}) == 1 else "spread"
        members = list(self.members.values())
        for i in range(len(members)):
            for j in range(i + 1, len(members)):
                found = direction(members[i], members[j])
                if found:
                    return i, found, j
        return None

    @property
    def plain(self) -> bool:
        return self.layout is not None

    def key(self) -> int:
        return key_of("shapes", self.groups, self.layout)

    def describe(self, rng=None) -> str:
        """The caption; with rng in one of several wordings, without it in the one that answers give."""
        names = [counted(*group) for group in self.groups]
        if isinstance(self.layout, tuple):
            i, relation, j = self.layout
            if rng is not None and coin(rng):
                i, relation, j = j, OPPOSITE[relation], i
            words = RELATIONS[relation][0] if rng is None else pick(rng, RELATIONS[relation])
            rest = [name for k, name in enumerate(names) if k not in (i, j)]
            if rng is not None:
                rest = sample(rng, rest, len(rest))
            pair = f"{names[i]} {words} {names[j]}"
            return f"{pair}, and {listed(rest)}" if rest else pair
        if self.layout is None:
            return listed(names if rng is None else sample(rng, names, len(names)))
        if len(self.things) == 1:
            return f"{names[0]} {PLACES[self.layout]}"
        if self.layout == "spread":
            return names[0] + (" spread out" if rng is None or coin(rng) else ", scattered")
        if len(self.things) == 2:
            return names[0] + (" side by side" if self.layout == "row" else " one above the other")
        return names[0] + (" in a row" if self.layout == "row" else " in a column")


def shape_scene(rng, bucket: str, split: str, difficulty: float):
    """(scene, what was counted or None)"""
    combos = COMBOS[split]
    h, w = BUCKETS[bucket]
    most = max(1, min(MOST[bucket], 2 + round(4 * min(1.0, 2 * difficulty))))
    counted_plan = None
    if coin(rng, 0.6):
        things = general_things(rng, most, combos)
    else:
        things, want, n = counted_things(rng, most, combos)
        counted_plan = (want, n)
    vary(rng, things, difficulty)
    for _ in range(12):
        place(rng, things, bucket, (w, h))
        scene = Scene(things, bucket)
        if scene.plain:
            break
    return scene, counted_plan


def shape_example(rng, bucket: str, split: str, difficulty: float) -> Example:
    from train.world.shape_questions import shape_questions

    scene, counted_plan = shape_scene(rng, bucket, split, difficulty)
    h, w = BUCKETS[bucket]
    told = scene.describe()
    captions = [caption(rng, split, "shape", x=scene.describe(rng)) for _ in range(3)]
    return Example(
        skill="shape", key=scene.key(), image=paint(rng, scene.things, (w, h), split, difficulty), captions=captions,
        spoken=told if len(scene.groups) <= 2 else "", qa=shape_questions(rng, split, scene, counted_plan, told, difficulty),
        held_out=any((t.kind, t.colour) in HELD_OUT for t in scene.things))
