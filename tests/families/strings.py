"""Strings that tokenizers find hard, always the same: scripts, emoji, combining marks, digits,
code, white space, contractions, tokens spelt out, and bytes that are no UTF-8."""
import random

SENTENCES = """The quick brown fox jumps over the lazy dog.
Größere Straßen führen über die Brücke, nicht wahr?
L'été dernier, j'ai mangé des œufs à Noël; c'était délicieux !
El niño pidió un café con azúcar. ¿Cuánto cuesta? ¡Nada!
Zażółć gęślą jaźń, powiedział źrebak.
Příliš žluťoučký kůň úpěl ďábelské ódy.
Ξεσκεπάζω την ψυχοφθόρα βδελυγμία.
Съешь же ещё этих мягких французских булок, да выпей чаю.
Жебракують філософи при ґанку церкви в Гадячі, ще й шатро їхнє п’яне знаємо.
עטלף אבק נס דרך מזגן שהתפוצץ כי חם
نص حكيم له سر قاطع وذو شأن عظيم مكتوب على ثوب أخضر
زندگی زیباست ای زیباپسند، می‌خواهم بروم.
ऋषियों को सताने वाले दुष्ट राक्षसों के राजा रावण का सर्वनाश
আমি বাংলায় গান গাই, আমি বাংলার গান গাই।
தமிழ் மொழி மிகவும் பழமையானது.
తెలుగు భాష చాలా తియ్యనిది.
ಕನ್ನಡ ನಾಡು ನುಡಿ ಚೆಲುವು.
മലയാളം എന്റെ മാതൃഭാഷയാണ്.
සිංහල අකුරු ලස්සනයි.
เป็นมนุษย์สุดประเสริฐเลิศคุณค่า
ພາສາລາວເປັນພາສາທາງການ
မြန်မာစာသည် လှပသည်။
ភាសាខ្មែរពិរោះណាស់
བོད་ཡིག་ནི་གལ་ཆེན་པོ་ཡིན།
ქართული ენა ძალიან ლამაზია.
Հայերենը գեղեցիկ լեզու է։
አማርኛ ቋንቋ በጣም ቆንጆ ነው።
我能吞下玻璃而不伤身体。你呢？
吾輩は猫である。名前はまだ無い。ｶﾀｶﾅもｱﾙ。
키스의 고유조건은 입술끼리 만나야 한다.
Tiếng Việt có nhiều dấu thanh điệu phức tạp.
İstanbul'da ılık bir gün, ığdır'dan İzmir'e.
Ég get etið gler án þess að meiða mig.
Õhtul sõime jäätist ja šokolaadi.""".split("\n")

CODE = ["def f(x):\n    return x ** 2  # squared\n", "for (int i = 0; i < n; i++) {\n\ta[i] += b[i];\n}",
        '{"key": [1, 2.5, -3e10, null, true], "s": "a\\nb"}', "<div class=\"x\">&nbsp;</div>\r\n",
        "SELECT * FROM t WHERE a='b' AND c IS NOT NULL;", "#include <stdio.h>\n\n\nint main(void)\n{\n}\n",
        "x = lambda *a, **k: (a, k)", "git commit -m \"it's done\" && ls -la | wc -l",
        "^(?:[a-z0-9!#$%&'*+/=?^_`{|}~-]+)$", "0xDEADBEEF 0b1010 1_000_000 3.14159f",
        "\t\tif a:\n\t\t\tpass\n\t\telse:\n\n\n\t\t\tbreak", "C:\\Users\\ada\\file.txt", "/usr/lib/x86_64-linux-gnu",
        "https://example.org/a?b=c&d=%20e#f", "user@example.org, +49 (0)30 123-456", "$x = $y ?? 'none'; // ok",
        "fn main() -> Result<(), Box<dyn Error>> { Ok(()) }", "a->b.c[d]::e<f>(g)!;", "/* comment */ // another",
        "===== ---- ____ **** #### ~~~~ ....", "!?!?!? ... --- ''' \"\"\" ```", "'); DROP TABLE x; --"]

EMOJI = ["😀", "👍🏽", "👩‍👩‍👧‍👦", "🏳️‍🌈", "🇩🇪🇫🇷🇯", "1️⃣2️⃣#️⃣", "🏴󠁧󠁢󠁥󠁮󠁧󠁿", "❤️❤", "👨🏿‍🚀", "☺︎☺️", "🫨🪿🫎", "⌚⏰",
         "👁️‍🗨️", "🧑‍🤝‍🧑", "✊🏻✊🏼✊🏽", "🀄🃏", "©®™", "🐻‍❄️", "⛹🏽‍♀️", "🤷"]

CONTRACTIONS = ["'s", "'S", "'t", "'T", "'re", "'RE", "'Re", "'rE", "'ve", "'VE", "'m", "'M", "'ll", "'LL", "'lL", "'d",
                "'D", "'ſ", "'sſ", "’s", "''s", "'x", "'l", "'r", "'v", "' s", "'re'", "'llama", "'stop", "'déjà"]

