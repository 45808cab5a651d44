"""Parity fixtures: every stage of the reference on fixed inputs, for the tests of the C runtime.

    python -m train.golden MODEL.gguf TOKENIZER.json OUT.golden

The output is a GGUF container of f32 tensors named `<case>/<stage>`. The reference runs in f32 with the file's weights dequantised.
"""

from __future__ import annotations

import sys

import numpy as np
import torch
from gguf import GGUFWriter

from train import fronts
from train.export import load_gguf
from train.model import Probe
from train.tokenizer import ASSISTANT, AUDIO, BOS, IMAGE, USER, load


class Recorder(Probe):
    def __init__(self, store: dict, case: str):
        self.store, self.case = store, case

    def __call__(self, name: str, rows: torch.Tensor) -> None:
        rows = rows.detach().float()
        self.store[f"{self.case}/{name}"] = rows.reshape(-1, rows.shape[-1]).numpy().copy()


def scene(height: int, width: int) -> np.ndarray:
    """A smooth picture with edges, the same everywhere."""
    y, x = np.mgrid[0:height, 0:width].astype(np.float64)
    rgb = np.stack([127 + 90 * np.sin(x / 9 + y / 23), 40 + 200 * y / height, 255 * ((x // 11 + y // 7) % 2)], axis=-1)
    rgb[(x - width / 2) ** 2 + (y - height / 2) ** 2 < (height / 4) ** 2] = (220, 30, 60)
    return np.clip(np.rint(rgb), 0, 255).astype(np.uint8)


def clip(n: int) -> np.ndarray:
    t = np.arange(n) / fronts.SAMPLE_RATE
    x = 0.4 * np.sin(2 * np.pi * (300 + 400 * t) * t) * np.exp(-2 * t) + 0.02 * np.random.default_rng(5).standard_normal(n)
    return np.rint(np.clip(x, -1, 1) * 32767).astype(np.int16).astype(np.float32) / 32768


@torch.no_grad()
def make(model, tokenizer) -> dict[str, np.ndarray]:
    out: dict[str, np.ndarray] = {}

    def image(case: str, height: int, width: int, max_patches: int):
        rgb = scene(height, width)
        out[f"{case}/rgb"], out[f"{case}/budget"] = rgb.astype(np.float32), np.array([max_patches], np.float32)
        grid = fronts.grid_of(width, height, max_patches)
        x = fronts.resize(torch.from_numpy(rgb).permute(2, 0, 1)[None].float(), grid)
        patches = fronts.patches(x, grid)
        record = Recorder(out, case)
        record("patches", patches)
        out[f"{case}/grid"] = np.array(grid, np.float32)
        return model.img(patches, grid, record)

    def audio(case: str, n: int):
        samples = clip(n)
        out[f"{case}/samples"] = samples
        mel = fronts.log_mel(torch.from_numpy(samples)[None])
        record = Recorder(out, case)
        record("mel", mel)
        return model.aud(mel, record)

    def prompt(case: str, rows: torch.Tensor, shift: float):
        out[f"{case}/shift"] = np.array([shift], np.float32)
        record = Recorder(out, case)
        record("rows", rows)
        final, _ = model.decode(rows, torch.full(rows.shape[:2], shift), record)
        logits = model.logits(final)
        out[f"{case}/logits"] = logits[0, -3:].numpy().copy()

    ids = lambda text: tokenizer.encode(text).ids
    embed = lambda i: model.embed(torch.tensor([i]))

    picture = image("image0", 70, 100, 64)          # shrinks nothing, 20-odd patches
    image("image1", 53, 61, 64)                     # enlarged
    image("image2", 150, 210, 64)                   # reduced to the budget
    sound = audio("audio0", 20_000)
    audio("audio1", 1)
    audio("audio2", 4_321)
    for i, text in enumerate(["a red circle and two blue squares", "Open", "caf\u00e9 \u2603 42%"]):
        out[f"text{i}/ids"] = np.array(ids(text), np.float32)
        model.txt(torch.tensor([ids(text)]), None, Recorder(out, f"text{i}"))

    question = "How many circles are there?"
    tail = [USER, *ids(question), ASSISTANT]
    out["prompt0/ids"] = np.array([BOS, *tail], np.float32)
    prompt("prompt0", embed([BOS, *tail]), 0.0)
    seen = torch.cat([embed([BOS, IMAGE]), model.media_rows(model.img, *picture), embed(tail)], dim=1)
    prompt("prompt1", seen, 0.0)
    prompt("prompt2", seen, -0.35)
    both = torch.cat(
        [embed([BOS, IMAGE]), model.media_rows(model.img, *picture), embed([AUDIO]), model.media_rows(model.aud, *sound), embed(tail)], dim=1
    )
    prompt("prompt3", both, 0.4)
    return out


if __name__ == "__main__":
    stages = make(load_gguf(sys.argv[1]), load(sys.argv[2]))
    w = GGUFWriter(sys.argv[3], "percept-golden")
    for name, x in stages.items():
        w.add_tensor(name, np.ascontiguousarray(x, dtype=np.float32))
    w.write_header_to_file()
    w.write_kv_data_to_file()
    w.write_tensors_to_file()
    w.close()
