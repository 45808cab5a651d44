"""Questions on a scene of shapes. Each draws its answer first, so that the wording tells nothing of it."""

from __future__ import annotations

from train.world.example import coin, favoured, pick, sample
from train.world.language import NUMBERS, OPPOSITE, RELATIONS, a, ask, plural
from train.world.shapes import ARROWS, COMBOS, GRIDS, KINDS, NAMES, Scene, cell_name, direction


# How eagerly training asks, in the order of `more` below: what needs two looks at the picture is learnt last.
TRAINED = (1.0, 1.0, 3.0, 1.0, 4.0, 1.0, 1.0, 3.0, 1.0, 3.0)


def phrase(kind: str, colour: str, many: bool) -> str:
    noun = kind or "shape"
    return f"{colour} {plural(noun) if many else noun}".strip()


class Asker:
    def __init__(self, rng, split: str, scene: Scene):
        self.rng, self.split, self.scene = rng, split, scene
        things = scene.things
        self.by_kind = {k: [t for t in things if t.kind == k] for k in {t.kind for t in things}}
        self.by_colour = {c: [t for t in things if t.colour == c] for c in {t.colour for t in things}}
        # Things that can be named by one phrase, in a fixed order.
        self.single = [t for t in things if len(scene.members[t.colour, t.kind]) == 1]
        self.lone_kind = [t for t in things if len(self.by_kind[t.kind]) == 1]
        self.lone_colour = [t for t in things if len(self.by_colour[t.colour]) == 1]

    def ask(self, kind, answer, template="", **slots):
        return ask(self.rng, self.split, kind, answer, template, **slots)

    def name(self, thing) -> str:
        """The thing's kind alone when that tells which one is meant, else colour and kind."""
        if len(self.by_kind[thing.kind]) == 1 and coin(self.rng):
            return thing.kind
        return f"{thing.colour} {thing.kind}"

    def count(self, plan):
        if plan is None:
            return self.ask("shape.count.all", NUMBERS[len(self.scene.things)])
        (kind, colour), n = plan
        return self.ask("shape.count", NUMBERS[n], what=phrase(kind, colour, True))

    def colour(self):
        if len(self.scene.things) == 1 and coin(self.rng):
            return self.ask("shape.colour", self.scene.things[0].colour, "shape.only.colour")
        thing = pick(self.rng, self.lone_kind) if self.lone_kind else None
        return thing and self.ask("shape.colour", thing.colour, what=thing.kind)

    def kind(self):
        if len(self.scene.things) == 1 and coin(self.rng):
            return self.ask("shape.kind", self.scene.things[0].kind, "shape.only")
        thing = pick(self.rng, self.lone_colour) if self.lone_colour else None
        return thing and self.ask("shape.kind", thing.kind, colour=thing.colour)

    def where(self):
        if not self.single or len(self.scene.groups) == 1 and len(self.scene.things) > 1:
            return None
        thing = pick(self.rng, self.single)
        columns, rows = GRIDS[self.scene.bucket]
        way = pick(self.rng, ("shape.where", "shape.side", "shape.height"))
        if way == "shape.side" and columns == 3 and thing.cell[0] == 1 or way == "shape.height" and rows == 3 and thing.cell[1] == 1:
            return None
        if way == "shape.side":
            answer = "left" if thing.cell[0] == 0 else "right"
        elif way == "shape.height":
            answer = "top" if thing.cell[1] == 0 else "bottom"
        else:
            answer = cell_name(thing.cell, self.scene.bucket)
        return self.ask(way, answer, what=self.name(thing))

    def pair(self):
        """Two things with a plain relation: (a, relation of a to b, b) or None."""
        if len(self.single) < 2:
            return None
        for _ in range(3):
            one, two = sample(self.rng, self.single, 2)
            found = direction([one], [two])
            if found:
                return one, found, two
        return None

    def relation(self):
        pair = self.pair()
        if not pair:
            return None
        one, found, two = pair
        # A false statement keeps the axis, or the other axis would be told by the wording alone.
        said, answer = (found, "yes") if coin(self.rng) else (OPPOSITE[found], "no")
        name = self.name(one)
        return self.ask("shape.relation", answer, a=name, an_a=a(name), b=self.name(two), rel=pick(self.rng, RELATIONS[said][:2]))

    def relative(self):
        pair = self.pair()
        return pair and self.ask("shape.relative", pair[1], a=self.name(pair[0]), b=self.name(pair[2]))

    def next_to(self):
        """What is left of the star: only where one thing alone lies to that side, and straight."""
        for two in sample(self.rng, self.single, len(self.single)):
            x, y = two.cell
            beyond = {
                "left": [t for t in self.scene.things if t.cell[0] < x], "right": [t for t in self.scene.things if t.cell[0] > x],
                "above": [t for t in self.scene.things if t.cell[1] < y], "below": [t for t in self.scene.things if t.cell[1] > y]}
            sides = [side for side, there in beyond.items() if len(there) == 1 and direction(there, [two]) == side]
            if sides:
                side = pick(self.rng, sides)
                one = beyond[side][0]
                return self.ask("shape.next", a(f"{one.colour} {one.kind}"), b=self.name(two), rel=RELATIONS[side][0])
        return None

    def exists(self):
        """A pair, a kind or a colour; what is asked for is drawn alike for yes and for no."""
        which = pick(self.rng, ("pair", "kind", "colour"))
        yes = coin(self.rng)
        thing = pick(self.rng, self.scene.things)
        if which == "kind":
            absent = [k for k in KINDS if k not in self.by_kind]
            what = a(thing.kind if yes else pick(self.rng, absent))
        elif which == "colour":
            absent = [c for c in NAMES if c not in self.by_colour]
            what = a((thing.colour if yes else pick(self.rng, absent)) + " shape")
        else:
            kind, colour = (thing.kind, thing.colour) if yes else self._absent_pair(thing)
            what = a(f"{colour} {kind}")
        return self.ask("shape.exists", "yes" if yes else "no", what=what)

    def _absent_pair(self, thing):
        """Mostly one that shares its colour or its kind with something shown."""
        while True:
            kind, colour = pick(self.rng, COMBOS[self.split])
            if coin(self.rng, 0.7) and kind != thing.kind and colour != thing.colour:
                continue
            if (colour, kind) not in self.scene.members:
                return kind, colour

    def extreme(self):
        big = [t for t in self.scene.things if t.big]
        small = [t for t in self.scene.things if not t.big]
        if len(self.scene.things) < 2 or len(big) != 1 and len(small) != 1:
            return None
        if len(big) == 1 and (len(small) != 1 or coin(self.rng)):
            return self.ask("shape.largest", a(f"{big[0].colour} {big[0].kind}"))
        return self.ask("shape.smallest", a(f"{small[0].colour} {small[0].kind}"))

    def fill(self):
        if not self.single:
            return None
        thing = pick(self.rng, self.single)
        # Solid is the most frequent: asked as often as another only when drawn against its share.
        if thing.kind == "ring" or thing.fill == "solid" and not coin(self.rng, self.solid_share):
            return None
        return self.ask("shape.fill", thing.fill, what=self.name(thing))

    def arrow(self):
        arrows = self.by_kind.get("arrow", [])
        return self.ask("shape.arrow", ARROWS[round(arrows[0].turn / 90) % 4]) if len(arrows) == 1 else None


def shape_questions(rng, split: str, scene: Scene, plan, told: str, difficulty: float) -> list[tuple[str, str, str]]:
    asker = Asker(rng, split, scene)
    other = 0.5 * difficulty / 2            # share of outlined, and of striped
    asker.solid_share = other / (1 - 2 * other)
    out = [asker.count(plan), ask(rng, split, "caption", told)]
    more = [asker.colour, asker.kind, asker.where, asker.relation, asker.relative, asker.next_to, asker.exists, asker.extreme,
            asker.fill, asker.arrow]
    for make in sample(rng, more, len(more)) if split == "test" else favoured(rng, more, TRAINED):
        found = make()
        if found:
            out.append(found)
        if len(out) == 6:
            break
    return sample(rng, out, len(out))
