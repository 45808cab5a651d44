#!/usr/bin/env python3
"""Write the tokenizer fixtures: small vocabularies trained here, with the published splitting
rules to the letter, and what the reference libraries make of strings.py with them.

Needs tokenizers, sentencepiece, transformers, gguf (PyPI).

    python3 tests/families/make_tokenizers.py tests/families tests/fuzz/corpus
"""
import io
import json
import pathlib
import struct
import sys

import gguf
import sentencepiece
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

import strings

QWEN2 = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*"
         r"|\s*[\r\n]+|\s+(?!\S)|\s+")
LLAMA3 = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*"
          r"|\s*[\r\n]+|\s+(?!\S)|\s+")
NORMAL, UNKNOWN, CONTROL, USER, BYTE = 1, 2, 3, 4, 6


def split(pattern):
    return pre_tokenizers.Sequence([
        pre_tokenizers.Split(Regex(pattern), "isolated", invert=False),
        pre_tokenizers.ByteLevel(add_prefix_space=False, trim_offsets=False, use_regex=False)])


def special(text):
    return AddedToken(text, special=True, normalized=False)


def added(text, normalized=False):
    return AddedToken(text, special=False, normalized=normalized)


# name of the rule: normalizer, pre-tokenizer, whether whole pieces need no merges, added tokens
BYTE_LEVEL = {
    "qwen2": (normalizers.NFC(), split(QWEN2), False,
              [special("<|endoftext|>"), special("<|im_start|>"), special("<|im_end|>"), added("<think>"),
               added("</think>"), added("<tool_call>")]),
    "llama-bpe": (None, split(LLAMA3), True,
                  [special(t) for t in ("<|begin_of_text|>", "<|end_of_text|>", "<|start_header_id|>", "<|end_header_id|>",
                                        "<|eot_id|>")]),
    "olmo": (normalizers.NFC(), pre_tokenizers.ByteLevel(add_prefix_space=False, trim_offsets=True, use_regex=True), False,
             [special("<|endoftext|>"), special("<|padding|>"), added("|||EMAIL_ADDRESS|||", True)]
             + [added(" " * n, True) for n in range(24, 1, -1)]),
}


def corpus():
    """Enough of everything that merges reach into every script; nothing that changes."""
    return (strings.SENTENCES * 12 + strings.CODE * 12 + strings.EMOJI * 6
            + [s.decode("utf-8", "replace") for s in strings.hard_strings(1200, 5)])


def train_byte_level(name):
    normalizer, pre, whole, tokens = BYTE_LEVEL[name]
    t = Tokenizer(models.BPE())
    if normalizer:
        t.normalizer = normalizer
    t.pre_tokenizer = pre
    t.train_from_iterator(corpus(), trainers.BpeTrainer(
        vocab_size=1400, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False))
    model = json.loads(t.to_str())["model"]
    merges = [tuple(m) if isinstance(m, list) else tuple(m.split(" ")) for m in model["merges"]]
    if whole:
        # Tokens that no merge makes: only the rule for whole pieces finds them.
        used = {x for m in merges for x in m}
        merges = [m for i, m in enumerate(merges) if i % 4 or m[0] + m[1] in used]
    t.model = models.BPE(vocab=model["vocab"], merges=merges, ignore_merges=whole)
    t.decoder = decoders.ByteLevel()
    t.add_tokens([a for a in tokens if not a.special])
    t.add_special_tokens([a for a in tokens if a.special])
    types = {a.content: CONTROL if a.special else USER for a in tokens}
    return t, types, merges


def fnv(data):
    h = 0xCBF29CE484222325
    for b in data:
        h = (h ^ b) * 0x100000001B3 & 0xFFFFFFFFFFFFFFFF
    return h


class Fixture:
    def __init__(self, path, model, pre):
        self.w = gguf.GGUFWriter(path, "tokenizer")
        self.w.add_tokenizer_model(model)
        if pre:
            self.w.add_tokenizer_pre(pre)

    def expect(self, encode, decode, texts, markup=True):
        """Ids of each text, and a hash of the text that they make again; markup: whether control
        tokens may be spelt out."""
        self.w.add_bool("test.markup", markup)
        counts, ids, hashes = [], [], []
        for text in texts:
            got = encode(text.decode("utf-8", "replace"))
            counts.append(len(got))
            ids += got
            hashes.append(fnv(decode(got).encode("utf-8", "replace")))
        assert max(ids) < 65536
        self.w.add_string("test.counts", struct.pack(f"<{len(counts)}H", *counts))
        self.w.add_string("test.ids", struct.pack(f"<{len(ids)}H", *ids))
        self.w.add_string("test.hashes", struct.pack(f"<{len(hashes)}Q", *hashes))

    def close(self):
        self.w.write_header_to_file()
        self.w.write_kv_data_to_file()
        self.w.write_ti_data_to_file()
        self.w.close()


