#!/usr/bin/python3
"""What a memory budget saves and costs: percept-run bench with the whole file in memory and under budgets, in turns.

usage: memory.py PERCEPT-RUN MODEL BUDGET... [-- BENCH OPTIONS]

Every run has a memory cgroup of its own, made by hand (version 1 or 2; needs root), which counts the page cache that the
run fills: the peak that it reports is what is printed. Before each run the file leaves the page cache; for the run without
a budget it is read once inside the cgroup, so that all of it is resident. Ratios are of runs of one round, which has every
budget once; medians of RUNS (default 5) rounds. Prompts count by their fastest run, whatever it found; decoding by the
first, of tokens that were not decoded before.
"""

import json
import os
import statistics
import subprocess
import sys

RUNS = int(os.environ.get("RUNS", "5"))
V2 = "/sys/fs/cgroup"
V1 = "/sys/fs/cgroup/memory"
NAME = f"percept-bench-{os.getpid()}"


class Group:
    """A memory cgroup for one run."""

    def __enter__(self):
        self.second = os.path.exists(f"{V2}/cgroup.controllers")
        if self.second:
            with open(f"{V2}/cgroup.subtree_control", "w", encoding="ascii") as f:
                f.write("+memory")
        self.path = f"{V2 if self.second else V1}/{NAME}"
        os.mkdir(self.path)
        return self

    def __exit__(self, *unused):
        if not self.second:  # what it still holds would stay charged to nobody
            with open(f"{self.path}/memory.force_empty", "w", encoding="ascii") as f:
                f.write("0")
        os.rmdir(self.path)

    def enter(self):
        with open(f"{self.path}/cgroup.procs", "w", encoding="ascii") as f:
            f.write(str(os.getpid()))

    def peak(self):
        name = "memory.peak" if self.second else "memory.max_usage_in_bytes"
        with open(f"{self.path}/{name}", encoding="ascii") as f:
            return int(f.read())


def forget(path):
    """Has the page cache let go of a file that nobody maps."""
    fd = os.open(path, os.O_RDONLY)
    os.fdatasync(fd)
    os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
    os.close(fd)


def run(program, model, options, budget):
    """Peak bytes of the cgroup, and what bench says."""
    forget(model)
    command = [program, model, "bench", "--json", *options]
    if budget:
        command += ["--memory", budget]
    else:
        command = ["/bin/sh", "-c", 'cat "$1" > /dev/null; shift; exec "$@"', "sh", model, *command]
    with Group() as group:
        result = subprocess.run(command, stdout=subprocess.PIPE, check=True, preexec_fn=group.enter)
        return group.peak(), json.loads(result.stdout)


def speed(result, phase):
    runs = result[phase]["runs_msec"]
    return result[phase]["rows"] / (runs[0] if phase == "decode" else min(runs)) * 1e3


def experts_line(result):
    e = result.get("experts")
    if not e:
        return ""
    needed = max(1, e["resident"] + e["ahead"] + e["late"])
    return (f"resident {100 * e['resident'] / needed:.1f}%, ahead {100 * e['ahead'] / needed:.1f}%, "
            f"late {100 * e['late'] / needed:.1f}%")


def report(budget, pairs):
    whole, bounded = zip(*pairs)
    memory = [b[0] / w[0] for w, b in pairs]
    line = f"{budget:>8}  {statistics.median(b[0] for b in bounded) / 2**20:7.0f} MiB of " \
           f"{statistics.median(w[0] for w in whole) / 2**20:.0f} ({100 * (1 - statistics.median(memory)):.0f}% less)"
    for phase in ("prefill", "decode"):
        ratios = [speed(b[1], phase) / speed(w[1], phase) for w, b in pairs]
        line += f"  {phase} {statistics.median(speed(b[1], phase) for b in bounded):.1f} of " \
                f"{statistics.median(speed(w[1], phase) for w in whole):.1f} tokens/s, ratio " \
                f"{statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})"
    print(line, experts_line(bounded[-1][1]), sep="  ", flush=True)


def main():
    words = sys.argv[1:]
    options = words[words.index("--") + 1:] if "--" in words else []
    words = words[:words.index("--")] if "--" in words else words
    if len(words) < 3:
        sys.exit(__doc__)
    program, model, *budgets = words
    pairs = {budget: [] for budget in budgets}
    for _ in range(RUNS):
        whole = run(program, model, options, None)
        for budget in budgets:
            pairs[budget].append((whole, run(program, model, options, budget)))
    for budget in budgets:
        report(budget, pairs[budget])


if __name__ == "__main__":
    main()
