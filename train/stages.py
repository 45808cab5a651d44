"""Three-stage training with a curriculum.

    python -m train.stages --out DIR [--minutes 17] [--workers 14] [--resume]

1. base ability: contrastive pairs, captions, questions; every gate is free.
2. adaptation: the same with a sparsity target annealed to its goal; half of the segments draw an effort shift.
3. fine tuning: rank-16 adapters on every linear of the frozen base, with the shipped int8 numbers faked; merged at the end.

Progress is time, so that a run fills the minutes it is given. The curriculum raises the generator's difficulty over the first
quarter, with a fifth always from the full range. State is saved every few minutes and resumed with --resume.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import math
import multiprocessing as mp
import os
import time

import numpy as np
import torch
import torch.nn.functional as F

from train import fronts
from train import tokenizer as tk
from train import model as reference
from train.graphs import GraphedStep
from train.model import Config, Density, Matrix, Percept, Router, q8_blocks
from train.optimizer import Muon
from train.pools import KINDS, TEXT_TOKENS, Encoder, Pools, make_chunk

STAGE_ENDS = (0.2, 0.86, 1.0)
GOAL_HEADS, GOAL_EXPERTS = 0.25, 2.5            # with the always-on parts about a tenth of the decoder's parameters
SHIFT = 0.5                                    # effort +-1 is a shift of +-0.5
GRIDS = {"square": (8, 8), "line": (2, 16), "wide": (6, 10), "tall": (10, 6), "small": (4, 4), "detail": (16, 16)}
# Examples of a step by kind and shape. A step shows one scene, whose prompts are of about equal length; each scene is captured apart, so they are few.
BATCHES = {("image", "square"): 224, ("image", "line"): 352, ("image", "wide"): 192, ("image", "tall"): 192, ("image", "small"): 224, ("image", "detail"): 48,
           ("audio", 1.28): 112, ("audio", 2.56): 80, ("audio", 3.84): 80, ("spoken", "square"): 44, ("spoken", "line"): 56, ("text", None): 48}
# shapes of image, audio and spoken part, and how often
SCENES = [("square", 2.56, "square", 0.32), ("square", 3.84, "square", 0.06), ("square", 1.28, "line", 0.04), ("line", 1.28, "line", 0.32), ("line", 2.56, "line", 0.08),
          ("line", 3.84, "square", 0.05), ("wide", 2.56, "square", 0.06), ("tall", 2.56, "square", 0.04), ("small", 1.28, "square", 0.05), ("detail", 3.84, "square", 0.08)]
IGNORED = -100
FINE_TUNING_BATCH = 0.6                         # of those: faked int8 numbers keep more for the backward pass
LONG = 200                                     # prompts of more rows are decoded apart
CUTS = (0, 7, 3, 12, 5)                         # frames off the end of a clip
WHATS = {"both": 0.88, "vector": 0.04, "sequence": 0.04, "none": 0.04}
WEIGHTS = {"image": 1.0, "audio": 0.8, "spoken": 0.5, "text": 0.25}


# --- one batch ----------------------------------------------------------------------------------


def image_input(batch: dict, grid: tuple[int, int], augment: bool) -> torch.Tensor:
    x = batch["image"].permute(0, 3, 1, 2).float()
    if augment:
        n = x.shape[0]
        small = F.interpolate(x, scale_factor=0.66, mode="bilinear", antialias=True)
        soft = F.interpolate(small, size=x.shape[-2:], mode="bilinear", antialias=True)
        x = torch.where(torch.rand(n, 1, 1, 1, device=x.device) < 0.2, soft, x)       # pictures that were resized
        gain = 1 + 0.12 * torch.randn(n, 1, 1, 1, device=x.device)
        x = x * gain + 8 * torch.randn(n, 1, 1, 1, device=x.device)
        x = (x + torch.randn_like(x) * (5 * torch.rand(n, 1, 1, 1, device=x.device))).clamp(0, 255).round()
    return fronts.patches(fronts.resize(x, grid), grid)


def audio_input(batch: dict, augment: bool, cut: int = 0) -> torch.Tensor:
    """Log-mel frames; the last `cut` of them are left out."""
    x = batch["audio"].float() / 32768
    if augment:
        n = x.shape[0]
        x = x * torch.empty(n, 1, device=x.device).uniform_(0.6, 1.15)
        x = (x + torch.randn_like(x) * 10 ** torch.empty(n, 1, device=x.device).uniform_(-4.5, -2.3)).clamp(-1, 1)
    return fronts.log_mel(x[:, : x.shape[1] - cut * fronts.HOP])


def segment_shift(batch: int, media: int, text: int, device, stage: int) -> torch.Tensor:
    """One shift for the media of each prompt and one for its text; half of the segments keep 0."""
    if stage == 1:
        return torch.zeros(batch, media + text, device=device)
    s = torch.empty(batch, 2, device=device).uniform_(-SHIFT, SHIFT) * (torch.rand(batch, 2, device=device) < 0.5)
    return torch.cat([s[:, :1].expand(-1, media), s[:, 1:].expand(-1, text)], dim=1)


def sigmoid_pairs(model: Percept, a: torch.Tensor, b: torch.Tensor, key_a: torch.Tensor, key_b: torch.Tensor) -> torch.Tensor:
    """Pairwise sigmoid loss at 256, 128 and 64 dimensions; equal scenes are positives."""
    same = key_a[:, None] == key_b[None]
    sign = torch.where(same, 1.0, -1.0)
    loss = 0.0
    for width, weight in ((256, 0.6), (128, 0.25), (64, 0.15)):
        u, v = F.normalize(a[:, :width], dim=-1), F.normalize(b[:, :width], dim=-1)
        logit = model.space_scale.exp() * (u @ v.t()) + model.space_bias
        loss = loss - weight * F.logsigmoid(sign * logit).sum() / len(a)
    return loss


def text_vectors(model: Percept, ids: torch.Tensor) -> torch.Tensor:
    return model.txt(ids.long(), ids != tk.PAD)[1]


def encode(model: Percept, kind: str, shape, batch: dict, augment: bool, cut: int = 0) -> list[tuple]:
    """(marker id, encoder, S, v) of every medium of the prompt, in order."""
    media = []
    if kind in ("image", "spoken"):
        grid = GRIDS[shape]
        media.append((tk.IMAGE, model.img, *model.img(image_input(batch, grid, augment), grid)))
    if kind in ("audio", "spoken"):
        media.append((tk.AUDIO, model.aud, *model.aud(audio_input(batch, augment, cut))))
    return media


def prompt_rows(model: Percept, media: list[tuple], ids: torch.Tensor, parts: str = "both") -> tuple[torch.Tensor, int]:
    """Rows of `<bos> media… text`, and how many precede the text. parts: what a medium contributes ('both', 'vector', 'sequence', 'none')."""
    n = len(ids)
    special = lambda i: model.embed(torch.full((n, 1), i, device=ids.device)).float()
    rows = [special(tk.BOS)]
    for marker, encoder, s, v in media:
        if parts == "none":
            continue
        m = model.media_rows(encoder, s, v)
        rows += [special(marker), m if parts == "both" else m[:, :1] if parts == "vector" else m[:, 1:]]
    head = sum(r.shape[1] for r in rows)
    return torch.cat([*rows, model.embed(ids.long()).float()], dim=1), head


class Sparsity:
    """Adaptive L1 on the gates (ReLU routing, arXiv 2412.14711): weights rise while activity is above the target."""

    def __init__(self, device, weights: list | None = None):
        self.weights = torch.tensor(weights or [1e-4, 1e-4], device=device)      # of the heads and of the experts
        self.sums = torch.zeros(3, device=device)
        self.heads = self.experts = 0.0

    def loss(self, routing, valid: torch.Tensor, neutral: torch.Tensor, n_experts: int) -> torch.Tensor:
        g = torch.stack(routing.heads)[..., 1:]                 # [L, B, T, G - 1]
        r = torch.stack(routing.experts)                        # [L, B, T, N]
        v = valid.float()
        count = v.sum().clamp_min(1) * g.shape[0]
        l1_heads = (g.mean(-1) * v).sum() / count
        on = (r > 0).float() * v.unsqueeze(-1)
        load = on.sum((1, 2))                                   # [L, N]
        share = load / load.sum(-1, keepdim=True).clamp_min(1) * n_experts
        l1_experts = ((r * v.unsqueeze(-1)).sum((1, 2)) * share.detach()).sum() / count
        w = (valid & neutral).float()
        self.sums += torch.stack([((g > 0).float().mean(-1) * w).sum(), ((r > 0).float().sum(-1) * w).sum(), w.sum() * g.shape[0]]).detach()
        return self.weights[0] * l1_heads + self.weights[1] * l1_experts

    def adapt(self, goal_heads: float, goal_experts: float) -> None:
        heads, experts, n = self.sums.tolist()
        self.sums.zero_()
        if n:
            self.heads, self.experts = heads / n, experts / n
            step = lambda on, goal: (1.05 if on > 1.3 * goal else 1.025) if on > goal else 1 / 1.025
            self.weights *= torch.tensor([step(self.heads, goal_heads), step(self.experts, goal_experts)], device=self.weights.device)
            self.weights.clamp_(1e-6, 1.0)


@dataclasses.dataclass
class Part:
    """One kind of example in a step: what was drawn, what its media became, and its rows in the decoder."""

    kind: str
    shape: object
    batch: dict
    media: list = dataclasses.field(default_factory=list)
    rows: torch.Tensor | None = None
    head: int = 0
    shift: torch.Tensor | None = None


def pair_losses(model: Percept, parts: list[Part]) -> dict:
    """Media against captions, and the spoken description against its picture."""
    seen = [p for p in parts if p.media]
    texts = text_vectors(model, torch.cat([p.batch["captions"] for p in seen])).split([len(p.batch["key"]) for p in seen])
    losses = {}
    for p, text in zip(seen, texts):
        key = p.batch["key"]
        loss = sum(sigmoid_pairs(model, v, text, key, key) for (*_, v) in p.media)
        if p.kind == "spoken":
            loss = loss + sigmoid_pairs(model, p.media[0][3], p.media[1][3], key, key)
        losses[p.kind] = loss
    return losses


def compose(model: Percept, part: Part, stage: int, what: str) -> None:
    """The prompt of a part; what is drawn at times without a medium's vector, its sequence, or the medium."""
    media = part.media[::-1] if part.kind == "spoken" and part.shape == "line" else part.media     # both orders are seen
    part.rows, part.head = prompt_rows(model, media, part.batch["ids"], what)
    part.shift = segment_shift(len(part.rows), part.head, TEXT_TOKENS, part.rows.device, stage)


