"""Chooses the emoji that the world teaches: `python3 -m train.world.emoji_select > train/world/emoji_names.tsv`.

A name for each, from the CLDR annotations, and no two that look alike. The result is committed, so
that the classes stay the same when a font or the annotations get younger.
"""

from __future__ import annotations

import re
import unicodedata
import xml.etree.ElementTree as ET

import numpy as np
from fontTools.ttLib import TTFont

from train.world.pack_build import EMOJI_FONT, emoji_image, signature

ANNOTATIONS = "/usr/share/unicode/cldr/common/annotations/en.xml"
# Names that a picture cannot tell: variants by colour of skin or hair, parts, dates, foreign text.
NOT_NAMES = re.compile(
    r"skin tone|(red|white|curly) hair$|^bald$|o.clock|-thirty|^Japanese|^regional|button$|^keycap"
    r"|^white (small|medium)|^black (small|medium)|showing (Asia|Americas)|^(trade mark|registered|copyright)$"
    r"|^(hash sign|asterisk|digit)|medium-small|^input |arrow curving|^circled M$|^person: |^(wo)?man: "
)
KEEP_BUTTONS = re.compile(r"^(play|pause|stop|record|eject|fast-forward|fast reverse|next track|last track|shuffle tracks|repeat"
                          r"|SOS|NEW|COOL|FREE|OK|UP!|VS|radio) button$")
NEAR = 18.0  # mean difference of two 24 by 24 pictures below which one of them goes


def plain_name(name: str) -> str:
    name = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode() if "\u2019" not in name else \
        name.replace("\u2019", "'")
    name = re.sub(r"[^a-z0-9' ]+", " ", re.sub(r"\(.*?\)", "", name).lower())
    return " ".join(name.replace("'s ", "s ").replace("'", "").split())


def candidates() -> list[tuple[str, str]]:
    glyphs = TTFont(EMOJI_FONT).getBestCmap()
    out = []
    for note in ET.parse(ANNOTATIONS).getroot().iter("annotation"):
        char, name = note.get("cp"), note.text
        if note.get("type") != "tts" or len(char) != 1 or ord(char) not in glyphs:
            continue
        if 0x1F1E6 <= ord(char) <= 0x1F1FF or NOT_NAMES.search(name) and not KEEP_BUTTONS.match(name):
            continue
        out.append((char, plain_name(name)))
    return sorted(out)


def select() -> list[tuple[str, str]]:
    kept, names, signs = [], set(), []
    for char, name in candidates():
        sign = signature(emoji_image(char))
        if name in names or signs and np.abs(np.stack(signs) - sign).mean(1).min() < NEAR:
            continue
        kept.append((char, name))
        names.add(name)
        signs.append(sign)
    return kept


if __name__ == "__main__":
    print("# Code point and the name we teach.")
    for char, name in select():
        print(f"{ord(char):x}\t{name}")