def write_byte_level(folder, name, texts):
    t, types, merges = train_byte_level(name)
    vocab = sorted(t.get_vocab().items(), key=lambda kv: kv[1])
    assert [i for _, i in vocab] == list(range(len(vocab)))
    f = Fixture(folder / f"{name}.gguf", "gpt2", name)
    f.w.add_token_list([s for s, _ in vocab])
    f.w.add_token_types([types.get(s, NORMAL) for s, _ in vocab])
    f.w.add_token_merges([" ".join(m) for m in merges])
    f.expect(lambda s: t.encode(s, add_special_tokens=False).ids, t.decode, texts)
    f.close()


def train_pieces():
    out = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter([line for text in corpus() for line in text.split("\n") if line]), model_writer=out,
        vocab_size=1400, model_type="bpe", byte_fallback=True, character_coverage=0.98, normalization_rule_name="identity",
        remove_extra_whitespaces=False, add_dummy_prefix=True, user_defined_symbols=["<sep>"], num_threads=1,
        minloglevel=2)
    return out.getvalue()


def write_scores(folder, blob, texts):
    """Scores decide which pairs merge, as SentencePiece has it."""
    sp = sentencepiece.SentencePieceProcessor(model_proto=blob)
    n = range(sp.get_piece_size())
    kinds = [UNKNOWN if sp.is_unknown(i) else CONTROL if sp.is_control(i) else BYTE if sp.is_byte(i)
             else USER if sp.id_to_piece(i) == "<sep>" else NORMAL for i in n]
    f = Fixture(folder / "pieces.gguf", "llama", None)
    f.w.add_token_list([sp.id_to_piece(i) for i in n])
    f.w.add_token_types(kinds)
    f.w.add_token_scores([sp.get_score(i) for i in n])
    f.expect(sp.encode, sp.decode, texts, markup=False)
    f.close()
    return sp, kinds


def write_merges(folder, sp, kinds, texts):
    """The same vocabulary with a list of merges, as tokenizer.json files have it."""
    pieces = [sp.id_to_piece(i) for i in range(sp.get_piece_size())]
    vocab = {p: i for i, p in enumerate(pieces)}
    normal = {p for p, k in zip(pieces, kinds) if k == NORMAL}
    found = []
    for p in normal:
        for cut in range(1, len(p)):
            if p[:cut] in normal and p[cut:] in normal:
                found.append((vocab[p], vocab[p[:cut]], vocab[p[cut:]], p[:cut], p[cut:]))
    merges = [m[3:] for m in sorted(found)]  # ids follow the scores
    t = Tokenizer(models.BPE(vocab=vocab, merges=merges, unk_token="<unk>", fuse_unk=True, byte_fallback=True))
    t.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    t.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(),
                                   decoders.Strip(" ", 1, 0)])
    t.add_tokens([added("<sep>")])
    t.add_special_tokens([special("<unk>"), special("<s>"), special("</s>")])
    f = Fixture(folder / "pieces-merges.gguf", "llama", None)
    f.w.add_token_list(pieces)
    f.w.add_token_types([CONTROL if k == UNKNOWN else k for k in kinds])
    f.w.add_token_merges([" ".join(m) for m in merges])
    f.expect(lambda s: t.encode(s, add_special_tokens=False).ids, t.decode, texts)
    f.close()


def write_corpus(folder, sp, kinds):
    """A few kilobytes of each kind, for the fuzzers."""
    size = 320
    for name in ("qwen2", "llama-bpe"):
        t, types, merges = train_byte_level(name)
        vocab = [s for s, i in sorted(t.get_vocab().items(), key=lambda kv: kv[1]) if i < size] + list(types)
        f = Fixture(folder / f"tokenizer-{name}.gguf", "gpt2", name)
        f.w.add_token_list(vocab)
        f.w.add_token_types([types.get(s, NORMAL) for s in vocab])
        f.w.add_token_merges([" ".join(m) for m in merges if {*m, m[0] + m[1]} <= set(vocab)])
        f.w.add_eos_token_id(size)
        f.close()
    f = Fixture(folder / "tokenizer-pieces.gguf", "llama", None)
    f.w.add_token_list([sp.id_to_piece(i) for i in range(size)])
    f.w.add_token_types(kinds[:size])
    f.w.add_token_scores([sp.get_score(i) for i in range(size)])
    f.w.add_bos_token_id(1)
    f.w.add_add_space_prefix(True)
    f.close()


def main():
    folder = pathlib.Path(sys.argv[1])
    texts = strings.hard_strings()
    w = gguf.GGUFWriter(folder / "strings.gguf", "strings")
    w.add_array("test.texts", texts)
    w.write_header_to_file()
    w.write_kv_data_to_file()
    w.write_ti_data_to_file()
    w.close()
    for name in BYTE_LEVEL:
        write_byte_level(folder, name, texts)
    sp, kinds = write_scores(folder, train_pieces(), texts)
    write_merges(folder, sp, kinds, texts)
    write_corpus(pathlib.Path(sys.argv[2]), sp, kinds)
    print(len(texts), "strings,", sum(map(len, texts)), "bytes")


if __name__ == "__main__":
    main()