def decode_together(model: Percept, parts: list[Part], stage: int, sparsity: Sparsity) -> tuple[dict, torch.Tensor]:
    """One decoder pass over several parts, padded at the end: cross entropy of the answers by part, and the sparsity loss."""
    length = max(p.rows.shape[1] for p in parts)
    pad = lambda x, value: F.pad(x, (0, 0) * (x.ndim - 2) + (0, length - x.shape[1]), value=value)
    x = torch.cat([pad(p.rows, 0.0) for p in parts])
    shift = torch.cat([pad(p.shift, 1.0) for p in parts])
    rows, routing = model.decode(x, shift)
    answers, at = {}, 0
    for p in parts:
        mine = rows[at : at + len(p.rows), p.head - 1 : p.head - 1 + TEXT_TOKENS]
        wanted = torch.where(p.batch["target"], p.batch["ids"].long(), IGNORED)     # no gather by mask: it would wait for the device
        answers[p.kind] = F.cross_entropy(model.logits(mine).float().flatten(0, 1), wanted.flatten(), ignore_index=IGNORED)
        at += len(p.rows)
    extra = x.new_zeros(())
    if stage > 1 and model.c.routing == "routed":
        valid = torch.cat([pad(torch.cat([torch.ones(len(p.rows), p.head, dtype=torch.bool, device=x.device), p.batch["ids"] != tk.PAD], 1), False) for p in parts])
        extra = sparsity.loss(routing, valid, shift == 0, model.c.n_experts)
    return answers, extra


