"""A short last training of the decoder on many wordings of questions.

    python -m train.wordings IN.pt OUT.pt [--minutes 15] [--tokenizer train/tokenizer.json]

A model that knows a picture or a sound well still fails when a question is worded as none was in training. Encoders, routers and the
shared space stay as they are, so that vectors and activity do not change; what is trained fakes the shipped int8 numbers. Prompts hold one
turn, most of them about sounds, whose questions have the fewest wordings. It runs on a CPU.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import math
import time

import numpy as np
import torch
import torch.nn.functional as F

from train import stages
from train import tokenizer as tk
from train.model import Config, Gain, Matrix, Percept, fake_q8
from train.pools import KINDS, Encoder, make_chunk

BATCH = {("audio", 1.28): 12, ("audio", 2.56): 6, ("image", "line"): 4, ("image", "square"): 4, ("text", None): 4}


def trained_parameters(model: Percept) -> list:
    """The decoder's matrices, gains and tokens; all else is frozen."""
    for p in model.parameters():
        p.requires_grad_(False)
    chosen = [model.token_embd, model.output_norm, *(m for m in model.blk.modules() if isinstance(m, (Matrix, Gain)))]
    out = [p for m in chosen for p in m.parameters(recurse=False)]
    for p in out:
        p.requires_grad_(True)
    return out


def round_weights(model: Percept) -> None:
    """Gives every matrix its Q8_0 form for one step: each is used in several passes. Frozen ones have that form already."""
    for m in model.modules():
        if isinstance(m, Matrix):
            w = fake_q8(m.weight) if m.weight.requires_grad else m.weight
            m.now = lambda w=w: w


def loss_of(model: Percept, kind, chunk: dict) -> torch.Tensor:
    """Cross entropy of the answers of one batch."""
    batch = {name: torch.from_numpy(x) for name, x in chunk.items() if name not in ("kinds", "skills")}
    ids, target = batch["ids"][:, 0], batch["target"][:, 0]
    used = int((ids != tk.PAD).any(0).nonzero().max()) + 1
    ids, target = ids[:, :used], target[:, :used]
    with torch.no_grad():
        media = stages.encode(model, kind.name, kind.shape, batch, augment=True)
    rows, head = stages.prompt_rows(model, media, ids)
    y, _ = model.decode(rows, torch.zeros(rows.shape[:2]))
    logits = model.logits(y[:, head - 1 : -1])
    return F.cross_entropy(logits[target].float(), ids.long()[target])


def main() -> None:
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("source")
    p.add_argument("out")
    p.add_argument("--minutes", type=float, default=15.0)
    p.add_argument("--lr", type=float, default=2e-4)
    p.add_argument("--seed", type=int, default=1)
    p.add_argument("--tokenizer", default="train/tokenizer.json")
    args = p.parse_args()

    source = torch.load(args.source, map_location="cpu", weights_only=False)
    model = Percept(Config())
    model.load_state_dict(stages.unpacked_state(source["model"]))
    model.quant.activations = True
    parameters = trained_parameters(model)
    model.train()
    adam = torch.optim.AdamW(parameters, lr=args.lr, betas=(0.9, 0.95), weight_decay=0.0)
    rng, encoder = np.random.default_rng(args.seed), Encoder(args.tokenizer)
    torch.manual_seed(args.seed)
    kinds = {(k.name, k.shape): k for k in KINDS}
    began, step = time.monotonic(), 0
    while (done := (time.monotonic() - began) / (60 * args.minutes)) < 1:
        for group in adam.param_groups:
            group["lr"] = args.lr * min(1.0, (step + 1) / 20) * max(0.02, 0.5 * (1 + math.cos(math.pi * done)))
        adam.zero_grad()
        round_weights(model)
        seen, total = {}, 0.0
        for key, n in BATCH.items():
            loss = loss_of(model, kinds[key], make_chunk(rng, kinds[key], n, "train", 1.0, encoder, single=True))
            total = total + loss * n / sum(BATCH.values())
            seen[f"{key[0]}.{key[1]}"] = round(loss.item(), 3)
        total.backward()
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        adam.step()
        step += 1
        if step % 10 == 0:
            print(json.dumps(dict(event="wordings", step=step, seconds=round(time.monotonic() - began, 1), losses=seen)), flush=True)
    torch.save({**source, "config": dataclasses.asdict(model.c), "model": stages.packed_state(model), "wordings": step}, args.out)


if __name__ == "__main__":
    main()
