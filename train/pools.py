"""Examples made by worker processes, kept in rings on the device from which batches are drawn.

A kind is a name and a shape, such as ('image', 'square') or ('audio', 2.56). Workers pick kinds by weight and never stop; they
write into shared memory, which a thread copies to the device, so the trainer's interpreter never touches an example. An
example is drawn a few times, each time with another packing of its questions and other noise.
"""

from __future__ import annotations

import mmap
import multiprocessing as mp
import os
import threading
import time
from dataclasses import dataclass

import numpy as np
import torch

from train import tokenizer as tk

CAPTION_TOKENS = 48
TEXT_TOKENS = 72        # packed turns after the media of one prompt
PACKINGS = 2
SPOKEN_SECONDS = 3.84
STAGING_BYTES = 8 << 20


@dataclass(frozen=True)
class Kind:
    name: str           # 'image', 'audio', 'spoken' (an image and its spoken description) or 'text'
    shape: object       # bucket or seconds
    weight: float       # share of the workers' chunks
    chunk: int          # examples of a chunk
    capacity: int       # of the ring


KINDS = [
    Kind("image", "square", 4.0, 128, 100_000),
    Kind("image", "line", 5.0, 128, 150_000),
    Kind("image", "wide", 0.8, 96, 24_000),
    Kind("image", "tall", 0.6, 96, 20_000),
    Kind("image", "small", 0.8, 128, 40_000),
    Kind("image", "detail", 1.2, 48, 12_000),
    Kind("audio", 1.28, 2.4, 48, 50_000),
    Kind("audio", 2.56, 4.0, 32, 50_000),
    Kind("audio", 3.84, 1.6, 24, 20_000),
    Kind("spoken", "square", 2.4, 24, 20_000),
    Kind("spoken", "line", 0.8, 24, 8_000),
    Kind("text", None, 0.3, 256, 40_000),
]


