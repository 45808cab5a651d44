"""Held-out prompts with the reference's greedy answers, for the test that the C runtime gives the same ones.

    python -m train.prompts MODEL.gguf TOKENIZER.json OUT-FOLDER [IMAGES] [SOUNDS]

Files are lossless (WebP, FLAC), so that both sides see the same pixels and samples. The reference runs in f32 with the file's
weights dequantised and decodes without a cache, the whole prompt again for every token.
"""

from __future__ import annotations

import json
import os
import sys

import numpy as np
import soundfile
import torch
from PIL import Image

from train import fronts
from train import tokenizer as tk
from train.export import load_gguf
from train.world import audio, image, text

MAX_TOKENS = 24
BUCKETS = ("square", "small", "line", "square", "wide")


@torch.no_grad()
def media_of(model, pixels: np.ndarray | None, samples: np.ndarray | None) -> list[tuple]:
    media = []
    if pixels is not None:
        h, w = pixels.shape[:2]
        grid = fronts.grid_of(w, h, 64)
        x = fronts.resize(torch.from_numpy(pixels.copy()).permute(2, 0, 1)[None].float(), grid)
        media.append((tk.IMAGE, model.img, *model.img(fronts.patches(x, grid), grid)))
    if samples is not None:
        media.append((tk.AUDIO, model.aud, *model.aud(fronts.log_mel(torch.from_numpy(samples)[None]))))
    return media


@torch.no_grad()
def answer(model, tokenizer, media: list[tuple], question: str) -> tuple[str, float]:
    """The greedy answer, and the smallest lead of a chosen token over the next best."""
    one = lambda i: model.embed(torch.tensor([[i]]))
    rows = [one(tk.BOS)]
    for marker, encoder, s, v in media:
        rows += [one(marker), model.media_rows(encoder, s, v)]
    rows.append(model.embed(torch.tensor([[tk.USER, *tokenizer.encode(question.strip()).ids, tk.ASSISTANT]])))
    x, out, lead = torch.cat(rows, dim=1), [], float("inf")
    while len(out) < MAX_TOKENS:
        logits = model.logits(model.decode(x, torch.zeros(x.shape[:2]))[0][:, -1])[0]
        logits[[i for i in range(8) if i != tk.EOS]] = float("-inf")
        best = logits.topk(2)
        lead = min(lead, float(best.values[0] - best.values[1]))
        token = int(best.indices[0])
        if token == tk.EOS:
            break
        out.append(token)
        x = torch.cat([x, one(token)], dim=1)
    return tokenizer.decode(out), lead


def main() -> None:
    model_path, tokenizer_path, folder = sys.argv[1:4]
    n_images, n_sounds = (int(n) for n in (sys.argv[4:6] or (44, 22)))
    os.makedirs(folder, exist_ok=True)
    model, tokenizer = load_gguf(model_path), tk.load(tokenizer_path)
    rng = np.random.default_rng(77)
    prompts = []

    def add(e, name: str | None, media: list[tuple]) -> None:
        for _, question, _ in e.qa:
            said, lead = answer(model, tokenizer, media, question)
            prompts.append({"file": name, "question": question, "answer": said, "lead": round(lead, 4)})

    for i in range(n_images):
        e = image.image_example(rng, BUCKETS[i % len(BUCKETS)], "test", 0.6)
        name = f"{i:02}.webp"
        Image.fromarray(e.image).save(os.path.join(folder, name), lossless=True, method=6)
        add(e, name, media_of(model, e.image, None))
    for i in range(n_sounds):
        e = audio.audio_example(rng, (1.28, 1.28, 2.56)[i % 3], "test", 0.6)
        name = f"{i:02}.flac"
        soundfile.write(os.path.join(folder, name), e.audio, fronts.SAMPLE_RATE)
        add(e, name, media_of(model, None, e.audio.astype(np.float32) / 32768))
    for _ in range(5):
        add(text.text_example(rng, "test"), None, [])
    with open(os.path.join(folder, "prompts.json"), "w") as f:
        json.dump(prompts, f, indent=0)
    print(len(prompts), "prompts; leads under 0.01:", sum(p["lead"] < 0.01 for p in prompts))


if __name__ == "__main__":
    main()
