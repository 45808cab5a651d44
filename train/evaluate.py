"""Scores the shipped file through the C runtime on files, and writes the model card.

    python -m train.evaluate MODEL.gguf --run BUILD/daemon/percept-run --out DIR [--size 1.0] [--training DIR]

Pictures are written as JPEG, PNG and WebP, sounds as WAV, FLAC and OGG; `percept-run batch` reads them like anybody's files.
Every example is from the held-out split (train/world/SPLITS.md). Results go to DIR/scores.json; the card is made from them.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
from collections import Counter, defaultdict

import numpy as np
import soundfile
from PIL import Image

from train.world import assets, audio, image, sprites, text

EFFORTS = (-1.0, 0.0, 1.0)


class Files:
    """Examples as files in one folder, formats in turn."""

    def __init__(self, folder: str):
        self.folder, self.n = folder, 0
        os.makedirs(folder, exist_ok=True)

    def path(self, suffix: str) -> str:
        self.n += 1
        return os.path.join(self.folder, f"{self.n:06d}.{suffix}")

    def image(self, pixels: np.ndarray) -> str:
        suffix = ("jpg", "png", "jpg", "webp")[self.n % 4]
        path = self.path(suffix)
        options = dict(quality=92, subsampling=0) if suffix == "jpg" else dict(lossless=True) if suffix == "webp" else {}
        Image.fromarray(pixels).save(path, **options)
        return path

    def audio(self, samples: np.ndarray) -> str:
        suffix = ("wav", "flac", "wav", "ogg")[self.n % 4]
        path = self.path(suffix)
        soundfile.write(path, samples, 16000)
        return path


# --- the sets -----------------------------------------------------------------------------------


def question_sets(files: Files, size: float) -> dict[str, list[dict]]:
    """Lists of jobs: question, answer, kind, files. Small sets first, all from the test split."""
    sets: dict[str, list[dict]] = defaultdict(list)

    def add(name: str, example, wanted, images=(), audios=()):
        for kind, question, answer in example.qa:
            if wanted(kind, answer):
                sets[name].append(dict(kind=kind, question=question, answer=answer, images=list(images), audios=list(audios), held_out=getattr(example, "held_out", False)))

    def fill(name: str, n: int, make, wanted, seed: int):
        rng = np.random.default_rng(seed)
        while len(sets[name]) < int(n * size):
            e = make(rng)
            if any(wanted(k, a) for k, _, a in e.qa):
                add(name, e, wanted, [files.image(e.image)] if e.image is not None else [], [files.audio(e.audio)] if e.audio is not None else [])

    pick = lambda rng, items: items[int(rng.integers(len(items)))]
    of = lambda *prefixes: lambda kind, answer: kind.startswith(prefixes)
    seconds = (1.28, 2.56, 3.84)
    fill("shapes", 1500, lambda r: image.image_example(r, pick(r, ["square", "square", "wide", "tall", "detail"]), "test", 1.0, "shape"), of("shape."), 101)
    fill("sprite questions", 600, lambda r: image.image_example(r, pick(r, ["square", "wide", "small"]), "test", 1.0, "sprite"), of("sprite."), 102)
    fill("words", 600, lambda r: image.image_example(r, "line", "test", 1.0, "word"), lambda k, a: k == "word.read" and a.isalpha() and len(a) <= 8, 103)
    fill("word questions", 400, lambda r: image.image_example(r, pick(r, ["line", "square"]), "test", 1.0, "word"), lambda k, a: k.startswith("word.") and k != "word.read", 104)
    fill("windows", 400, lambda r: image.image_example(r, pick(r, ["square", "wide", "detail"]), "test", 1.0, "window"), of("window."), 105)
    fill("sound class", 600, lambda r: audio.sound_example(r, pick(r, seconds), "test", 1.0), lambda k, a: k == "sound.class", 106)
    fill("sound questions", 800, lambda r: audio.sound_example(r, pick(r, seconds), "test", 1.0), lambda k, a: k.startswith("sound.") and k != "sound.class", 107)
    fill("instruments", 400, lambda r: audio.instrument_example(r, pick(r, seconds[1:]), "test", 1.0), of("instrument."), 108)
    fill("speech", 600, lambda r: audio.speech_example(r, pick(r, seconds), "test", 1.0), lambda k, a: k in ("speech.transcribe", "speech.command"), 109)
    fill("speech questions", 400, lambda r: audio.speech_example(r, pick(r, seconds), "test", 1.0), lambda k, a: k.startswith("speech.") and k not in ("speech.transcribe", "speech.command"), 110)
    fill("text", 300, lambda r: text.text_example(r, "test"), lambda k, a: True, 111)
    return sets


def sprite_pool(files: Files, n: int) -> tuple[list[str], list[str]]:
    """One held-out view of each of n names, and the names."""
    rng = np.random.default_rng(201)
    names = list(assets.load().sprite_names)[:n]
    found: dict[str, str] = {}
    wanted = {sprites.key_of("sprite", name): name for name in names}
    tries = 0
    while len(found) < len(names) and tries < 60 * n:
        tries += 1
        e = sprites.one_sprite(rng, "square", "test", 0.5)
        name = wanted.get(e.key)
        if name is not None and name not in found:
            found[name] = files.image(e.image)
    names = [name for name in names if name in found]
    return names, [found[name] for name in names]


def retrieval_pools(files: Files, n: int) -> dict[str, list[tuple[str, str, str, str]]]:
    """Pools of n different scenes: (kind of query, query, kind of item, item), query i belonging to item i."""
    rng = np.random.default_rng(301)
    pools: dict[str, list] = {"image-text": [], "audio-text": [], "speech-image": []}
    seen: dict[str, set] = {name: set() for name in pools}

    def take(name: str, e, row) -> None:
        if e.key not in seen[name] and row is not None:
            seen[name].add(e.key)
            pools[name].append(row())

    while len(pools["image-text"]) < n:
        e = image.image_example(rng, ["square", "line", "wide", "tall"][int(rng.integers(4))], "test", 1.0)
        take("image-text", e, lambda: ("image", files.image(e.image), "text", e.captions[0]))
    while len(pools["audio-text"]) < n:
        e = audio.audio_example(rng, (1.28, 2.56, 3.84)[int(rng.integers(3))], "test", 1.0)
        take("audio-text", e, lambda: ("audio", files.audio(e.audio), "text", e.captions[0]))
    while len(pools["speech-image"]) < n:
        e = image.image_example(rng, ["square", "square", "line"][int(rng.integers(3))], "test", 1.0)
        s = audio.speech_of(rng, e.spoken, 3.84, "test") if e.spoken and e.key not in seen["speech-image"] else None
        if s is not None:
            take("speech-image", e, lambda: ("audio", files.audio(s), "image", files.image(e.image)))
    return pools


# --- running and scoring ------------------------------------------------------------------------


def run_batch(run: str, model: str, jobs: list[dict], *options: str) -> list[dict]:
    lines = "".join(json.dumps({**job, "id": i}) + "\n" for i, job in enumerate(jobs))
    out = subprocess.run([run, model, "batch", *options], input=lines, capture_output=True, text=True)
    if out.returncode:
        raise SystemExit(f"percept-run: {out.stderr.strip()}")
    results: list = [None] * len(jobs)
    for line in out.stdout.splitlines():
        r = json.loads(line)
        results[r["id"]] = r
    return results


def ask(jobs: list[dict], effort: float = 0.0, media: bool = True, **more) -> list[dict]:
    return [dict(op="ask", text=j["question"], max_tokens=40, effort=effort, **(dict(images=j["images"], audios=j["audios"]) if media else {}), **more) for j in jobs]


def word_errors(said: str, truth: str) -> tuple[int, int]:
    """Levenshtein distance over words, and the words of the truth."""
    a, b = said.split(), truth.split()
    row = list(range(len(b) + 1))
    for i, x in enumerate(a, 1):
        diagonal, row[0] = row[0], i
        for j, y in enumerate(b, 1):
            diagonal, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, diagonal + (x != y))
    return row[-1], len(b)


def score(name: str, jobs: list[dict], results: list[dict]) -> dict:
    right = [r.get("text", "").strip() == j["answer"] for j, r in zip(jobs, results)]
    out = dict(n=len(jobs), exact=float(np.mean(right)), errors=sum("error" in r for r in results))
    if name == "speech":
        pairs = [word_errors(r.get("text", ""), j["answer"]) for j, r in zip(jobs, results)]
        out["word_accuracy"] = 1 - sum(e for e, _ in pairs) / sum(n for _, n in pairs)
    kinds = defaultdict(list)
    for j, r in zip(jobs, right):
        kinds[j["kind"]].append(r)
    out["kinds"] = {k: [len(v), float(np.mean(v))] for k, v in sorted(kinds.items())}
    rows = [r["rows"] for r in results if "rows" in r]
    if rows:
        out["routing"] = {k: float(np.average([r[k] for r in results if "rows" in r], weights=rows)) for k in ("groups_active", "experts_active", "parameters_active")}
        out["routing"]["rows"] = int(sum(rows))
    return out


def chance(jobs: list[dict]) -> float:
    """The best score without looking: the commonest answer of each kind of question."""
    kinds = defaultdict(Counter)
    for j in jobs:
        kinds[j["kind"]][j["answer"]] += 1
    return sum(c.most_common(1)[0][1] for c in kinds.values()) / len(jobs)


def vectors(run: str, model: str, items: list[tuple[str, str]], *options: str) -> np.ndarray:
    jobs = [dict(op="embed", **({"text": v} if k == "text" else {"images": [v]} if k == "image" else {"audios": [v]})) for k, v in items]
    results = run_batch(run, model, jobs, *options)
    bad = [r for r in results if "vector" not in r]
    if bad:
        raise SystemExit(f"percept-run: {bad[0]}")
    return np.array([r["vector"] for r in results], np.float32)


def recall(a: np.ndarray, b: np.ndarray) -> dict:
    s = a @ b.T
    rank = lambda m: (m > np.diag(m)[:, None]).sum(1)
    return {"n": len(a), "r1": float((rank(s) == 0).mean()), "r5": float((rank(s) < 5).mean()), "back_r1": float((rank(s.T) == 0).mean())}


def main() -> None:
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("model")
    p.add_argument("--run", required=True)
    p.add_argument("--out", required=True)
    p.add_argument("--size", type=float, default=1.0, help="share of the full sets")
    p.add_argument("--pool", type=int, default=1000)
    args = p.parse_args()
    files = Files(os.path.join(args.out, "files"))
    sets = question_sets(files, args.size)
    scores: dict = {"sets": {}, "size": args.size}
    scores["info"] = json.loads(subprocess.run([args.run, args.model, "info", "--json"], capture_output=True, text=True, check=True).stdout)

    def save() -> None:
        with open(os.path.join(args.out, "scores.json"), "w") as f:
            json.dump(scores, f, indent=1)

    for name, jobs in sets.items():
        entry = scores["sets"][name] = {"chance": chance(jobs)}
        entry["int8"] = score(name, jobs, run_batch(args.run, args.model, ask(jobs)))
        few = jobs[: max(100, len(jobs) // 3)]
        for effort in EFFORTS:
            if effort:
                entry[f"effort {effort:+.0f}"] = score(name, few, run_batch(args.run, args.model, ask(few, effort)))
        entry["int8 few"] = score(name, few, run_batch(args.run, args.model, ask(few)))
        entry["every gate"] = score(name, few, run_batch(args.run, args.model, ask(few, route="all")))
        if name != "text":
            entry["question only"] = score(name, jobs, run_batch(args.run, args.model, ask(jobs, media=False)))
        entry["f32"] = score(name, few, run_batch(args.run, args.model, ask(few), "--precision", "f32"))
        print(name, {k: (round(v["exact"], 4) if isinstance(v, dict) else round(v, 4)) for k, v in entry.items()}, flush=True)
        save()

    names, paths = sprite_pool(files, args.pool)
    scores["sprites"] = recall(vectors(args.run, args.model, [("image", x) for x in paths]), vectors(args.run, args.model, [("text", x) for x in names]))
    print("sprites", scores["sprites"], flush=True)
    scores["retrieval"] = {}
    for name, pool in retrieval_pools(files, args.pool).items():
        a = vectors(args.run, args.model, [(k, v) for k, v, _, _ in pool])
        b = vectors(args.run, args.model, [(k, v) for _, _, k, v in pool])
        entry = scores["retrieval"][name] = recall(a, b)
        for width in (128, 64):
            cut = lambda x: x[:, :width] / np.linalg.norm(x[:, :width], axis=1, keepdims=True)
            entry[f"r1 at {width}"] = recall(cut(a), cut(b))["r1"]
        entry["gap"] = float(np.linalg.norm(a.mean(0) - b.mean(0)))
        print(name, entry, flush=True)
    save()


if __name__ == "__main__":
    main()
