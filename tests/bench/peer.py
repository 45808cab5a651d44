#!/usr/bin/python3
"""percept-run beside llama.cpp on the same files and threads.

usage: peer.py PERCEPT-RUN DIR FILE...

DIR is a llama.cpp (or ik_llama.cpp) folder with its build below build/, of which llama-bench is run, and for the
agreement of logits the library. In the environment: THREADS (2), PAIRS (5), ROWS (a list of prompt-512, prompt-64,
generate, depth-4096, depth-16384, first, logits; all of them), CACHES (f16,q8), ISA (percept-run's --isa), PEER_OPTIONS
(more of llama-bench's).

Prompts and short generation: the engines take turns, a process each, PAIRS times; every process warms up first. At depth,
where filling the cache takes minutes, each engine has one process that fills it once and is timed PAIRS times. A line
gives the medians in tokens a second and the median ratio of the pairs with the smallest and the largest.
"""

import array
import json
import math
import os
import re
import resource
import statistics
import subprocess
import sys
import tempfile
import time

THREADS = os.environ.get("THREADS", "2")
PAIRS = int(os.environ.get("PAIRS", "5"))
ISA = os.environ.get("ISA", "native")
ROWS = {"prompt-512": (512, 0, 0), "prompt-64": (64, 0, 0), "generate": (0, 128, 0),
        "depth-4096": (0, 32, 4096), "depth-16384": (0, 32, 16384)}
CHOSEN = os.environ.get("ROWS", ",".join([*ROWS, "first", "logits"])).split(",")
CACHES = os.environ.get("CACHES", "f16,q8").split(",")
HERE = os.path.dirname(os.path.abspath(__file__))


class Ours:
    def __init__(self, program):
        self.program = program

    def speeds(self, model, shape, cache, runs):
        """Tokens a second of the last run of a process, after at least one other."""
        prompt, tokens, depth = shape
        command = [self.program, model, "bench", "--json", "-t", THREADS, "--isa", ISA, "--cache", cache,
                   "-p", str(prompt), "-n", str(tokens), "-r", str(max(2, runs))]
        if tokens:
            command += ["--depth", str(depth + tokens)]
        phase = json.loads(subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout)
        phase = phase["decode" if tokens else "prefill"]
        return [phase["rows"] / msec * 1e3 for msec in phase["runs_msec"][-runs:]]

    def logits(self, model, prompts):
        for ids in prompts:
            command = [self.program, model, "logits", "-t", THREADS, "--isa", ISA, "--tokens", ",".join(map(str, ids))]
            text = subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout
            yield [float(line) for line in text.split()]


class Theirs:
    def __init__(self, folder):
        self.folder = folder
        self.bench = f"{folder}/build/bin/llama-bench"
        if not os.path.exists(self.bench):
            sys.exit(f"peer.py: there is no {self.bench}; build the target llama-bench there")

    def speeds(self, model, shape, cache, runs):
        """Tokens a second of each run; llama-bench warms up by itself."""
        prompt, tokens, depth = shape
        cache = {"q8": "q8_0"}.get(cache, cache)
        command = [self.bench, "-m", model, "-o", "json", "-t", THREADS, "-p", str(prompt), "-n", str(tokens),
                   "-r", str(runs), "-ctk", cache, "-ctv", cache, "-fa", "1" if cache == "q8_0" else "auto"]
        if depth:
            command += ["-d", str(depth)]
        command += os.environ.get("PEER_OPTIONS", "").split()
        out = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=True).stdout
        return json.loads(out)[0]["samples_ts"]

    def logits(self, model, prompts, scratch):
        library = f"{self.folder}/build/bin"
        program = f"{scratch}/peer-logits"
        subprocess.run(["cc", "-O2", "-o", program, f"{HERE}/peer-logits.c", f"-I{self.folder}/include",
                        f"-I{self.folder}/ggml/include", f"-L{library}", "-lllama", f"-Wl,-rpath,{library}",
                        f"-Wl,-rpath-link,{library}"], check=True)
        text = "".join(",".join(map(str, ids)) + "\n" for ids in prompts)
        raw = subprocess.run([program, model, THREADS], input=text.encode(), stdout=subprocess.PIPE,
                             stderr=subprocess.DEVNULL, check=True).stdout
        floats = array.array("f", raw)
        n = len(floats) // len(prompts)
        return [floats[i * n:(i + 1) * n] for i in range(len(prompts))]


