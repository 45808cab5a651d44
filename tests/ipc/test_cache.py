#!/usr/bin/python3
"""Vectors that are kept: the same again is not computed again, and nothing of it shows to other users.

usage: test_cache.py PERCEPTD HELPER FIXTURES [MODEL]
"""

import os
import unittest

import dbus

from fixture import SEALS, memfd
from service import DaemonTest, Paths, fixture


class Cache(DaemonTest):
    def computed(self, *texts, **options):
        """The vectors, and the weights that were read for them."""
        vectors, info = self.client.embed(*texts, **options)
        return vectors, int(info["weight_bytes"]), info

    def test_texts(self):
        first, read, info = self.computed("a red kite", "a grey kite")
        self.assertGreater(read, 0)
        again, read, info_again = self.computed("a grey kite", "a red kite")
        self.assertEqual((list(again), read), (list(first)[::-1], 0))
        self.assertEqual(info_again["tokens"], info["tokens"])
        mixed, read_mixed, _ = self.computed("a red kite", "a blue kite")
        self.assertEqual(mixed[0], first[0])
        self.assertGreater(read_mixed, 0)
        self.assertEqual(self.computed("a red kite", dimension=dbus.UInt32(64), dtype="f16")[1], 0,
                         "cut from the same vector")
        self.assertEqual(self.computed("a red kite", "a red kite")[1], 0)

    def test_options_count(self):
        text = "one two three four five six seven eight nine ten " * 100
        head, _, info = self.computed(text, truncate="head")
        self.refused("Truncated", self.client.embed, text)
        tail, read, _ = self.computed(text, truncate="tail")
        self.assertGreater(read, 0)
        self.assertNotEqual(head, tail)
        again, read, info_again = self.computed(text, truncate="head")
        self.assertEqual((again, read), (head, 0))
        self.assertEqual([list(i["truncated"]) for i in (info, info_again)], [[True], [True]])

    def embed_again(self, *names, **options):
        items, info = self.embed_media(*names, **options)
        return items, int(info["weight_bytes"])

    def test_media(self):
        names = ("emoji.png", "sound.ogg")
        first, read = self.embed_again(*names)
        self.assertGreater(read, 0)
        self.assertEqual(self.embed_again(*names), (first, 0))
        with open(fixture("emoji.png"), "rb") as file:
            fd = memfd(file.read(), SEALS)
        self.assertEqual(self.embed_again(fd), (first[:1], 0), "however it is handed in")
        os.close(fd)
        region = dbus.Struct([dbus.UInt32(n) for n in (0, 0, 20, 20)], signature="uuuu")
        for options in {"detail": "high"}, {"region": region}:
            items, read = self.embed_again("emoji.png", **options)
            self.assertGreater(read, 0)
            self.assertEqual(self.embed_again("emoji.png", **options), (items, 0))
        request = self.client.ask("What is it?", [(self.open("emoji.png"), "")],
                                  max_tokens=dbus.UInt32(2))
        self.assertGreater(request.wait()["info"]["weight_bytes"], 0)

    def test_classify(self):
        def classify():
            fd = dbus.types.UnixFd(self.open("emoji.png"))
            scores, info = self.client.call("Classify", "hsasa{sv}", fd, "", ["a face", "a house"], {})
            return scores, int(info["weight_bytes"])
        scores, _ = classify()
        self.assertEqual(classify(), (scores, 0))

    def test_bounded(self):
        first = self.computed("number 0")[0]
        for n in range(0, 2000, 1000):
            self.client.embed(*(f"number {k}" for k in range(n, n + 1000)))
        before = self.resident()
        for n in range(2000, 4000, 1000):
            self.client.embed(*(f"number {k}" for k in range(n, n + 1000)))
        self.assertLess(self.resident() - before, 2048)
        again, read, _ = self.computed("number 0")
        self.assertEqual(again, first)
        self.assertGreater(read, 0, "it gave way")

    def resident(self):
        """KiB"""
        with open(f"/proc/{self.service.pid}/status", encoding="ascii") as file:
            return next(int(line.split()[1]) for line in file if line.startswith("VmRSS"))


class Off(DaemonTest):
    configuration = "[Model]\nCache=no\n"

    def test_nothing_is_kept(self):
        for _ in range(2):
            self.assertGreater(self.client.embed("a red kite")[1]["weight_bytes"], 0)
            self.assertGreater(self.embed_media("emoji.png")[1]["weight_bytes"], 0)


if __name__ == "__main__":
    Paths.take()
    unittest.main(verbosity=2)
