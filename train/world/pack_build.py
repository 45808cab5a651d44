"""Builds the asset pack: everything of this machine's fonts and icon themes that the world draws with.

A zip of sprites (WebP), fonts (TrueType or OpenType, cut to ASCII) and a word list, small enough to
be carried to a machine that has none of them. Needs fontTools, wordfreq and rsvg-convert.
"""

from __future__ import annotations

import io
import json
import os
import re
import subprocess
import zipfile

import numpy as np
from fontTools import subset
from fontTools.ttLib import TTFont
from PIL import Image, ImageDraw, ImageFont

HERE = os.path.dirname(os.path.abspath(__file__))
EMOJI_FONT = "/usr/share/fonts/truetype/noto/NotoColorEmoji.ttf"
FONT_FOLDERS = ("/usr/share/fonts/truetype", "/usr/share/fonts/opentype", "/usr/share/texmf/fonts/opentype")
ICONS = "/usr/share/icons"
# Theme and the folders to look in, best first.
THEMES = {
    "tango": ("Tango/scalable",),
    "papirus": ("Papirus/64x64", "Papirus/48x48", "Papirus/32x32"),
    "breeze": ("breeze/{}/64", "breeze/{}/48", "breeze/{}/32", "breeze/{}/22"),
    "adwaita": ("Adwaita/512x512", "Adwaita/256x256", "Adwaita/48x48"),
}
GROUPS = ("actions", "apps", "applets", "categories", "devices", "emblems", "emotes", "legacy", "mimetypes", "places",
          "preferences", "status", "ui")
SIDE = 112
ASCII = range(0x20, 0x7F)
STYLES = re.compile(r"^(regular|book|roman|medium|bold|italic|oblique|bold ?italic|bold ?oblique|semibold|light)$", re.I)
NOT_FONTS = re.compile(r"emoji|symbol|dingbat|math|caps|dunhill|unslanted|quotation|d050000l|display|adf std no|"
                       r"classical serif|upright italic|proportional|keyboard|monoisome|thin|largelineheight|noloopk|webfont|tamil|minus", re.I)
ICONS_NEAR = 6.0    # mean difference of signatures below which two icons look the same
STYLES_PER_FAMILY = 4
WORDS = 14000