def pairs_of(ours, theirs, model, shape, cache):
    if shape[2]:
        return list(zip(ours.speeds(model, shape, cache, PAIRS), theirs.speeds(model, shape, cache, PAIRS)))
    return [(ours.speeds(model, shape, cache, 1)[0], theirs.speeds(model, shape, cache, 1)[0]) for _ in range(PAIRS)]


def row_print(name, pairs):
    ratios = [a / b for a, b in pairs]
    print(f"{name:34} ours {statistics.median(a for a, _ in pairs):8.1f}  theirs "
          f"{statistics.median(b for _, b in pairs):8.1f}  ratio {statistics.median(ratios):.2f} "
          f"({min(ratios):.2f} to {max(ratios):.2f})", flush=True)


def first_token(ours, model):
    """Wall time of a process that reads 16 tokens, the file being in the page cache; and its peak memory."""
    times, peaks = [], []
    for _ in range(PAIRS):
        start = time.monotonic()
        process = subprocess.Popen([ours.program, model, "bench", "-t", THREADS, "--isa", ISA, "-p", "16", "-n", "0",
                                    "-r", "1"], stdout=subprocess.PIPE)
        text = process.stdout.read().decode()
        _, status, usage = os.wait4(process.pid, 0)
        times.append(1e3 * (time.monotonic() - start))
        if status:
            sys.exit(f"peer.py: percept-run failed on {model}")
        peaks.append(usage.ru_maxrss / 1024)
    touched = re.search(r"weights (\d+)", text)
    print(f"{os.path.basename(model)} first token of 16: {statistics.median(times):.0f} ms with the start of the process; "
          f"peak {statistics.median(peaks):.0f} MiB, {float(touched[1]) * 16 / 2**20:.0f} MiB of weights used by "
          f"the rows in sum", flush=True)


def cosine(a, b):
    dot = sum(x * y for x, y in zip(a, b))
    return dot / math.sqrt(sum(x * x for x in a) * sum(y * y for y in b))


def prompts_make():
    """Ids below 32,000, any ones, the same in every run."""
    state, prompts = 1, []
    for length in [1, 2, 3, 5, 17, 31, 64, 100, 300] * 3:
        ids = []
        for _ in range(length):
            state = (state * 1664525 + 1013904223) % 2**32
            ids.append(state * 32000 >> 32)
        prompts.append(ids)
    return prompts


def agreement(ours, theirs, model):
    """The least cosine of last logits; greedy tokens that differ though their margin exceeds the noise."""
    prompts, cosines, same, wrong, worst = prompts_make(), [], 0, 0, 0.0
    with tempfile.TemporaryDirectory() as scratch:
        for a, b in zip(ours.logits(model, prompts), theirs.logits(model, prompts, scratch)):
            cosines.append(cosine(a, b))
            noise = max(abs(x - y) for x, y in zip(a, b))
            first, second = sorted(b, reverse=True)[:2]
            worst = max(worst, noise)
            if a.index(max(a)) == b.index(first):
                same += 1
            elif first - second > 2 * noise:
                wrong += 1
    print(f"{os.path.basename(model)} logits of {len(prompts)} prompts: cosine {min(cosines):.6f} at least, "
          f"{statistics.median(cosines):.6f} in the middle, {same} greedy tokens the same, {wrong} differ by more than twice the noise, which is {worst:.4f} at most", flush=True)


def main():
    if len(sys.argv) < 4:
        sys.exit(__doc__)
    ours, theirs = Ours(sys.argv[1]), Theirs(sys.argv[2])
    for model in sys.argv[3:]:
        for cache in CACHES:
            for name, shape in ROWS.items():
                if name in CHOSEN:
                    row_print(f"{os.path.basename(model)} {name} {cache}", pairs_of(ours, theirs, model, shape, cache))
        if "first" in CHOSEN:
            first_token(ours, model)
        if "logits" in CHOSEN:
            agreement(ours, theirs, model)


if __name__ == "__main__":
    main()
