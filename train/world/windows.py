"""Windows and dialogs: a title bar, a sign or a field or a bar, a message, and buttons."""

from __future__ import annotations

from dataclasses import dataclass

from PIL import Image, ImageDraw

from train.world import assets, canvas, phrases
from train.world.example import BUCKETS, Example, coin, draw, key_of, pick, sample, span
from train.world.language import NUMBERS, ask, caption, listed

FONT_SIZES = {"square": (11, 12), "wide": (11, 12), "detail": (12, 17)}
SCHEMES = {  # paper, ink, button, edge, field
    "light": [((246, 245, 244), (20, 20, 20), (225, 222, 220), (170, 165, 160), (255, 255, 255)),
              ((239, 240, 241), (35, 38, 41), (252, 252, 252), (170, 172, 175), (255, 255, 255)),
              ((236, 233, 216), (0, 0, 0), (245, 244, 234), (120, 130, 140), (255, 255, 255)),
              ((255, 255, 255), (30, 30, 40), (235, 235, 240), (190, 190, 200), (250, 250, 252))],
    "dark": [((48, 48, 48), (240, 240, 240), (70, 70, 72), (20, 20, 20), (30, 30, 30)),
             ((35, 38, 41), (239, 240, 241), (60, 65, 70), (100, 105, 110), (25, 28, 30)),
             ((30, 30, 46), (205, 214, 244), (69, 71, 90), (108, 112, 134), (20, 20, 32))],
}
ACCENTS = ((53, 132, 228), (61, 174, 233), (46, 160, 67), (200, 70, 60), (145, 65, 172), (230, 120, 20), (90, 100, 110), (20, 90, 160))
SIGNS = {"error": ((215, 40, 40), "x"), "warning": ((245, 190, 20), "!"), "question": ((50, 110, 220), "?"),
         "information": ((50, 110, 220), "i")}


@dataclass
class Dialog:
    kind: str
    title: str
    message: str
    buttons: list[str]
    default: int            # index of the highlighted button, -1 for none
    scheme: str
    progress: int = 0       # percent
    checked: bool = False

    def key(self) -> int:
        return key_of("window", self.kind, self.title, self.message, self.buttons)


# --- drawing ------------------------------------------------------------------------------------