class Encoder:
    """Texts to padded id arrays."""

    def __init__(self, path: str):
        self.tokenizer = tk.load(path)

    def ids(self, texts: list[str]) -> list[list[int]]:
        return [e.ids for e in self.tokenizer.encode_batch(texts)]

    def captions(self, groups: list[list[str]]) -> np.ndarray:
        out = np.zeros((len(groups), PACKINGS, CAPTION_TOKENS), np.int16)
        flat = self.ids([g[j % len(g)] for g in groups for j in range(PACKINGS)])
        for i, ids in enumerate(flat):
            ids = ids[:CAPTION_TOKENS]
            out[i // PACKINGS, i % PACKINGS, : len(ids)] = ids
        return out

    def turns(self, rng, qas: list[list[tuple]], single: bool) -> tuple[np.ndarray, np.ndarray, list]:
        """Packed turns [n, PACKINGS, TEXT_TOKENS], which tokens are targets, and the kind of the first turn.

        single: one turn a packing (validation); PACKINGS turns are drawn without repeats where there are enough."""
        n = len(qas)
        flat = self.ids([t for qa in qas for (_, q, a) in qa for t in (q.strip(), a)])
        ids = np.zeros((n, PACKINGS, TEXT_TOKENS), np.int16)
        target = np.zeros((n, PACKINGS, TEXT_TOKENS), np.bool_)
        kinds: list = []
        at = 0
        for i, qa in enumerate(qas):
            turns = []
            for _ in qa:
                q, a = flat[at], flat[at + 1]
                at += 2
                turns.append(([tk.USER, *q, tk.ASSISTANT], [*a, tk.EOS]))
            order = rng.permutation(len(turns))
            first = []
            for j in range(PACKINGS):
                pick = [order[j % len(order)]] if single else np.roll(order, -j) if j == 0 else rng.permutation(len(turns))
                # a caption gives later answers away, so it closes the packing
                pick = sorted(pick, key=lambda m: qa[m][0] == "caption")
                used = 0
                for m in pick:
                    q, a = turns[m]
                    if used + len(q) + len(a) > TEXT_TOKENS:
                        continue
                    ids[i, j, used : used + len(q)] = q
                    ids[i, j, used + len(q) : used + len(q) + len(a)] = a
                    target[i, j, used + len(q) : used + len(q) + len(a)] = True
                    used += len(q) + len(a)
                first.append(qa[pick[0]][0])
            kinds.append(first)
        return ids, target, kinds


def make_chunk(rng, kind: Kind, n: int, split: str, difficulty: float, encoder: Encoder, single: bool = False) -> dict:
    """n examples of one kind as arrays."""
    from train.world import audio, image, text

    examples, speech = [], []
    while len(examples) < n:
        d = 1.0 if rng.random() < 0.2 else difficulty
        if kind.name == "text":
            examples.append(text.text_example(rng, split))
        elif kind.name == "audio":
            examples.append(audio.audio_example(rng, kind.shape, split, d))
        else:
            e = image.image_example(rng, kind.shape, split, d)
            if kind.name == "spoken":
                s = audio.speech_of(rng, e.spoken, SPOKEN_SECONDS, split) if e.spoken else None
                if s is None:
                    continue
                speech.append(s)
                e.qa = [*e.qa[:4], ("speech.transcribe", rng.choice(["What is said?", "What does the voice say?", "Transcribe the speech."]), e.spoken.lower())]
            examples.append(e)
    chunk = {"key": np.array([e.key for e in examples], np.int64)}
    if kind.name in ("image", "spoken"):
        chunk["image"] = np.stack([e.image for e in examples])
    if kind.name == "audio":
        chunk["audio"] = np.stack([e.audio for e in examples])
    if kind.name == "spoken":
        chunk["audio"] = np.stack(speech)
    chunk["captions"] = encoder.captions([e.captions or ["-"] for e in examples])
    chunk["ids"], chunk["target"], kinds = encoder.turns(rng, [e.qa for e in examples], single)
    if single:
        chunk["kinds"], chunk["skills"] = kinds, [e.skill for e in examples]
    return chunk


def _layout(kind: Kind) -> dict[str, tuple[tuple, type]]:
    """Shapes and types of an example's arrays."""
    from train.world.example import BUCKETS

    out = {"key": ((), np.int64), "captions": ((PACKINGS, CAPTION_TOKENS), np.int16), "ids": ((PACKINGS, TEXT_TOKENS), np.int16), "target": ((PACKINGS, TEXT_TOKENS), np.bool_)}
    if kind.name in ("image", "spoken"):
        out["image"] = ((*BUCKETS[kind.shape], 3), np.uint8)
    if kind.name in ("audio", "spoken"):
        out["audio"] = ((round((kind.shape if kind.name == "audio" else SPOKEN_SECONDS) * 16000),), np.int16)
    return out


class Ring:
    """Examples of one kind: in memory shared with the workers, and the copy of it on the device.

    Every worker writes a stripe of its own, so nothing is locked; `made` counts what each has written in all."""

    def __init__(self, kind: Kind, n_workers: int, scale: float):
        self.kind, self.n_workers = kind, n_workers
        self.stripe = max(2, int(kind.capacity * scale / n_workers))
        shared = lambda shape, dtype: np.frombuffer(mmap.mmap(-1, max(1, int(np.prod(shape)) * np.dtype(dtype).itemsize)), dtype).reshape(shape)
        self.host = {name: shared((n_workers, self.stripe, *shape), dtype) for name, (shape, dtype) in _layout(kind).items()}
        self.made = shared((n_workers,), np.int64)

    def put(self, worker: int, chunk: dict) -> None:
        for i in range(len(chunk["key"])):
            at = int(self.made[worker]) % self.stripe
            for name, x in chunk.items():
                self.host[name][worker, at] = x[i]
            self.made[worker] += 1

    def open(self, device) -> None:
        self.device = device
        self.arrays = {name: torch.empty(x.shape, dtype=torch.from_numpy(x[:1, :1]).dtype, device=device) for name, x in self.host.items()}
        self.copied = np.zeros(self.n_workers, np.int64)
        self.filled = torch.zeros(self.n_workers, dtype=torch.int64, device=device)
        self.count = 0

    def copy(self, send) -> None:
        """What was written since the last call goes to the device by send(destination, source)."""
        for w in range(self.n_workers):
            made, start = int(self.made[w]), int(self.copied[w])
            start = max(start, made - self.stripe)
            while start < made:
                at = start % self.stripe
                n = min(made - start, self.stripe - at)
                for name, x in self.host.items():
                    send(self.arrays[name][w, at : at + n], torch.from_numpy(x[w, at : at + n]))
                start += n
            self.copied[w] = made
        filled = np.minimum(self.copied, self.stripe)
        send(self.filled, torch.from_numpy(filled))
        self.count = int(filled.sum())

    def draw(self, n: int) -> dict[str, torch.Tensor]:
        w = torch.multinomial(self.filled.float(), n, replacement=True)
        i = (torch.rand(n, device=self.device) * self.filled[w]).long()
        j = torch.randint(0, PACKINGS, (n,), device=self.device)
        return {name: x[w, i, j] if name in ("captions", "ids", "target") else x[w, i] for name, x in self.arrays.items()}


def _work(worker: int, seed: int, rings: list[Ring], tokenizer_path: str, difficulty) -> None:
    os.nice(19)
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    rng = np.random.default_rng(seed)
    encoder = Encoder(tokenizer_path)
    p = np.array([r.kind.weight for r in rings])
    while True:
        ring = rings[int(rng.choice(len(rings), p=p / p.sum()))]
        try:
            ring.put(worker, make_chunk(rng, ring.kind, ring.kind.chunk, "train", difficulty.value, encoder))
        except Exception as e:      # one bad draw must not end a worker
            print("worker:", ring.kind.name, ring.kind.shape, repr(e), flush=True)
            time.sleep(0.2)


class Pools:
    def __init__(self, tokenizer_path: str, n_workers: int, seed: int, scale: float = 1.0):
        self.difficulty = mp.Value("d", 1.0)
        self.rings = [Ring(k, n_workers, scale) for k in KINDS]
        self.workers = [mp.Process(target=_work, args=(i, seed * 1000 + i, self.rings, tokenizer_path, self.difficulty), daemon=True) for i in range(n_workers)]
        for w in self.workers:
            w.start()
        self.stop = False

    def start(self, device) -> None:
        """Begins to copy; after the workers were forked."""
        self.device = device
        for r in self.rings:
            r.open(device)
        self.thread = threading.Thread(target=self._copy, daemon=True)
        self.thread.start()

    def _copy(self) -> None:
        """On a stream of its own through a pinned buffer: a pageable copy on the trainer's stream would wait for its kernels, and they for it."""
        if self.device.type != "cuda":
            send = lambda to, source: to.copy_(source)
        else:
            stream = torch.cuda.Stream(self.device)
            staging = torch.empty(STAGING_BYTES, dtype=torch.uint8, pin_memory=True)

            def send(to, source):
                rows = max(1, STAGING_BYTES // max(1, source[:1].numel() * source.element_size()))
                for at in range(0, len(source), rows):
                    part = source[at : at + rows]
                    pinned = staging[: part.numel() * part.element_size()].view(part.dtype).view(part.shape)
                    pinned.copy_(part)
                    with torch.cuda.stream(stream):
                        to[at : at + rows].copy_(pinned, non_blocking=True)
                    stream.synchronize()

        while not self.stop:
            for r in self.rings:
                r.copy(send)
            time.sleep(1.0)

    def wait(self, at_least: int) -> None:
        while any(r.count < min(at_least, r.stripe * r.n_workers) for r in self.rings):
            time.sleep(0.2)

    def renew(self) -> None:
        """Waits until every example was made after this call."""
        before = [r.made.sum() for r in self.rings]
        while any(r.made.sum() - b < r.stripe * r.n_workers for r, b in zip(self.rings, before)):
            time.sleep(0.2)

    def ring(self, name: str, shape) -> Ring:
        return next(r for r in self.rings if r.kind.name == name and r.kind.shape == shape)

    def made(self) -> int:
        return int(sum(r.made.sum() for r in self.rings))

    def close(self) -> None:
        self.stop = True
        self.thread.join()
        for w in self.workers:
            w.terminate()
