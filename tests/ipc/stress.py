#!/usr/bin/python3
"""Many clients at once, for a while: everything is answered, nothing grows, nothing is left.

usage: stress.py PERCEPTD HELPER FIXTURES [MODEL]; STRESS_SECONDS (default 10) says how long.
"""

import os
import random
import threading
import time
import unittest

import dbus

from fixture import ERROR, Client
from service import DaemonTest, Paths

SECONDS = float(os.environ.get("STRESS_SECONDS", "10"))
CLIENTS = 6
EXPECTED = {ERROR + name for name in ("Cancelled", "QuotaExceeded", "Busy", "Timeout")} | {
    "org.freedesktop.DBus.Error.Timeout"}


class Stress(DaemonTest):
    def setUp(self):
        super().setUp()
        # One descriptor a file for all calls; one a call would pass an ordinary user's limit.
        self.files = {name: super(Stress, self).open(name)
                      for name in ("emoji.png", "sound.wav", "shapes.jpg")}

    def open(self, name):
        return self.files[name]

    def one_call(self, client, rng):
        kind = rng.randrange(6)
        tokens = dbus.UInt32(rng.randint(1, 40))
        if kind == 0:
            client.embed(*[f"text {rng.random()}"] * rng.randint(1, 50))
        elif kind == 1:
            items, _ = self.embed_media("emoji.png", "sound.wav", client=client)
            assert [status for status, _ in items] == [0, 0], items
        elif kind == 2:
            request = client.ask("What is it?", [(self.open("shapes.jpg"), "")], max_tokens=tokens)
            assert request.stream().frames()[-1][0] == 3
            request.release()
        elif kind == 3:
            request = client.ask("Count.", max_tokens=tokens, deadline_ms=dbus.UInt32(20))
            try:
                request.wait()
            finally:
                request.release()
        elif kind == 4:
            client.ask("Tell me all.", max_tokens=dbus.UInt32(500)).release()
        else:
            request = client.ask("Tell me all.", max_tokens=dbus.UInt32(500))
            stream = request.stream()
            stream.frame()
            stream.close()
            request.release()

    def leave(self, client):
        """Goes with an answer in flight, and comes back as somebody else."""
        client.ask("Tell me all.", max_tokens=dbus.UInt32(500))
        client.close()
        return Client(self.bus)

    def run_client(self, seed, end, failures, counts):
        rng = random.Random(seed)
        client = Client(self.bus)
        try:
            while time.monotonic() < end:
                try:
                    if rng.random() < 0.05:
                        client = self.leave(client)
                    self.one_call(client, rng)
                    counts[seed] += 1
                except dbus.DBusException as error:
                    if error.get_dbus_name() not in EXPECTED:
                        raise
            client.close()
        except Exception as error:  # pylint: disable=broad-except
            failures.append(error)

    def resident(self):
        with open(f"/proc/{self.service.pid}/statm", encoding="ascii") as file:
            return int(file.read().split()[1]) * 4096

    def crowd(self, seconds):
        failures, counts = [], [0] * CLIENTS
        end = time.monotonic() + seconds
        threads = [threading.Thread(target=self.run_client, args=(seed, end, failures, counts))
                   for seed in range(CLIENTS)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertEqual(failures, [])
        return sum(counts)

    def test_crowd(self):
        self.crowd(SECONDS / 3)
        self.eventually(lambda: self.client.property("QueueDepth") == 0)
        memory, folder = self.resident(), f"/proc/{self.service.pid}/fd"
        descriptors = len(os.listdir(folder))
        done = self.crowd(SECONDS * 2 / 3)
        self.eventually(lambda: self.client.property("QueueDepth") == 0)
        self.eventually(lambda: len(os.listdir(folder)) <= descriptors + 1)
        print(f"{done} calls by {CLIENTS} clients; {memory >> 20} MiB before, "
              f"{self.resident() >> 20} MiB after", flush=True)
        self.assertLess(self.resident(), memory * 1.2 + (64 << 20))


if __name__ == "__main__":
    Paths.take()
    unittest.main(verbosity=2)