class Drawn:
    """A dialog being drawn: the page, its font and colours, and the line down to which it is full."""

    def __init__(self, rng, dialog: Dialog, size, split: str, font_range):
        pack = assets.load()
        self.rng, self.dialog, self.size = rng, dialog, size
        self.font_number, self.font_size = pick(rng, pack.font_ids[split]), draw(rng, *font_range)
        self.font = pack.font(self.font_number, self.font_size)
        self.paper, self.ink, self.button, self.edge, self.field = pick(rng, SCHEMES[dialog.scheme])
        self.accent = pick(rng, ACCENTS)
        ascent, descent = self.font.getmetrics()
        self.line = max(self.font_size + 2, min(ascent + descent, self.font_size + 5))
        self.pad = max(4, self.font_size // 2)

    def width(self, text: str) -> float:
        return self.font.getlength(text)

    def text(self, x: float, y: float, text: str, ink) -> None:
        """The text's line box begins at y; its baseline is where every font's would be."""
        self.pen.text((round(x), round(y + self.line * 0.78)), text, font=self.font, fill=ink, anchor="ls")

    def wrapped(self, text: str, room: float) -> list[str] | None:
        lines, line = [], ""
        for word in text.split(" "):
            longer = f"{line} {word}".strip()
            if self.width(longer) <= room:
                line = longer
                continue
            if not line or self.width(word) > room:
                return None
            lines.append(line)
            line = word
        return lines + [line]

    def buttons_fit(self, labels) -> bool:
        return sum(map(self.width, labels)) + len(labels) * (self.pad * 1.5 + 3) - 3 <= self.size[0] - 8 - 2 * self.pad

    def plan(self) -> bool:
        """Whether all text fits; finds the width, the lines of the message and the height."""
        d, w = self.dialog, self.size[0]
        inner = w - 8 - 2 * self.pad
        self.sign = round(self.line * 1.6) if d.kind in SIGNS else self.line - 2 if d.kind == "settings" else 0
        self.button_widths = [self.width(b) + self.pad * 1.5 for b in d.buttons]
        if not self.buttons_fit(d.buttons) or self.width(d.title) > inner - 16:
            return False
        lines = self.wrapped(d.message, inner - (self.sign + self.pad if self.sign else 0))
        if lines is None:
            return False
        self.lines = lines
        extra = {"progress": 1, "input": 1.4, "login": 2.8}.get(d.kind, 0) * self.line
        body = max(self.sign, len(lines) * self.line) + extra
        self.height = round(self.line + 4 + self.pad + body + self.pad + self.line + 5 + self.pad)
        return self.height <= self.size[1] - 4

    def paint(self, page: Image.Image) -> None:
        self.pen = ImageDraw.Draw(page)
        rng, d = self.rng, self.dialog
        need = max(sum(self.button_widths) + 3 * (len(d.buttons) - 1), self.width(d.title) + 16,
                   max(map(self.width, self.lines)) + (self.sign + self.pad if self.sign else 0), 80)
        w = round(min(self.size[0] - 6, max(need + 2 * self.pad + 4, span(rng, 0.75, 1.0) * self.size[0])))
        h = round(min(self.size[1] - 2, self.height + draw(rng, 0, 8)))
        x, y = draw(rng, 1, self.size[0] - w - 2), draw(rng, 0, self.size[1] - h - 1)
        self.box = (x, y, x + w, y + h)
        self.pen.rectangle((x + 2, y + 2, x + w + 2, y + h + 2), fill=(40, 40, 40))
        self.pen.rectangle(self.box, fill=self.paper, outline=self.edge)
        self._title()
        top = y + self.line + 4 + self.pad
        left = x + self.pad
        if self.sign:
            (self._check if d.kind == "settings" else self._sign)(left, top)
            left += self.sign + self.pad
        for i, line in enumerate(self.lines):
            self.text(left, top + i * self.line, line, self.ink)
        under = top + max(self.sign, len(self.lines) * self.line) + 2
        self._extra(x + self.pad, under, x + w - self.pad)
        self._buttons()

    def _title(self) -> None:
        x0, y0, x1, _ = self.box
        coloured = coin(self.rng, 0.6)
        bar = self.accent if coloured else tuple(max(0, c - 18) for c in self.paper)
        ink = ((255, 255, 255) if canvas.light(bar) < 150 else (0, 0, 0)) if coloured else self.ink
        self.pen.rectangle((x0, y0, x1, y0 + self.line + 3), fill=bar)
        free = x1 - x0 - 18 - self.width(self.dialog.title)
        left = x0 + 4 + (max(0, free / 2) if coin(self.rng) else 0)
        self.text(left, y0 + 1, self.dialog.title, ink)
        cx, cy, r = x1 - 8, y0 + 2 + self.line / 2, 3
        self.pen.line((cx - r, cy - r, cx + r, cy + r), fill=ink)
        self.pen.line((cx - r, cy + r, cx + r, cy - r), fill=ink)

    def _sign(self, x: float, y: float) -> None:
        colour, mark = SIGNS[self.dialog.kind]
        s, pen = self.sign, self.pen
        white = (255, 255, 255)
        if mark == "!":
            pen.polygon([(x + s / 2, y), (x + s, y + s), (x, y + s)], fill=colour, outline=(120, 90, 0))
        else:
            pen.ellipse((x, y, x + s, y + s), fill=colour)
        if mark == "x":
            for sign in (1, -1):
                pen.line((x + s * 0.3, y + s * (0.5 - 0.2 * sign), x + s * 0.7, y + s * (0.5 + 0.2 * sign)), fill=white, width=max(2, s // 8))
        else:
            big = assets.load().font(self.font_number, max(8, int(s * 0.72)))
            pen.text((x + s / 2, y + s * (0.6 if mark == "!" else 0.5)), mark, font=big, fill=(0, 0, 0) if mark == "!" else white, anchor="mm")

    def _check(self, x: float, y: float) -> None:
        s, pen = self.sign, self.pen
        ticked = self.dialog.checked
        pen.rectangle((x, y, x + s, y + s), fill=self.accent if ticked else self.field, outline=self.edge)
        if ticked:
            pen.line((x + s * 0.2, y + s * 0.5, x + s * 0.45, y + s * 0.75, x + s * 0.85, y + s * 0.25), fill=(255, 255, 255), width=2)

    def _extra(self, left: float, y: float, right: float) -> None:
        """What the kind has besides a message: a bar or fields."""
        d, pen, line = self.dialog, self.pen, self.line
        if d.kind == "progress":
            pen.rectangle((left, y + 1, right, y + line - 4), fill=self.field, outline=self.edge)
            full = left + 1 + (right - left - 2) * d.progress / 100
            if d.progress:
                pen.rectangle((left + 1, y + 2, full, y + line - 5), fill=self.accent)
        elif d.kind in ("input", "login"):
            for i in range(1 if d.kind == "input" else 2):
                top = y + i * line * 1.4
                pen.rectangle((left, top, right, top + line * 1.2), fill=self.field, outline=self.edge)
                if i:  # the password
                    for dot in range(6):
                        at = left + 5 + dot * 7
                        pen.ellipse((at, top + line * 0.45, at + 4, top + line * 0.45 + 4), fill=self.ink)
                else:
                    pen.line((left + 4, top + 3, left + 4, top + line * 1.2 - 3), fill=self.ink)

    def _buttons(self) -> None:
        x0, _, x1, y1 = self.box
        d, h = self.dialog, self.line + 3
        wide = sum(self.button_widths) + 3 * (len(d.buttons) - 1)
        free = x1 - x0 - 2 * self.pad - wide
        x = x0 + self.pad + free * pick(self.rng, (0.5, 1.0, 1.0))
        y = y1 - self.pad - h
        for i, (label, w) in enumerate(zip(d.buttons, self.button_widths)):
            fill, ink = (self.accent, (255, 255, 255)) if i == d.default else (self.button, self.ink)
            if i == d.default and canvas.light(fill) > 150:
                ink = (0, 0, 0)
            self.pen.rectangle((x, y, x + w, y + h), fill=fill, outline=self.edge)
            self.text(x + (w - self.width(label)) / 2, y + 1, label, ink)
            x += w + 3


# --- scenes -------------------------------------------------------------------------------------


def message_of(rng, kind: str) -> str:
    if kind == "settings":
        return pick(rng, phrases.CHECKS)
    if kind == "input":
        return f"{pick(rng, ('Enter', 'New', 'Change'))} {pick(rng, phrases.FIELDS).lower()}"
    if kind == "login":
        return f"{pick(rng, ('User', 'Hello', 'Account', 'Sign in'))} {pick(rng, phrases.USERS)}"
    template = pick(rng, phrases.SHARED if coin(rng, 0.15) else phrases.MESSAGES[kind])
    return template.format(file=pick(rng, phrases.FILES), thing=pick(rng, phrases.THINGS), place=pick(rng, phrases.PLACES),
                           n=draw(rng, 2, 98))


def any_buttons(rng, n: int) -> list[str]:
    return sample(rng, phrases.BUTTONS, n)


def any_dialog(rng, bucket: str, most_buttons: int) -> Dialog:
    kind = pick(rng, phrases.KINDS if bucket != "wide" else phrases.LOW_KINDS)
    n = draw(rng, 1, most_buttons)
    return Dialog(
        kind, pick(rng, phrases.TITLES), message_of(rng, kind), any_buttons(rng, n), draw(rng, 0, n - 1) if coin(rng) else -1,
        pick(rng, ("light", "dark")), 10 * draw(rng, 0, 10), coin(rng))


def window_questions(rng, split: str, drawn: Drawn, told: str):
    d = drawn.dialog
    out = [
        ask(rng, split, "window.kind", d.kind), ask(rng, split, "window.title", d.title),
        ask(rng, split, "window.message", d.message), ask(rng, split, "window.buttons", listed(d.buttons)),
    ]
    special = {"progress": lambda: ask(rng, split, "window.progress", f"{d.progress}%"),
               "settings": lambda: ask(rng, split, "window.checked", "yes" if d.checked else "no")}.get(d.kind)
    more = [
        ask(rng, split, "window.button.count", NUMBERS[len(d.buttons)]), ask(rng, split, "window.scheme", d.scheme),
        ask(rng, split, "caption", told), button_question(rng, split, drawn)]
    if d.default >= 0:
        more.append(ask(rng, split, "window.default", d.buttons[d.default]))
    if special:
        out.append(special())
    out = sample(rng, out, min(len(out), 4)) if not special else sample(rng, out[:-1], 3) + out[-1:]
    return sample(rng, out + sample(rng, more, 2), 6)


def button_question(rng, split: str, drawn: Drawn):
    """For no, a label of other buttons that would have fitted: what is asked for is drawn alike for both answers."""
    d = drawn.dialog
    if coin(rng):
        return ask(rng, split, "window.button.exists", "yes", what=pick(rng, d.buttons))
    while True:
        others = any_buttons(rng, len(d.buttons))
        label = pick(rng, others)
        if label not in d.buttons and drawn.buttons_fit(others):
            return ask(rng, split, "window.button.exists", "no", what=label)


def window_example(rng, bucket: str, split: str, difficulty: float) -> Example:
    h, w = BUCKETS[bucket]
    most_buttons = 3 if difficulty > 0.3 else 2
    d = any_dialog(rng, bucket, most_buttons)
    tries = 0
    while True:  # the texts are redrawn, not the kind or the number of buttons: those stay nearly uniform
        drawn = Drawn(rng, d, (w, h), split, FONT_SIZES[bucket])
        if drawn.plan():
            break
        tries += 1
        d.title, d.message, d.buttons = pick(rng, phrases.TITLES), message_of(rng, d.kind), any_buttons(rng, len(d.buttons))
        if tries % 40 == 0:  # some kinds hardly fit a small picture
            d = any_dialog(rng, bucket, most_buttons)
    page = canvas.background(rng, (w, h), canvas.any_colour(rng, split == "test" and coin(rng, 0.3)), split, difficulty)
    drawn.paint(page)
    buttons = f"the button{'s' if len(d.buttons) > 1 else ''} {listed(d.buttons)}"
    ak = phrases.KIND_NAMES[d.kind]
    captions = [caption(rng, split, "window", ak=ak, kind=d.kind, title=d.title, message=d.message, buttons=buttons) for _ in range(2)]
    told = f'{ak} titled "{d.title}" saying "{d.message}" with {buttons}'
    return Example(
        skill="window", key=d.key(), image=canvas.finish(rng, page, 0.5 * difficulty), captions=captions, spoken="",
        qa=window_questions(rng, split, drawn, told))
