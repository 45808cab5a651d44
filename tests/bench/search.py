#!/usr/bin/python3
"""The vector index beside FAISS's flat and HNSW indexes: time and recall of single queries, taken in turn in one run.

usage: search.py BENCH_SEARCH [VECTORS [QUERIES]]; a million and 100 at first. With NO_HNSW=1 there is no graph, which
takes long to make. Exit status 77: there is no FAISS
(Debian: python3-faiss). Ours uses two threads; FAISS
answers a single query on one. The vectors are made up: unit vectors of 256 numbers, around 2,000
centres, since nearest neighbours of vectors without any structure say nothing; queries are new ones of the same kind.
Recall is the share of the ten best by f32 (the flat index) that are among the ten found.
"""

import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # spinning threads would take each other's processor

try:
    import faiss
    import numpy
except ImportError:
    print("there is no FAISS: install python3-faiss")
    sys.exit(77)

WIDTH, BEST, CENTRES, SPREAD = 256, 10, 2000, 1.0
EFFORTS = 16, 64, 256  # efSearch of HNSW


def unit(vectors):
    return (vectors / numpy.linalg.norm(vectors, axis=1, keepdims=True)).astype("float32")


def make(rng, centres, n):
    found = numpy.empty((n, WIDTH), "float32")
    for at in range(0, n, 100000):
        m = min(100000, n - at)
        near = centres[rng.integers(0, len(centres), m)]
        found[at:at + m] = unit(near + SPREAD / WIDTH ** 0.5 * rng.standard_normal((m, WIDTH), "float32"))
    return found


class Ours:
    name = "perceptd: int8, f16 again"

    def __init__(self, program, folder, vectors, queries):
        for name, data in ("vectors", vectors), ("queries", queries):
            data.tofile(os.path.join(folder, name))
        self.process = subprocess.Popen(
            [program, os.path.join(folder, "index"), os.path.join(folder, "vectors"), os.path.join(folder, "queries")],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.seconds = float(self.process.stdout.readline())

    def search(self, number):
        self.process.stdin.write(f"{number}\n")
        self.process.stdin.flush()
        usec, *found = self.process.stdout.readline().split()
        return float(usec) / 1e6, [int(i) for i in found]

    def close(self):
        self.process.stdin.close()
        assert self.process.wait() == 0


class Faiss:
    def __init__(self, name, index, vectors, queries):
        self.name, self.index, self.queries, self.effort = name, index, queries, None
        start = time.perf_counter()
        index.add(vectors)
        self.seconds = time.perf_counter() - start

    def search(self, number):
        start = time.perf_counter()
        _, found = self.index.search(self.queries[number:number + 1], BEST)
        return time.perf_counter() - start, found[0].tolist()


class Hnsw:
    """One of several efforts of the same graph."""

    def __init__(self, graph, effort):
        self.graph, self.effort, self.seconds = graph, effort, graph.seconds
        self.name = f"FAISS HNSW, 16 links, efSearch {effort}"

    def search(self, number):
        self.graph.index.hnsw.efSearch = self.effort
        return self.graph.search(number)


def main():
    program, n, n_queries = sys.argv[1], *(int(a) for a in (sys.argv[2:] + ["1000000", "100"][len(sys.argv) - 2:]))
    rng = numpy.random.default_rng(1)
    centres = unit(rng.standard_normal((CENTRES, WIDTH), "float32"))
    vectors, queries = make(rng, centres, n), make(rng, centres, n_queries)
    faiss.omp_set_num_threads(1)  # FAISS answers a single query on one thread in any case
    folder = tempfile.mkdtemp(prefix="bench-search-")
    try:
        ours = Ours(program, folder, vectors, queries)
        flat = Faiss("FAISS flat, f32", faiss.IndexFlatIP(WIDTH), vectors, queries)
        indexes = [flat, ours]
        if not os.environ.get("NO_HNSW"):
            graph = Faiss("HNSW", faiss.IndexHNSWFlat(WIDTH, 16, faiss.METRIC_INNER_PRODUCT), vectors, queries)
            indexes += [Hnsw(graph, effort) for effort in EFFORTS]
        times, hits = {i.name: [] for i in indexes}, {i.name: 0 for i in indexes}
        for number in range(-5, n_queries):  # the first few warm up
            best = None
            for index in indexes:
                seconds, found = index.search(max(number, 0))
                best = best or set(found)
                if number >= 0:
                    times[index.name].append(seconds * 1000)
                    hits[index.name] += len(best & set(found))
        ours.close()
        print(f"{n} vectors, {n_queries} queries, the best {BEST}; ms: median (lowest … highest)")
        for index in indexes:
            t = times[index.name]
            print(f"{index.name:38} {statistics.median(t):7.2f} ({min(t):.2f} … {max(t):.2f})   "
                  f"recall {100 * hits[index.name] / (BEST * n_queries):.1f}%   made in {index.seconds:.0f} s")
    finally:
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()