def square(image: Image.Image) -> Image.Image:
    """The picture's visible part, centred in a square of SIDE."""
    image = image.convert("RGBA")
    box = image.getchannel("A").point(lambda a: 255 if a > 8 else 0).getbbox()
    image = image.crop(box)
    scale = SIDE / max(image.size)
    image = image.resize([max(1, round(n * scale)) for n in image.size], Image.Resampling.LANCZOS)
    out = Image.new("RGBA", (SIDE, SIDE))
    out.paste(image, ((SIDE - image.width) // 2, (SIDE - image.height) // 2))
    return out


_emoji_font: list = []


def emoji_image(char: str) -> Image.Image:
    if not _emoji_font:
        _emoji_font.append(ImageFont.truetype(EMOJI_FONT, 109))
    page = Image.new("RGBA", (160, 160))
    ImageDraw.Draw(page).text((10, 10), char, font=_emoji_font[0], embedded_color=True)
    return square(page)


def signature(image: Image.Image) -> np.ndarray:
    """24 by 24 pixels on white and on black, to tell how alike two sprites are."""
    small = image.resize((24, 24), Image.Resampling.BOX)
    over = [Image.alpha_composite(Image.new("RGBA", small.size, shade), small) for shade in ("white", "black")]
    return np.concatenate([np.asarray(o.convert("RGB"), np.float32).ravel() for o in over])


def table(name: str) -> list[list[str]]:
    with open(os.path.join(HERE, name), encoding="ascii") as lines:
        return [line.rstrip("\n").split("\t") for line in lines if not line.startswith("#")]


def icon_file(theme: str, names: list[str]) -> str | None:
    for name in names:
        for folder in THEMES[theme]:
            for group in GROUPS:
                base = os.path.join(ICONS, folder.format(group) if "{}" in folder else os.path.join(folder, group), name)
                for path in (base + ".svg", base + ".png"):
                    if os.path.exists(path):
                        return path
    return None


def icon_image(path: str) -> Image.Image | None:
    path = os.path.realpath(path)
    if path.endswith(".svg"):
        done = subprocess.run(["rsvg-convert", "-a", "-w", "128", "-h", "128", path], capture_output=True)
        if done.returncode:
            return None
        image = Image.open(io.BytesIO(done.stdout)).convert("RGBA")
    else:
        image = Image.open(path).convert("RGBA")
    return square(image) if image.getchannel("A").getextrema()[1] > 100 else None


def webp(image: Image.Image) -> bytes:
    out = io.BytesIO()
    image.save(out, "WEBP", quality=84, alpha_quality=90, method=6)
    return out.getvalue()


def sprites():
    """(record, bytes) of every look of every name."""
    for code, name in table("emoji_names.tsv"):
        yield {"name": name, "look": "emoji"}, webp(emoji_image(chr(int(code, 16))))
    signs: dict[str, list] = {}
    for name, wanted in table("icon_names.tsv"):
        for theme in THEMES:
            path = icon_file(theme, wanted.split())
            image = icon_image(path) if path else None
            if image is None:
                continue
            sign = signature(image)
            others = [s for other, known in signs.items() for s in known if other != name]
            if others and np.abs(np.stack(others) - sign).mean(1).min() < ICONS_NEAR:
                continue    # the theme draws another name the same way
            signs.setdefault(name, []).append(sign)
            yield {"name": name, "look": theme}, webp(image)


def font_record(path: str, number: int):
    """(family, style) of a font we can use, else None."""
    font = TTFont(path, fontNumber=number, lazy=True)
    names = font["name"]
    family = names.getDebugName(16) or names.getDebugName(1) or ""
    style = re.sub(r"^\d+ ", "", names.getDebugName(17) or names.getDebugName(2) or "")
    cmap = font.getBestCmap() or {}
    if NOT_FONTS.search(f"{family} {style} {path}") or not STYLES.match(style) or any(c not in cmap for c in ASCII):
        return None
    return re.sub(r" \d+$", "", family.strip()), style.lower()


def cut_font(path: str) -> bytes:
    options = subset.Options()
    options.layout_features = ["kern"]
    options.hinting = False
    options.name_IDs = [1, 2]
    options.notdef_outline = True
    options.drop_tables += ["GPOS", "GSUB", "GDEF", "DSIG", "FFTM", "PfEd", "BASE", "JSTF", "MATH", "STAT", "gasp"]
    font = subset.load_font(path, options)
    cutter = subset.Subsetter(options)
    cutter.populate(unicodes=ASCII)
    cutter.subset(font)
    out = io.BytesIO()
    font.save(out)
    return out.getvalue()


def fonts():
    chosen: dict[str, dict[str, str]] = {}
    for folder in FONT_FOLDERS:
        for base, _, files in sorted(os.walk(folder)):
            for file in sorted(files):
                if file.lower().endswith((".ttf", ".otf")):
                    path = os.path.join(base, file)
                    record = font_record(path, 0)
                    if record:
                        chosen.setdefault(record[0], {}).setdefault(record[1], path)
    order = ["regular", "book", "roman", "bold", "italic", "oblique", "medium", "bold italic", "light", "semibold"]
    for family in sorted(chosen):
        styles = sorted(chosen[family], key=lambda s: order.index(s) if s in order else 99)[:STYLES_PER_FAMILY]
        for style in styles:
            yield {"family": family, "style": style}, cut_font(chosen[family][style])


def words() -> list[str]:
    """Everyday English of 1 to 10 lower-case letters, the most frequent first."""
    from wordfreq import top_n_list

    with open("/usr/share/dict/words", encoding="utf-8") as lines:
        known = {line.strip() for line in lines}
    rude = {"fuck", "fucking", "fucked", "shit", "bitch", "cunt", "nigger", "nigga", "faggot", "whore", "slut", "rape", "porn",
            "pussy", "dick", "cock", "asshole", "bastard", "suicide"}
    return [w for w in top_n_list("en", 60000) if re.fullmatch("[a-z]{1,10}", w) and w in known and w not in rude
            and (len(w) > 1 or w in "ai")][:WORDS]


def build(out: str) -> None:
    meta: dict = {"sprites": [], "fonts": []}
    os.makedirs(os.path.dirname(os.path.abspath(out)), exist_ok=True)
    with zipfile.ZipFile(out + ".part", "w", zipfile.ZIP_DEFLATED) as pack:
        def put(name, data):  # fixed date: the same input gives the same pack
            pack.writestr(zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0)), data, zipfile.ZIP_DEFLATED, 9)

        for kind, source in (("sprites", sprites()), ("fonts", fonts())):
            size = 0
            for number, (record, data) in enumerate(source):
                put(f"{kind}/{number:04}", data)
                meta[kind].append(record)
                size += len(data)
            print(f"{kind}: {len(meta[kind])}, {size / 2**20:.2f} MiB")
        put("words", "\n".join(words()))
        put("meta", json.dumps(meta))
    os.replace(out + ".part", out)
    print(f"{out}: {os.path.getsize(out) / 2**20:.2f} MiB, {len({s['name'] for s in meta['sprites']})} names, "
          f"{len({f['family'] for f in meta['fonts']})} font families")