SPELT = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", "<think>", "</think>", "<|eot_id|>", "<|begin_of_text|>",
         "<|start_header_id|>", "<|end_header_id|>", "<|padding|>", "|||EMAIL_ADDRESS|||", "<s>", "</s>", "<unk>", "<0x41>",
         "<tool_call>", "<|", "|>", "<|im_", "<|im_start", "im_end|>", "<|endoftext|", "<sep>", "<sepa>"]

BROKEN = [b"\x80", b"\xff", b"\xc0\xaf", b"\xe2\x82", b"\xe2\x82\x41", b"\xf0\x9f\x98", b"\xf0\x9f\x41", b"\xed\xa0\x80",
          b"\xed\xbf\xbf", b"\xf4\x90\x80\x80", b"\xf5\x80\x80\x80", b"\xf8\x88\x80\x80\x80", b"\xc3", b"\xc3(", b"\xe0\x80\x80",
          b"\xf0\x80\x80\x80", b"\xfe\xff", b"\xc1\x81", b"\xe1\x80\xe2\xf0\x91\x92\xf1\xbf\x41", b"\xbf\xbf\xbf"]

SPACES = [" ", "\t", "\n", "\r", "\r\n", "\v", "\f", "\x85", "\xa0", "\u1680", "\u2003", "\u2009", "\u200a", "\u2028",
          "\u2029", "\u202f", "\u205f", "\u3000", "\u200b", "\ufeff", "\u2060", "\u180e"]

# Letters of many scripts, some younger than the fonts of any machine.
BLOCKS = [(0x41, 0x5A), (0x61, 0x7A), (0xC0, 0x24F), (0x250, 0x2AF), (0x370, 0x3FF), (0x400, 0x52F), (0x531, 0x587),
          (0x5D0, 0x5EA), (0x620, 0x6D3), (0x710, 0x72F), (0x780, 0x7B1), (0x7C0, 0x7EA), (0x800, 0x815), (0x904, 0x97F),
          (0x985, 0x9E3), (0xA05, 0xA74), (0xA85, 0xAE3), (0xB05, 0xB63), (0xB85, 0xBCD), (0xC05, 0xC63), (0xC85, 0xCE3),
          (0xD05, 0xD63), (0xD85, 0xDDF), (0xE01, 0xE4E), (0xE81, 0xECD), (0xF00, 0xF87), (0x1000, 0x109D),
          (0x10A0, 0x10FF), (0x1100, 0x11FF), (0x1200, 0x137C), (0x13A0, 0x13FD), (0x1401, 0x14FF), (0x1680, 0x169C),
          (0x16A0, 0x16F8), (0x1780, 0x17D3), (0x1800, 0x18AA), (0x1C89, 0x1C8A), (0x1E00, 0x1FFF), (0x2070, 0x209C),
          (0x2100, 0x218B), (0x2460, 0x24FF), (0x2C00, 0x2CF3), (0x2D30, 0x2D67), (0x3041, 0x3096), (0x30A1, 0x30FF),
          (0x3105, 0x312F), (0x3131, 0x318E), (0x3400, 0x3420), (0x4E00, 0x9FFF), (0xA000, 0xA0FF), (0xA640, 0xA66E),
          (0xA720, 0xA7DC), (0xA980, 0xA9CD), (0xAC00, 0xD7A3), (0xF900, 0xFA6D), (0xFB00, 0xFB4F), (0xFB50, 0xFBB1),
          (0xFE70, 0xFEFC), (0xFF01, 0xFFDC), (0x10000, 0x100FA), (0x10300, 0x1031F), (0x10400, 0x1044F),
          (0x105C0, 0x105F3), (0x10800, 0x10838), (0x10D40, 0x10D65), (0x11005, 0x11065), (0x11F04, 0x11F10),
          (0x12000, 0x1206F), (0x13000, 0x1306F), (0x16E40, 0x16E9A), (0x1D400, 0x1D7FF), (0x1E900, 0x1E943),
          (0x20000, 0x2003F), (0x2EBF0, 0x2EC20), (0x31350, 0x31370), (0x1F600, 0x1F64F), (0xE000, 0xE00F)]

DIGITS = [(0x30, 0x39), (0x660, 0x669), (0x966, 0x96F), (0xE50, 0xE59), (0x2160, 0x2188), (0xBC, 0xBE), (0xB2, 0xB3),
          (0xFF10, 0xFF19), (0x1D7CE, 0x1D7FF), (0x3007, 0x3007), (0x11DA0, 0x11DA9)]