def step_loss(model: Percept, parts: list[Part], stage: int, sparsity: Sparsity, what: str) -> dict:
    """The losses of a step, 'loss' the one to minimise. Nothing here waits for the device, so it can be captured."""
    shapes = {p.kind: p.shape for p in parts}
    cut = CUTS[(list(GRIDS).index(shapes["image"]) + round(100 * shapes["audio"])) % len(CUTS)]      # clips of many lengths, one for each pair of shapes
    for p in parts:
        p.media = encode(model, p.kind, p.shape, p.batch, augment=True, cut=cut)
        compose(model, p, stage, what)
    contrast = 1.0 if stage == 1 else 0.5
    pairs = pair_losses(model, parts)
    loss = contrast * sum(WEIGHTS[kind] * x for kind, x in pairs.items())
    log = {f"pairs.{kind}": x for kind, x in pairs.items()}
    for group in ([p for p in parts if p.rows.shape[1] <= LONG], [p for p in parts if p.rows.shape[1] > LONG]):
        if group:
            answers, extra = decode_together(model, group, stage, sparsity)
            loss = loss + sum(WEIGHTS[kind] * x for kind, x in answers.items()) + extra
            log.update({f"answers.{kind}": x for kind, x in answers.items()})
    return {"loss": loss, **log}


