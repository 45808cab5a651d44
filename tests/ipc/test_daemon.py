#!/usr/bin/python3
"""What the service is for, with a real model on real files.

usage: test_daemon.py PERCEPTD HELPER FIXTURES [MODEL]
"""

import math
import os
import signal
import struct
import threading
import unittest

import dbus

from fixture import DELTA, END, PROGRESS, SEALS, deltas, memfd, packed
from service import DaemonTest, Paths, fixture


def floats(vector):
    return struct.unpack(f"<{len(vector) // 4}f", bytes(vector))


def norm(vector):
    return math.sqrt(sum(x * x for x in floats(vector)))


class Embedding(DaemonTest):
    # What is compared here must have been computed twice.
    configuration = "[Model]\nCache=no\n"

    def test_text(self):
        vectors, info = self.client.embed("two red circles", "a bell rings twice")
        self.assertEqual([len(v) for v in vectors], [1024, 1024])
        for vector in vectors:
            self.assertAlmostEqual(norm(vector), 1, 5)
        self.assertEqual(len(info["digest"]), 64)
        self.assertTrue(info["backend"].startswith("cpu"))
        self.assertEqual(info["dimension"], 256)
        self.assertEqual(list(info["truncated"]), [False, False])
        self.assertGreater(info["weight_bytes"], 1000000)
        self.assertGreaterEqual(info["tokens"], 6)

    def test_batch_changes_nothing(self):
        texts = [f"{n} circles and a sound" for n in range(100)]
        together = self.client.embed(*texts)[0]
        for text, vector in list(zip(texts, together))[::7]:
            self.assertEqual(self.client.embed(text)[0][0], vector)

    def test_dimensions_and_types(self):
        whole = floats(self.client.embed("a blue square")[0][0])
        for n in 128, 64:
            part = self.client.embed("a blue square", dimension=dbus.UInt32(n))[0][0]
            self.assertEqual(len(part), 4 * n)
            self.assertAlmostEqual(norm(part), 1, 5)
            ratio = floats(part)[0] / whole[0]
            for x, y in zip(floats(part), whole):
                self.assertAlmostEqual(x, y * ratio, 5)
        half = self.client.embed("a blue square", dtype="f16")[0][0]
        for x, y in zip(struct.unpack("<256e", bytes(half)), whole):
            self.assertAlmostEqual(x, y, 3)

    def test_truncation(self):
        text = "one two three four five six seven eight nine ten " * 100
        message = self.refused("Truncated", self.client.embed, "short", text)
        self.assertIn("Text 1", message)
        (_, head), info = self.client.embed("short", text, truncate="head")
        self.assertEqual(list(info["truncated"]), [False, True])
        (tail,), _ = self.client.embed("x " + text, truncate="tail")
        self.assertEqual(tail, self.client.embed(text, truncate="tail")[0][0])
        self.assertEqual(head, self.client.embed(text + "and so on", truncate="head")[0][0])

    def bulk(self, *texts, **options):
        fd = memfd(packed(*(text.encode() for text in texts)), SEALS)
        vectors, info = self.client.bulk(fd, **options)
        os.close(fd)
        with open(vectors, "rb") as file:
            file.seek(0)
            return file.read(), info

    def test_bulk(self):
        texts = [f"{n} circles and a sound" for n in range(40)]
        data, info = self.bulk(*texts)
        self.assertEqual(data, b"".join(bytes(v) for v in self.client.embed(*texts)[0]))
        self.assertEqual(len(info["truncated"]), 40)
        data, info = self.bulk(*texts, dtype="f16", dimension=dbus.UInt32(64))
        self.assertEqual((len(data), info["dtype"], info["dimension"]), (40 * 128, "f16", 64))
        message = self.refused("Truncated", self.bulk, "short", "long " * 1000)
        self.assertIn("Text 1", message)

    def test_bulk_holds_up_nobody(self):
        """Five at once are more than may run together; short calls pass them all."""
        fd = memfd(packed(*(b"%d red circles" % n for n in range(3000))), SEALS)
        clients = [self.another_client() for _ in range(5)]
        for client in clients:
            client.bulk_begin(fd)
        self.eventually(lambda: self.client.property("QueueDepth") == 5)
        for n in range(5):
            self.client.embed(f"{n} blue squares")
        self.assertGreater(self.client.property("QueueDepth"), 0, "they are still at it")
        for client in clients:
            client.close()
        os.close(fd)
        self.eventually(lambda: self.client.property("QueueDepth") == 0)

    def test_bulk_counts_as_media(self):
        fd = memfd(packed(*[b"x"] * 65536), SEALS)
        client = self.another_client()
        client.bulk_begin(fd)
        self.eventually(lambda: self.client.property("QueueDepth") == 1)
        self.refused("QuotaExceeded", self.client.bulk, fd)
        client.close()
        os.close(fd)

    def test_media(self):
        names = ("shapes.jpg", "emoji.png", "emoji.webp", "sound.wav", "sound.ogg", "speech.flac",
                 "shapes-large.jpg", "sound-48000-stereo.flac")
        items, info = self.embed_media(*names)
        self.assertEqual([status for status, _ in items], [0] * 8)
        for _, vector in items:
            self.assertAlmostEqual(norm(vector), 1, 5)
        self.assertEqual(list(info["truncated"]), [False] * 8)
        again, _ = self.embed_media(*names[3:5])
        self.assertEqual(again, items[3:5], "a batch changes nothing")

    def test_every_way_in(self):
        """File, sealed memfd, memfd, pipe and bytes in the message are the same picture."""
        with open(fixture("emoji.png"), "rb") as file:
            data = file.read()
        expected, _ = self.embed_media("emoji.png")
        reader, writer = os.pipe()
        thread = threading.Thread(target=lambda: (os.write(writer, data), os.close(writer)))
        thread.start()
        for fd in memfd(data), memfd(data, SEALS), reader:
            self.assertEqual(self.embed_media(fd)[0], expected)
            os.close(fd)
        thread.join()
        inline = dbus.Array([(dbus.ByteArray(data), "image/png")], signature="(ays)")
        items, _ = self.client.call("EmbedMedia", "a(hs)a{sv}", [], {"inline": inline})
        self.assertEqual(bytes(items[0][1]), expected[0][1])

    def test_region_and_detail(self):
        def region(*numbers):
            return dbus.Struct([dbus.UInt32(n) for n in numbers], signature="uuuu")
        whole, _ = self.embed_media("window.png")
        for options in ({"region": region(0, 0, 60, 40)}, {"detail": "high"}):
            items, _ = self.embed_media("window.png", **options)
            self.assertEqual(items[0][0], 0)
            self.assertNotEqual(items, whole)
        items, _ = self.embed_media("window.png", region=region(10**6, 10**6, 5, 5))
        self.assertEqual(items, [(38, b"")])

    def test_classify(self):
        labels = ["a picture of shapes", "the sound of a bell", "someone speaks"]
        fd = dbus.types.UnixFd(self.open("shapes.jpg"))
        scores, info = self.client.call("Classify", "hsasa{sv}", fd, "image/jpeg", labels, {})
        self.assertEqual(sorted(str(label) for label, _ in scores), sorted(labels))
        values = [float(score) for _, score in scores]
        self.assertEqual(values, sorted(values, reverse=True))
        self.assertTrue(all(0 <= value <= 1 for value in values))
        self.assertEqual(info["metric"], "match")


