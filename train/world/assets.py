"""The asset pack that the world draws with: `load()`, and `python3 -m train.world.assets build OUT`.

The pack is found by argument or in PERCEPT_ASSETS (the file, or the folder that holds image.pack).
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import sys
import zipfile
from functools import lru_cache

from PIL import Image, ImageFont

# Whole families with all their variants ("Clear Sans Light"), never drawn in training: four sans, four serif, one slab and
# three mono.
TEST_FAMILIES = ("Cabin", "Cantarell", "Clear Sans", "Karla", "Caladea", "Charis SIL", "EB Garamond", "Vollkorn", "Roboto Slab",
                 "Courier Prime", "JetBrains Mono", "mononoki")


class Sprite:
    """One look of a name: the drawing, and how bright it is on average, to choose a background by."""

    __slots__ = ("name", "look", "image", "light", "sizes")

    def __init__(self, name: str, look: str, image: Image.Image):
        self.name, self.look, self.image, self.sizes = name, look, image, {}
        tiny = image.resize((1, 1), Image.Resampling.BOX)  # resize weighs colours by alpha
        r, g, b, _ = tiny.getpixel((0, 0))
        self.light = 0.3 * r + 0.59 * g + 0.11 * b


class Assets:
    def __init__(self, path: str):
        self.path = path
        with zipfile.ZipFile(path) as pack:
            meta = json.loads(pack.read("meta"))
            self.words = pack.read("words").decode("ascii").split("\n")
            self.sprites = [
                Sprite(s["name"], s["look"], Image.open(io.BytesIO(pack.read(f"sprites/{i:04}"))).convert("RGBA"))
                for i, s in enumerate(meta["sprites"])]
            self._font_data = [pack.read(f"fonts/{i:04}") for i in range(len(meta["fonts"]))]
        self.fonts = meta["fonts"]
        self.font_ids = {
            "train": [i for i, f in enumerate(self.fonts) if not f["family"].startswith(TEST_FAMILIES)],
            "test": [i for i, f in enumerate(self.fonts) if f["family"].startswith(TEST_FAMILIES)]}
        self._fonts: dict = {}
        self._name_sprites()

    def _name_sprites(self) -> None:
        self.looks: dict[str, list[Sprite]] = {}
        for sprite in self.sprites:
            self.looks.setdefault(sprite.name, []).append(sprite)
        # In the order of the list, in which neighbours are alike, and shuffled: any first n of the latter are a fair pool.
        self.sprite_order = list(self.looks)
        self.sprite_names = sorted(self.looks, key=lambda name: hashlib.sha256(name.encode()).digest())

    def keep_look(self, look: str) -> None:
        """Forgets the sprites of every other look: what a repository shows must not hold the icon themes' drawings."""
        self.sprites = [sprite for sprite in self.sprites if sprite.look == look]
        self._name_sprites()

    def font(self, number: int, size: int) -> ImageFont.FreeTypeFont:
        """The basic layout everywhere: text must not depend on which shaping library Pillow found."""
        found = self._fonts.get((number, size))
        if found is None:
            found = self._fonts[number, size] = ImageFont.truetype(
                io.BytesIO(self._font_data[number]), size, layout_engine=ImageFont.Layout.BASIC)
        return found


@lru_cache(maxsize=2)
def _load(path: str) -> Assets:
    return Assets(path)


def load(path: str | None = None) -> Assets:
    path = path or os.environ.get("PERCEPT_ASSETS")
    if not path:
        raise FileNotFoundError("no asset pack: set PERCEPT_ASSETS to it; `python3 -m train.world.assets build OUT` makes one")
    if os.path.isdir(path):
        path = os.path.join(path, "image.pack")
    return _load(os.path.realpath(path))


if __name__ == "__main__":
    if len(sys.argv) != 3 or sys.argv[1] != "build":
        sys.exit("usage: python3 -m train.world.assets build OUT")
    from train.world.pack_build import build

    build(sys.argv[2])