# --- validation ---------------------------------------------------------------------------------


def _held_out(i: int, n: int, tokenizer_path: str) -> tuple:
    chunk = make_chunk(np.random.default_rng(12345 + i), KINDS[i], n, "test", 1.0, Encoder(tokenizer_path), single=True)
    kinds, skills = chunk.pop("kinds"), chunk.pop("skills")
    return KINDS[i], chunk, kinds, skills


class Validation:
    """Held-out examples as fixed chunks; answers are scored by teacher forcing, where all tokens right is what greedy decoding gives."""

    def __init__(self, tokenizer_path: str, n: int):
        """Makes the examples in processes of its own: before CUDA starts."""
        share = lambda k: 0.25 if k.name == "spoken" else 0.5 if k.shape in ("wide", "tall", "small", "detail") else 1.0
        tasks = [(i, max(8, int(n * share(k))), tokenizer_path) for i, k in enumerate(KINDS)]
        with mp.Pool(min(len(tasks), os.cpu_count() or 1)) as pool:
            self.chunks = pool.starmap(_held_out, tasks, chunksize=1)

    def to(self, device) -> None:
        self.chunks = [(k, {a: torch.from_numpy(x).to(device) for a, x in data.items()}, kinds, skills) for k, data, kinds, skills in self.chunks]

    @torch.no_grad()
    def score(self, model: Percept, shift: float = 0.0, parts: str = "both") -> dict:
        model.eval()
        right: dict[str, list[int]] = {}
        vectors: dict[str, list] = {"image": [], "audio": [], "spoken": []}
        heads = experts = rows_seen = 0.0
        for k, data, kinds, skills in self.chunks:
            n = len(kinds)
            for at in range(0, n, 128):
                batch = {a: x[at : at + 128] for a, x in data.items()}
                batch["ids"], batch["target"], batch["captions"] = batch["ids"][:, 0], batch["target"][:, 0], batch["captions"][:, 0]
                media = encode(model, k.name, k.shape, batch, augment=False)
                x, head = prompt_rows(model, media, batch["ids"], parts)
                y, routing = model.decode(x, torch.full(x.shape[:2], shift, device=x.device))
                guess = model.logits(y[:, head - 1 : -1]).argmax(-1)
                good = ((guess == batch["ids"]) | ~batch["target"]).all(-1).tolist()
                for g, kind in zip(good, kinds[at : at + 128]):
                    right.setdefault(kind[0], []).append(g)
                    right.setdefault("all " + kind[0].split(".")[0], []).append(g)
                valid = torch.cat([torch.ones(len(x), head, dtype=torch.bool, device=x.device), batch["ids"] != tk.PAD], 1)
                heads += sum(((g[..., 1:] > 0).float().mean(-1) * valid).sum() for g in routing.heads)
                experts += sum(((r > 0).float().sum(-1) * valid).sum() for r in routing.experts)
                rows_seen += valid.sum() * model.c.n_layers
                if media and parts == "both":
                    texts = text_vectors(model, batch["captions"])
                    if k.name == "spoken":
                        vectors["spoken"].append((media[0][3], media[1][3], batch["key"]))
                    else:
                        vectors[k.name].append((media[0][3], texts, batch["key"]))
        model.train()
        out = {kind: round(sum(g) / len(g), 4) for kind, g in sorted(right.items())}
        for name, parts_ in vectors.items():
            if parts_:
                a, b, key = (torch.cat(x) for x in zip(*parts_))
                _, first = np.unique(key.cpu().numpy(), return_index=True)
                i = torch.from_numpy(np.random.default_rng(0).permutation(first)[:1000].copy()).to(a.device)
                s = a[i] @ b[i].t()
                want = torch.arange(len(i), device=a.device)
                out[f"retrieval.{name}"] = [len(i), round((s.argmax(1) == want).float().mean().item(), 4), round((s.argmax(0) == want).float().mean().item(), 4)]
        out["heads"], out["experts"] = round(float(heads / rows_seen), 4), round(float(experts / rows_seen), 3)
        return out