class Answers(DaemonTest):
    def ask(self, question="What is in the picture?", names=("shapes.jpg",), client=None, **options):
        options.setdefault("max_tokens", dbus.UInt32(12))
        media = [(self.open(name), "") for name in names]
        return (client or self.client).ask(question, media, **options)

    def test_wait(self):
        result = self.ask().wait()
        self.assertTrue(result["text"])
        self.assertIn(result["finish"], ("stop", "length"))
        info = result["info"]
        self.assertGreater(info["kv_bytes"], 0)
        self.assertGreater(info["tokens"], 16)
        self.assertEqual(list(info["truncated"]), [False])

    def test_stream_is_the_answer(self):
        request = self.ask()
        frames = request.stream().frames()
        self.assertEqual(deltas(frames), request.text())
        self.assertEqual(frames[-1], (END, ""))
        stages = [text.split()[0] for kind, text in frames if kind == PROGRESS]
        self.assertEqual(stages, sorted(set(stages), key=stages.index), "each stage once")

    def test_picture_and_sound_together(self):
        self.assertTrue(self.ask("What do you see and hear?", ("shapes.jpg", "sound.wav")).text())

    def test_no_media(self):
        self.assertTrue(self.ask("What is the opposite of cold?", ()).text())

    def test_same_seed_same_answer(self):
        def texts(seed):
            return [self.ask(temperature=1.5, seed=dbus.UInt64(seed)).text() for _ in range(2)]
        first, second = texts(1)
        self.assertEqual(first, second)
        self.assertEqual(self.ask().text(), self.ask(temperature=0.0).text())

    def test_max_tokens(self):
        result = self.ask("Tell me a story.", (), max_tokens=dbus.UInt32(1)).wait()
        self.assertIn(result["finish"], ("length", "stop"))

    def test_effort_and_system(self):
        low = self.ask(effort=-1.0).wait()["info"]
        high = self.ask(effort=1.0).wait()["info"]
        self.assertEqual((low["effort"], high["effort"]), (-1, 1))
        with_system = self.ask(system="Answer in one word.").wait()["info"]
        self.assertGreater(with_system["tokens"], 16)

    def test_clients_together(self):
        """Eight answers at once are the answers that each would be alone."""
        questions = [f"Count to {n}." for n in range(8)]
        alone = [self.ask(q).text() for q in questions]
        requests = [self.ask(q) for q in questions]
        self.assertEqual([request.text() for request in requests], alone)

    def test_cancel_is_of_one_only(self):
        long = dbus.UInt32(200)
        mine = self.ask("Tell me more.", max_tokens=long)
        other = self.another_client()
        theirs = self.ask("Tell me more.", client=other, max_tokens=long)
        mine.cancel()
        expected = self.ask("Tell me more.", max_tokens=long).text()
        self.assertEqual(theirs.text(), expected)

    def test_too_long_for_the_context(self):
        self.refused("TooLarge", self.ask("word " * 5000, ()).wait)