def decomposed(rng):
    bases = "aeiouAEIOUnNcCsSyYzd' <>=~аеиуάω가각ªöüÅΩẛ"
    marks = list(range(0x300, 0x34F)) + [0x359, 0x35C, 0x360, 0x5B0, 0x64B, 0x93C, 0xE48, 0x1DC4, 0x20D0, 0x3099, 0x302A, 0xFE20]
    return "".join(rng.choice(bases) + "".join(chr(rng.choice(marks)) for _ in range(rng.choice([0, 1, 1, 2, 3])))
                   for _ in range(rng.randint(2, 9)))


def from_blocks(rng, blocks, most):
    low, high = rng.choice(blocks)
    return "".join(chr(rng.randint(low, high)) for _ in range(rng.randint(1, most)))


def spaces(rng):
    return "".join(rng.choice(SPACES[:rng.choice([2, 5, len(SPACES)])]) * rng.choice([1, 1, 2, 3])
                   for _ in range(rng.randint(1, 6)))


def jamo(rng):
    return "".join(chr(rng.choice([rng.randint(0x1100, 0x1112), rng.randint(0x1161, 0x1175), rng.randint(0x11A7, 0x11C2),
                                   rng.randint(0xAC00, 0xAC40)])) for _ in range(rng.randint(2, 10)))


def word(rng):
    return rng.choice(["it", "We", "THEY", "don", "x", "über", "你好", "Ω", "naïve", "cafe\u0301", "ﬁn", "І", "9", "a1b2", "_", "été"])


def fixed():
    out = [""] + SENTENCES + CODE + EMOJI + CONTRACTIONS + SPELT + SPACES
    out += ["a" + c for c in CONTRACTIONS] + ["I" + c + " go" for c in CONTRACTIONS]
    out += [" " + s for s in SENTENCES + EMOJI + SPELT] + [s + " " for s in SENTENCES + CODE]
    out += [chr(p) for p in list(range(0x20)) + list(range(0x7F, 0xA1))]
    out += ["0" * n for n in range(1, 31)] + [" " * n for n in range(2, 60)] + ["\n" * n for n in range(2, 12)]
    out += ["\t" * n for n in (2, 3, 8)] + ["-" * n for n in (2, 3, 4, 5, 8, 40)] + ["a" * n for n in (2, 3, 7, 50, 300)]
    out += ["word" + " " * n + "word" for n in range(1, 30)] + ["x\n" + " " * n + "y" for n in range(0, 20)]
    out += ["\u1680x", "\ufeffBOM", "a\u00adb", "\u202eabc\u202c", "\ufffe\uffff", "\U0010ffff", "a\0b", "<" + "\u0338", "|>\u0338"]
    return [s.encode() for s in out] + BROKEN + [b"a" + b + b"z" for b in BROKEN] + [b + b for b in BROKEN]


def mixed(rng):
    """One string of one of several makings."""
    make = rng.randrange(12)
    if make == 0:
        s = from_blocks(rng, BLOCKS, 12)
    elif make == 1:
        s = " ".join(from_blocks(rng, BLOCKS, 6) for _ in range(rng.randint(2, 4)))
    elif make == 2:
        s = decomposed(rng)
    elif make == 3:
        s = "".join(from_blocks(rng, DIGITS, 5) + rng.choice(["", ".", ",", " ", "/"]) for _ in range(rng.randint(1, 4)))
    elif make == 4:
        s = word(rng) + spaces(rng) + word(rng) + rng.choice(["", spaces(rng)])
    elif make == 5:
        s = "".join(rng.choice(EMOJI) + rng.choice(["", " ", "\ufe0f", "\u200d"]) for _ in range(rng.randint(1, 4)))
    elif make == 6:
        s = rng.choice(CODE)[rng.randint(0, 9):] + rng.choice(["", "\n\n", "  "]) + rng.choice(CODE)[:rng.randint(1, 20)]
    elif make == 7:
        s = "".join(word(rng) + rng.choice(CONTRACTIONS) + rng.choice(["", " "]) for _ in range(rng.randint(1, 3)))
    elif make == 8:
        s = "".join(rng.choice([rng.choice(SPELT), word(rng), spaces(rng)]) for _ in range(rng.randint(2, 5)))
    elif make == 9:
        s = jamo(rng)
    elif make == 10:
        parts = [rng.choice([rng.choice(BROKEN), word(rng).encode(), rng.choice(EMOJI).encode()[:rng.randint(1, 4)],
                             bytes(rng.randrange(256) for _ in range(rng.randint(1, 5)))]) for _ in range(rng.randint(1, 5))]
        return b"".join(parts)
    else:
        s = "".join(rng.choice([word(rng), spaces(rng), rng.choice("!?.,;:-#@'\"()[]{}"), from_blocks(rng, DIGITS, 3),
                                from_blocks(rng, BLOCKS, 4), rng.choice(EMOJI)]) for _ in range(rng.randint(3, 9)))
    return s.encode()


def hard_strings(count=2600, seed=17):
    rng = random.Random(seed)
    seen = dict.fromkeys(fixed())
    while len(seen) < count:
        seen[mixed(rng)] = None
    return list(seen)