# --- the run ------------------------------------------------------------------------------------


def split_parameters(model: Percept) -> tuple[list, list]:
    matrices = {id(m.weight) for name, m in model.named_modules() if isinstance(m, Matrix) and not name.endswith("token_embd")}
    muon = [p for p in model.parameters() if id(p) in matrices and p.requires_grad]
    rest = [p for p in model.parameters() if id(p) not in matrices and p.requires_grad]
    return muon, rest


def optimizers(model: Percept, lr: torch.Tensor) -> list:
    """lr is read at every step; on a GPU the steps can be captured."""
    muon, rest = split_parameters(model)
    decay = [p for p in rest if p.ndim >= 2]
    plain = [p for p in rest if p.ndim < 2]
    gpu = lr.device.type == "cuda"
    adam = torch.optim.AdamW([dict(params=decay, weight_decay=0.02), dict(params=plain, weight_decay=0.0)], lr=lr, betas=(0.9, 0.95), fused=gpu, capturable=gpu)
    return [*([Muon(muon, lr)] if muon else []), adam]


def begin_fine_tuning(model: Percept, rank: int = 16, alpha: float = 32.0) -> None:
    for m in model.modules():
        if isinstance(m, Matrix):
            m.add_lora(rank, alpha)
    model.quant.weights = model.quant.activations = True


def learning_rate(progress: float, stage: int, base: float, warm: float) -> float:
    if stage == 3:
        u = (progress - STAGE_ENDS[1]) / (1 - STAGE_ENDS[1])
        return base * 0.7 * max(0.02, 0.5 * (1 + math.cos(math.pi * min(1.0, u)))) * min(1.0, u / 0.05 + 0.02)
    decay = 0.45 * STAGE_ENDS[1]
    return base * min(1.0, warm) * (1.0 if progress < decay else max(0.04, 1 - (progress - decay) / (STAGE_ENDS[1] - decay)))