class Life(DaemonTest):
    def test_helper_is_killed(self):
        self.embed_media("emoji.png")
        with open(f"/proc/{self.service.pid}/task/{self.service.pid}/children",
                  encoding="ascii") as file:
            helper = int(file.read().split()[0])
        os.kill(helper, signal.SIGKILL)
        self.eventually(lambda: self.fields(helper)[0] == "Z")
        self.assertEqual(self.embed_media("emoji.png")[0][0][0], 0)

    def test_idle_takes_no_time(self):
        self.client.embed("warm")
        ticks = self.ticks()
        threading.Event().wait(0.5)
        self.assertLessEqual(self.ticks() - ticks, 2)

    def fields(self, pid):
        with open(f"/proc/{pid}/stat", encoding="ascii") as file:
            return file.read().rsplit(")", 1)[1].split()

    def ticks(self):
        fields = self.fields(self.service.pid)
        return int(fields[11]) + int(fields[12])

    def test_nothing_is_left(self):
        self.embed_media("emoji.png", "sound.wav")
        folder = f"/proc/{self.service.pid}/fd"
        before = len(os.listdir(folder))
        for _ in range(5):
            self.embed_media("emoji.png", "sound.wav")
            request = self.client.ask("What?", [(self.open("emoji.png"), "")],
                                      max_tokens=dbus.UInt32(5))
            stream = request.stream()
            self.assertTrue([kind for kind, _ in stream.frames() if kind in (DELTA, END)])
            request.release()
        self.eventually(lambda: len(os.listdir(folder)) <= before)
        self.assertEqual(self.client.property("QueueDepth"), 0)


if __name__ == "__main__":
    Paths.take()
    unittest.main(verbosity=2)
