#!/usr/bin/python3
"""Mixed traffic at a steady rate for long: memory, descriptors and threads must stay where they are.

usage: soak.py PERCEPTD HELPER FIXTURES [MODEL]; SOAK_MINUTES (default 120) and SOAK_RATE (calls a second, default 10)
say how much, SOAK_SEED repeats the order of the calls. SOAK_GROWTH_MIB (default 4) is the bound on memory.

Every sample is taken at rest: the clients hold still and nothing is queued, so that a descriptor or a thread more than
before is one that was left. The first tenth of the time warms up. Of what follows, the medians of the first and the last
third are compared.
"""

import collections
import os
import random
import statistics
import subprocess
import threading
import time
import unittest

import dbus

from fixture import ERROR, MANAGER, NAME, PROGRESS, SEALS, Client, memfd, packed
from service import DaemonTest, Paths

MINUTES = float(os.environ.get("SOAK_MINUTES", "120"))
RATE = float(os.environ.get("SOAK_RATE", "10"))
SEED = int(os.environ.get("SOAK_SEED", "0")) or int.from_bytes(os.urandom(4), "little")
CLIENTS = 4
SAMPLES = 90      # in all, but one a second at most
GROWTH_MAX = int(os.environ.get("SOAK_GROWTH_MIB", "4")) << 20  # of the daemon and its helper together
ADMIN_EVERY = 10  # samples between two loads of the model
COLLECTION = NAME + ".Collection"

WORDS = "red blue green circle square bird rain door knock music page search moon three seven".split()
LONG = {"max_tokens": dbus.UInt32(500), "temperature": 100.0}


class Gate:
    """Lets calls through until it is closed; close() returns when none is under way."""

    def __init__(self):
        self.condition = threading.Condition()
        self.open, self.inside = True, 0

    def __enter__(self):
        with self.condition:
            self.condition.wait_for(lambda: self.open)
            self.inside += 1

    def __exit__(self, *_):
        with self.condition:
            self.inside -= 1
            self.condition.notify_all()

    def close(self):
        with self.condition:
            self.open = False
            self.condition.wait_for(lambda: self.inside == 0)

    def reopen(self):
        with self.condition:
            self.open = True
            self.condition.notify_all()