def packed_state(model: Percept) -> dict:
    """The merged model as the numbers that ship: Q8_0 matrices (int8, f16 scales) and f32 for the rest."""
    state = {}
    quantised = {f"{n}.weight" for n, m in model.named_modules() if isinstance(m, Matrix)}
    for name, p in model.named_parameters():
        x = p.detach().float()
        if name in quantised:
            q, scale = q8_blocks(x)
            state[name] = (tuple(x.shape), q.to(torch.int8).cpu(), scale.cpu())
        else:
            state[name] = x.cpu()
    return state


def unpacked_state(state: dict) -> dict:
    return {k: (x[1].float() * x[2].float()).reshape(x[0]) if isinstance(x, tuple) else x for k, x in state.items()}


def start_from(model: Percept, state: dict, new: str | None) -> dict:
    """Trained weights, if asked under new routers (a gate that was closed everywhere has no gradient and would stay closed) or under a new decoder."""
    if not new:
        return state
    routers = {f"{n}." for n, m in model.named_modules() if isinstance(m, (Router, Density))}
    fresh = model.state_dict()
    parts = tuple(routers) if new == "routers" else (*routers, "blk.", "output_norm.")
    return {k: fresh[k] if k.startswith(parts) else x for k, x in state.items()}


def fuse() -> None:
    """Compiles the elementwise parts, which are bound by the device's memory: every pass over the experts' rows is dear."""
    torch._dynamo.config.recompile_limit = 64
    for name in ("rms", "rotate", "swish_mul", "expert_mix", "gated_heads", "fake_q8"):
        setattr(reference, name, torch.compile(getattr(reference, name), dynamic=True))


