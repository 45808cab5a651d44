#!/usr/bin/python3
"""What one user has the index do for long, another does not wait for.

usage: test_fairness.py PERCEPTD HELPER FIXTURES [MODEL]; FAIR_ITEMS: how many vectors the first user brings
"""

import os
import random
import statistics
import struct
import threading
import time
import unittest

import dbus

from fixture import ERROR, SEALS, memfd
from service import Paths, another_model
from test_users import ALICE, BOB, UsersTest

ITEMS = int(os.environ.get("FAIR_ITEMS", "120000"))
BATCH = 30000  # of f16 vectors, which is what one AddVectors takes
SEARCHES = 40


def packed_vectors(first, n):
    """n vectors of little sense; the parts that vary make each another's neighbour at some distance."""
    rng = random.Random(first)
    block = struct.pack("<256e", *(rng.uniform(-1, 1) for _ in range(256)))
    vectors = b"".join(block[:2 * (i % 200)] + struct.pack("<e", (1 + i % 50) / 51) + block[2 * (i % 200) + 2:] for i in range(n))
    return (struct.pack("<8sII", b"perceptv", n, 0) + vectors +
            b"".join(b"%d\0\0" % i for i in range(first, first + n)))


def timed(function, *args, **kwargs):
    begin = time.monotonic()
    function(*args, **kwargs)
    return time.monotonic() - begin


class Fairness(UsersTest):
    def long_work(self, client):
        """Adds again and again, which takes most; returns how long each call took."""
        digest = client.embed("x")[1]["digest"]
        collection = client.open_collection("large")
        batches = [memfd(packed_vectors(first, BATCH), SEALS) for first in range(0, ITEMS, BATCH)]
        times = []
        while not os.path.exists(self.stop_file):
            for batch in batches:
                times.append(timed(collection.add_vectors, batch, dtype="f16", model=digest))
                if os.path.exists(self.stop_file):
                    break
            else:
                times.append(timed(collection.search, "something", limit=dbus.UInt32(1000)))
        return times

    def small_work(self, client):
        collection = client.open_collection("small")
        collection.add_text({"a": "a red circle", "b": "rain"})
        times = []
        for _ in range(SEARCHES):
            times.append(timed(collection.search, "a circle"))
            time.sleep(0.01)
        return times

    def test_searches_beside_long_work(self):
        self.stop_file = os.path.join(self.bus.folder, "stop")
        alone = self.run_as(BOB, self.small_work)
        found = []
        thread = threading.Thread(target=lambda: found.append(self.run_as(ALICE, self.long_work)))
        thread.start()
        self.eventually(lambda: not thread.is_alive() or self.size_of(ALICE) > 10 << 20)
        beside = self.run_as(BOB, self.small_work)
        with open(self.stop_file, "w", encoding="ascii"):
            pass
        thread.join()
        long, (one, most, all_most) = found[0], (statistics.median(beside), max(beside), max(found[0]))
        print(f"{ITEMS} vectors: {len(long)} calls of one user, median {statistics.median(long) * 1e3:.0f} ms, slowest "
              f"{all_most * 1e3:.0f}; searches of another: median {one * 1e3:.2f} ms, slowest {most * 1e3:.1f}; "
              f"alone {statistics.median(alone) * 1e3:.2f} ms, slowest {max(alone) * 1e3:.1f}", flush=True)
        self.assertGreater(statistics.median(long), 0.1, "it is long work")
        self.assertLess(one, statistics.median(long) / 4)

    def size_of(self, uid):
        try:
            return os.path.getsize(os.path.join(self.bus.folder, "state", f"u{uid}", "index.db"))
        except FileNotFoundError:
            return 0


class Rebuilds(UsersTest):
    """Two users' collections when the model is another: the small one does not wait for the large one."""

    def add(self, client, n):
        collection = client.open_collection()
        for first in range(0, n, 500):
            collection.add_text({f"n{i}": f"{i} blue circles and {i + 1} red squares"
                                 for i in range(first, min(first + 500, n))})

    def search(self, client):
        try:
            client.open_collection().search("a circle")
        except dbus.DBusException as error:
            return error.get_dbus_name()
        return None

    def state(self, client):
        return str(client.collections()["test"][1]["state"])

    def test_each_gets_on(self):
        self.run_as(ALICE, lambda client: self.add(client, 8000))
        self.run_as(BOB, lambda client: self.add(client, 2))
        model, other = Paths.model, os.path.join(self.bus.folder, "other.gguf")
        another_model(other)
        self.stop()
        Paths.model = other
        try:
            self.start()
        finally:
            Paths.model = model
        for uid in ALICE, BOB:
            self.assertEqual(self.run_as(uid, self.search), ERROR + "ModelMismatch")
        self.eventually(lambda: self.run_as(BOB, self.state) == "ready", 30)
        self.assertEqual(self.run_as(ALICE, self.state), "rebuilding")
        self.assertIsNone(self.run_as(BOB, self.search))


if __name__ == "__main__":
    Paths.take(need_root=True)
    unittest.main(verbosity=2)