class Traffic:
    """One client: what it does is drawn by weight, and each call must end as it should."""

    KINDS = {"text": 40, "media": 14, "classify": 6, "bulk": 4, "ask": 10, "session": 5, "cancel": 5, "leave": 3,
             "deadline": 3, "damaged": 5, "refused": 5, "collection": 10}

    def __init__(self, test, seed):
        self.test, self.rng, self.name = test, random.Random(seed), f"soak {seed & 3}"
        self.client = Client(test.bus)
        self.kinds = {kind: n for kind, n in self.KINDS.items() if kind != "collection" or test.has_collections}
        self.seconds = collections.defaultdict(list)
        self.counts = collections.Counter()

    def one(self):
        kind, = self.rng.choices(list(self.kinds), self.kinds.values())
        begin = time.monotonic()
        getattr(self, kind)()
        if len(self.seconds[kind]) < 20000:
            self.seconds[kind].append(time.monotonic() - begin)
        self.counts[kind] += 1

    def words(self, n):
        return " ".join(self.rng.choices(WORDS, k=n))

    def text(self):
        texts = [self.words(self.rng.randint(1, 9)) for _ in range(self.rng.randint(1, 8))]
        assert len(self.client.embed(*texts)[0]) == len(texts)

    def media(self):
        names = self.rng.sample(("emoji.png", "word.webp", "sound.ogg", "shapes.jpg", "speech.wav"), 2)
        items, _ = self.test.embed_media(*names, client=self.client)
        assert [status for status, _ in items] == [0, 0], items

    def classify(self):
        scores, _ = self.client.call("Classify", "hsasa{sv}", dbus.types.UnixFd(self.test.open("emoji.webp")), "",
                                     [self.words(2) + str(i) for i in range(5)], {})
        assert len(scores) == 5

    def bulk(self):
        fd = memfd(packed(*[self.words(3).encode() for _ in range(64)]), SEALS)
        vectors, _ = self.client.bulk(fd)
        assert os.fstat(vectors).st_size == 64 * 256 * 4
        os.close(vectors)
        os.close(fd)

    def ask(self):
        media = [(self.test.open("shapes.jpg"), "")] if self.rng.random() < 0.5 else []
        request = self.client.ask("What is in the picture?", media, max_tokens=dbus.UInt32(24))
        assert request.stream().frames()[-1][0] == PROGRESS + 1
        assert "text" in request.wait()
        request.release()

    def session(self):
        session = self.client.open_session()
        for _ in range(2):
            request = session.ask(self.words(6) + "?", max_tokens=dbus.UInt32(8))
            request.wait()
            request.release()
        session.close()

    def cancel(self):
        request = self.client.ask("Tell me all.", **LONG)
        stream = request.stream()
        stream.frame()
        request.cancel()
        stream.frames()
        request.release()

    def leave(self):
        """Goes with an answer in flight, and comes back as somebody else."""
        self.client.ask("Tell me all.", **LONG)
        self.client.close()
        self.client = Client(self.test.bus)

    def ends(self, errors, function, *args, **kwargs):
        try:
            return function(*args, **kwargs)
        except dbus.DBusException as error:
            name = error.get_dbus_name()
            assert name.rpartition(".")[2] in errors, error
            return None

    def deadline(self):
        request = self.client.ask("Tell me all.", deadline_ms=dbus.UInt32(5), **LONG)
        self.ends(("Timeout",), request.wait)
        request.release()

    def damaged(self):
        with open(os.path.join(Paths.fixtures, "shapes.jpg"), "rb") as file:
            fd = memfd(file.read()[:self.rng.randint(3, 1500)])
        items, _ = self.test.embed_media(fd, client=self.client)
        os.close(fd)
        assert items[0][0] == 38, items

    def refused(self):
        self.ends(("InvalidArgs",), self.client.embed, "x", colour="red")
        self.ends(("UnknownMethod",), self.client.call, "Nothing", "")

    def collection(self):
        """A few items come and go: the collection stays as large as it is."""
        path = self.client.call("OpenCollection", "sa{sv}", self.name, {})

        def call(member, signature, *args):
            return self.client.call(member, signature, *args, path=path, interface=COLLECTION)
        names = [f"item {i}" for i in range(8)]
        statuses = call("AddText", "a(ssa{sv})", [(name, self.words(5), {}) for name in names])
        assert [int(status) for _, status in statuses] == [0] * 8, statuses
        hits, _ = call("Search", "sa{sv}", self.words(2), {"limit": dbus.UInt32(3)})
        assert len(hits) == 3
        call("Sync", "")
        assert call("Remove", "as", names) == 8