class Run:
    def __init__(self, args, pools: Pools, validation: Validation, device, name: str = ""):
        self.name = name or args.arm
        self.args, self.pools, self.validation, self.device = args, pools, validation, device
        torch.manual_seed(args.seed)
        self.model = Percept(Config(routing=args.arm)).to(device)
        if args.init:
            trained = torch.load(args.init, map_location=device, weights_only=False)
            self.model.load_state_dict(start_from(self.model, unpacked_state(trained["model"]), args.new))
        self.sparsity = Sparsity(device, trained.get("l1") if args.init and not args.new else None)
        self.rng = np.random.default_rng(args.seed)
        self.scenes = SCENES[:args.scenes]
        self.stage, self.step, self.elapsed = 1, 0, 0.0
        self.log = open(os.path.join(args.out, f"log-{self.name}.jsonl"), "a", buffering=1)
        self.lr = torch.tensor(args.lr, device=device)
        self.model.train()
        if args.init:
            self.note(event="begun", steps=trained.get("steps"), new=args.new)
        self.begin()

    def begin(self) -> None:
        """Optimizers and graphs for the parameters that are trained now."""
        self.optimizers = optimizers(self.model, self.lr)
        self.trained = [p for p in self.model.parameters() if p.requires_grad]
        self.graphed = None
        if self.device.type == "cuda" and not self.args.eager:
            self.graphed = GraphedStep(self.trained, self.compute, self.update)

    def compute(self, key: tuple, batches: list[dict]) -> dict:
        what, shapes = key
        with torch.autocast(self.device.type, dtype=torch.bfloat16):
            return step_loss(self.model, [Part(kind, shape, batch) for (kind, shape), batch in zip(shapes, batches)], self.stage, self.sparsity, what)

    def update(self) -> None:
        torch.nn.utils.clip_grad_norm_([p for p in self.trained if p.grad is not None], 2.0)
        for o in self.optimizers:
            o.step()

    def note(self, **fields) -> None:
        line = json.dumps(dict(arm=self.name, step=self.step, seconds=round(self.elapsed, 1), stage=self.stage, **fields))
        self.log.write(line + "\n")
        print(line, flush=True)

    def drawn(self) -> tuple[tuple, list[dict]]:
        """The key of a step (what is shown, kinds and shapes) and its batches. Less usual prompts are drawn for the first scene only: each key is a graph."""
        pick = lambda weights: int(self.rng.choice(len(weights), p=np.array(weights) / sum(weights)))
        what = list(WHATS)[pick(list(WHATS.values()))]
        scene = self.scenes[pick([s[-1] for s in self.scenes]) if what == "both" else 0]
        shapes = (("image", scene[0]), ("audio", scene[1]), ("spoken", scene[2]), ("text", None))
        scale = self.args.batch_scale * (FINE_TUNING_BATCH if self.stage == 3 else 1.0)
        return (what, shapes), [self.pools.ring(*s).draw(max(2, int(BATCHES[s] * scale))) for s in shapes]

    def advance(self, progress: float) -> None:
        """One optimizer step."""
        self.lr.fill_(learning_rate(progress, self.stage, self.args.lr, self.step / 200))
        key, batches = self.drawn()
        if self.graphed:
            seen = self.graphed.run(key, batches)
        else:
            for p in self.trained:
                p.grad = None
            seen = self.compute(key, batches)
            seen["loss"].backward()
            self.update()
        self.step += 1
        if self.stage > 1 and self.step % 10 == 0 and self.args.arm == "routed":
            u = min(1.0, (progress - STAGE_ENDS[0]) / (0.45 * (STAGE_ENDS[1] - STAGE_ENDS[0])))
            self.sparsity.adapt(GOAL_HEADS ** u, 24.0 * (GOAL_EXPERTS / 24.0) ** u)
        if self.step % self.args.log_every == 0:
            flat = {k: round(x.item(), 3) for k, x in seen.items()}
            self.note(progress=round(progress, 3), lr=round(self.lr.item(), 6), heads=round(self.sparsity.heads, 3), experts=round(self.sparsity.experts, 2),
                      l1=[round(x, 6) for x in self.sparsity.weights.tolist()],
                      made=self.pools.made(), losses=flat)

    def enter_stage(self, stage: int) -> None:
        self.stage = stage
        self.save()
        if stage == 3:
            begin_fine_tuning(self.model)
            self.begin()
        elif self.graphed:
            self.graphed.graphs.clear()         # the loss has changed
        self.note(event="stage")

    def progress(self) -> float:
        done = self.step / self.args.steps if self.args.steps else self.elapsed / (60 * self.args.minutes)
        return self.args.begin + (1 - self.args.begin) * done

    def train(self) -> None:
        began, before = time.monotonic(), self.elapsed
        saved = scored = time.monotonic()
        while (progress := self.progress()) < 1:
            while progress >= STAGE_ENDS[self.stage - 1]:
                self.enter_stage(self.stage + 1)
            if not self.args.no_curriculum:
                self.pools.difficulty.value = min(1.0, 0.15 + 0.85 * progress / 0.27)
            self.advance(progress)
            now = time.monotonic()
            self.elapsed = before + now - began
            if now - scored > self.args.score_every:
                self.note(event="score", score=self.validation.score(self.model))
                scored = time.monotonic()
            if now - saved > 240:
                self.save()
                saved = time.monotonic()
        self.finish()

    def finish(self) -> None:
        for m in self.model.modules():
            if isinstance(m, Matrix):
                m.merge_lora()
        path = os.path.join(self.args.out, f"final-{self.name}.pt")
        torch.save({"config": dataclasses.asdict(self.model.c), "model": packed_state(self.model), "steps": self.step, "l1": self.sparsity.weights.tolist()}, path + ".tmp")
        os.replace(path + ".tmp", path)
        self.note(event="final", score=self.validation.score(self.model))

    def save(self) -> None:
        state = dict(model=self.model.state_dict(), optimizers=[o.state_dict() for o in self.optimizers], stage=self.stage, step=self.step,
                     elapsed=self.elapsed, weights=self.sparsity.weights)
        path = os.path.join(self.args.out, f"state-{self.name}.pt")
        torch.save(state, path + ".tmp")
        os.replace(path + ".tmp", path)

    def resume(self) -> None:
        path = os.path.join(self.args.out, f"state-{self.name}.pt")
        if not os.path.exists(path):
            return
        state = torch.load(path, map_location=self.device, weights_only=False)
        if state["stage"] == 3:
            begin_fine_tuning(self.model)
            self.begin()
        self.model.load_state_dict(state["model"])
        for o, s in zip(self.optimizers, state["optimizers"]):
            o.load_state_dict(s)
        self.stage, self.step, self.elapsed = state["stage"], state["step"], state["elapsed"]
        self.sparsity.weights.copy_(state["weights"])
        self.note(event="resumed")


def options(text: str) -> argparse.ArgumentParser:
    p = argparse.ArgumentParser(description=text, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--out", required=True)
    p.add_argument("--tokenizer", default="train/tokenizer.json")
    p.add_argument("--minutes", type=float, default=17.0, help="length of the main run")
    p.add_argument("--steps", type=int, default=0, help="length in steps instead")
    p.add_argument("--workers", type=int, default=14)
    p.add_argument("--seed", type=int, default=1)
    p.add_argument("--lr", type=float, default=1.2e-3)
    p.add_argument("--arm", default="routed", choices=["routed", "dense", "static"])
    p.add_argument("--batch-scale", type=float, default=1.0)
    p.add_argument("--scenes", type=int, default=len(SCENES), help="how many of the shapes of a step are shown")
    p.add_argument("--pool-scale", type=float, default=1.0)
    p.add_argument("--fill", type=int, default=2000, help="examples of every kind before the first step")
    p.add_argument("--validation", type=int, default=1000)
    p.add_argument("--score-every", type=float, default=120.0)
    p.add_argument("--log-every", type=int, default=100)
    p.add_argument("--no-curriculum", action="store_true")
    p.add_argument("--eager", action="store_true", help="neither compiled functions nor CUDA graphs")
    p.add_argument("--init", help="weights to begin with: a final-*.pt, or what train.export --unpack makes of a shipped file")
    p.add_argument("--new", choices=["routers", "decoder"], help="with --init: what begins anew")
    p.add_argument("--begin", type=float, default=0.0, help="where in the schedule to begin, such as 0.5 for more of stages 2 and 3 after --init")
    p.add_argument("--resume", action="store_true", help="go on with the state in --out")
    return p


def opened(args) -> tuple[Pools, Validation, torch.device]:
    """Full pools and held-out examples: the workers and the examples are made before the device is touched."""
    os.makedirs(args.out, exist_ok=True)
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    device = torch.device("cuda" if os.path.exists("/dev/nvidia0") else "cpu")
    pools = Pools(args.tokenizer, args.workers, args.seed, args.pool_scale)
    pools.difficulty.value = 1.0 if args.no_curriculum else 0.15
    began = time.monotonic()
    validation = Validation(args.tokenizer, args.validation)
    torch.set_float32_matmul_precision("high")
    if device.type == "cuda" and not args.eager:
        fuse()
    validation.to(device)
    pools.start(device)
    print(f"validation after {time.monotonic() - began:.1f} s", flush=True)
    pools.wait(args.fill)
    print(f"pools after {time.monotonic() - began:.1f} s: {[(r.kind.name, r.kind.shape, r.count) for r in pools.rings]}", flush=True)
    return pools, validation, device


def main() -> None:
    args = options(__doc__).parse_args()
    pools, validation, device = opened(args)
    run = Run(args, pools, validation, device)
    if args.resume:
        run.resume()
    run.train()
    pools.close()


if __name__ == "__main__":
    main()