class Soak(DaemonTest):
    @classmethod
    def start(cls):
        os.environ["STATE_DIRECTORY"] = os.path.join(cls.bus.folder, "state")
        os.makedirs(os.environ["STATE_DIRECTORY"], exist_ok=True)
        super().start()

    def setUp(self):
        super().setUp()
        self.files = {}
        self.has_collections = "OpenCollection" in self.client.call(
            "Introspect", "", interface="org.freedesktop.DBus.Introspectable")
        self.failures, self.gate = [], Gate()
        self.late = 0

    def open(self, name):
        """One descriptor a file for all calls."""
        if name not in self.files:
            self.files[name] = super().open(name)
        return self.files[name]

    def run_client(self, traffic, start, end):
        """Its calls are due at their times, whatever the last one took."""
        due, step = start + traffic.rng.random() * CLIENTS / RATE, CLIENTS / RATE
        try:
            while due < end and not self.failures:
                time.sleep(max(0, due - time.monotonic()))
                with self.gate:
                    self.late += time.monotonic() - due > 1
                    traffic.one()
                due += step
        except Exception as error:  # pylint: disable=broad-except
            self.failures.append(error)

    def processes(self):
        helpers = subprocess.run(["pgrep", "-P", str(self.service.pid)], capture_output=True, text=True, check=False)
        return [self.service.pid, *map(int, helpers.stdout.split())]

    def resident(self):
        total = 0
        for pid in self.processes():
            with open(f"/proc/{pid}/smaps_rollup", encoding="ascii") as file:
                total += next(int(line.split()[1]) for line in file if line.startswith("Rss")) << 10
        return total

    def count(self, what):
        return len(os.listdir(f"/proc/{self.service.pid}/{what}"))

    def sample(self, number):
        self.gate.close()
        try:
            self.eventually(lambda: self.client.property("QueueDepth") == 0, 30)
            if number % ADMIN_EVERY == ADMIN_EVERY - 1:
                self.load_again()
            time.sleep(0.2)  # readers that are done may still be threads
            return self.resident(), self.count("fd"), self.count("task")
        finally:
            self.gate.reopen()

    def load_again(self):
        info = self.client.embed("which model?")[1]
        self.client.call("UnloadModel", "s", info["model"])
        self.client.call("Reload", "")
        self.embed_media("emoji.png", "sound.ogg")
        self.client.ask("Is it back?", [(self.open("shapes.jpg"), "")], max_tokens=dbus.UInt32(24)).wait()

    def report(self, seconds, found):
        resident, descriptors, threads = found
        print(f"{seconds / 60:7.1f} min  {resident / (1 << 20):7.1f} MiB  {descriptors} descriptors  {threads} threads",
              flush=True)

    def tell(self, traffic, seconds):
        counts = sum((t.counts for t in traffic), collections.Counter())
        print(f"{sum(counts.values())} calls in {seconds / 60:.1f} min, {sum(counts.values()) / seconds:.1f} a second, "
              f"{self.late} more than a second late; ms at the middle and at 99 of 100:")
        for kind, count in counts.most_common():
            times = sorted(s for t in traffic for s in t.seconds[kind])
            print(f"  {kind:10} {count:7} {statistics.median(times) * 1e3:8.1f} "
                  f"{times[len(times) * 99 // 100] * 1e3:8.1f}")

    def test_soak(self):
        print(f"{MINUTES:g} minutes, {RATE:g} calls a second from {CLIENTS} clients, seed {SEED}", flush=True)
        for _ in range(5):
            self.load_again()
        self.client.open_collection("first")  # its database stays open from now on
        start = time.monotonic()
        end = start + MINUTES * 60
        traffic = [Traffic(self, SEED + i) for i in range(CLIENTS)]
        threads = [threading.Thread(target=self.run_client, args=(t, start, end)) for t in traffic]
        for thread in threads:
            thread.start()
        step = max(1, MINUTES * 60 / SAMPLES)
        samples = []
        while time.monotonic() + step < end and not self.failures:
            time.sleep(step)
            samples.append(self.sample(len(samples)))
            self.report(time.monotonic() - start, samples[-1])
        for thread in threads:
            thread.join()
        self.tell(traffic, time.monotonic() - start)
        self.assertEqual(self.failures, [])
        self.judge(samples[len(samples) // 10:])

    def judge(self, samples):
        third = len(samples) // 3
        self.assertGreater(third, 0, "too short to say anything")
        first, last = samples[:third], samples[-third:]
        growth = statistics.median(s[0] for s in last) - statistics.median(s[0] for s in first)
        print(f"grown by {growth / (1 << 20):+.2f} MiB (bound {GROWTH_MAX >> 20})", flush=True)
        self.assertLess(growth, GROWTH_MAX)
        for at, what in (1, "descriptors"), (2, "threads"):
            self.assertLessEqual(max(s[at] for s in last), max(s[at] for s in first), what)


if __name__ == "__main__":
    Paths.take()
    unittest.main(verbosity=2)
