#!/usr/bin/python3
"""Collections: what they keep, find and refuse, whose they are, and what a killed service leaves.

usage: test_collections.py PERCEPTD HELPER FIXTURES [MODEL]; KILLS says how often (default 6)
"""

import os
import random
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import time
import unittest

import dbus

from fixture import COLLECTION, DELTA, END, ERROR, PATH, PROGRESS, SEALS, SOURCE, Client, Collection
from fixture import memfd, words
from service import DaemonTest, Paths, another_model, fixture

KILLS = int(os.environ.get("KILLS", "6"))
TEXTS = {
    "square": "a blue square", "circle": "a red circle", "bell": "a bell rings twice",
    "monday": "the meeting is on Monday",
}


def packed(items, model_numbers, kind="f", count=None, magic=b"perceptv", zero=0):
    """What AddVectors takes: {identifier: text} and a vector for each."""
    data = struct.pack("<8sII", magic, len(items) if count is None else count, zero)
    for numbers in model_numbers:
        data += struct.pack(f"<256{kind}", *numbers)
    for key, text in items.items():
        data += key.encode() + b"\0" + text.encode() + b"\0"
    return data


def floats(vector):
    return struct.unpack("<256f", bytes(vector))


class CollectionTest(DaemonTest):
    def setUp(self):
        super().setUp()
        self.collection = self.client.open_collection()
        self.addCleanup(self.drop_all)

    def drop_all(self):
        client = Client(self.bus)
        for name in client.collections():
            client.call("DeleteCollection", "s", name)
        client.close()

    def refused_search(self, name, **options):
        return self.refused(name, self.collection.search, "x", **options)


class Keeping(CollectionTest):
    def test_paths(self):
        uid = os.getuid()
        for name, last in (("test", "test"), ("My notes/\u00e4", "My_20notes_2f_c3_a4"), ("a_b", "a_5fb")):
            path = self.client.open_collection(name).path
            self.assertEqual(path, f"{PATH}/collections/u{uid}/{last}")
        self.assertEqual(sorted(self.client.collections()), sorted(("test", "My notes/\u00e4", "a_b")))
        for last in ("_74est", "test_", "_zz", "", "_c3", "_00", "_C3_A4"):
            self.refused("UnknownObject", Collection(
                self.client, f"{PATH}/collections/u{uid}/{last}".rstrip("/")).sync)
        self.refused("UnknownObject", Collection(self.client, f"{PATH}/collections/u0{uid}/x").sync)
        xml = self.client.call("Introspect", "", path=path,
                               interface="org.freedesktop.DBus.Introspectable")
        self.assertIn(f'interface name="{COLLECTION}"', xml)

    def test_add_get_remove(self):
        statuses = self.collection.add_text({**TEXTS, "empty": " ", "long": "word " * 600},
                                            {"by": "me", "at": "home"})
        self.assertEqual(statuses, {**{key: 0 for key in TEXTS}, "empty": 1, "long": 36})
        found = self.collection.get("bell", "none", "circle")
        self.assertEqual(list(found), ["bell", "circle"])
        self.assertEqual(found["bell"]["text"], TEXTS["bell"])
        self.assertEqual(found["bell"]["metadata"], {"by": "me", "at": "home"})
        self.assertEqual((found["bell"]["modality"], found["bell"]["stale"]), ("text", False))
        self.refused("NoSuchItem", self.collection.get, "empty", "long")
        self.assertEqual(self.collection.list(), sorted(TEXTS))
        self.assertEqual(self.collection.list("bell", dbus.UInt32(1)), sorted(TEXTS)[1:2])
        self.assertEqual(self.collection.list(sorted(TEXTS)[-1]), [])
        self.assertEqual(self.collection.remove("bell", "none", "bell"), 1)
        self.refused("NoSuchItem", self.collection.get, "bell")
        self.collection.add_text({"circle": "a green circle"})  # in its place
        self.assertEqual(self.collection.get("circle")["circle"]["text"], "a green circle")
        self.assertEqual(self.collection.get("circle")["circle"]["metadata"], {})
        properties = self.client.collections()["test"][1]
        self.assertEqual((properties["items"], properties["stale_items"], properties["state"]),
                         (3, 0, "ready"))
        self.assertEqual(properties["model"], self.client.embed("x")[1]["digest"])

    def test_long_texts(self):
        text = "first a red circle " + "and then nothing " * 300 + "last a blue square"
        for key, truncate in ("head", "head"), ("tail", "tail"):
            self.assertEqual(self.collection.add_text({key: text}, truncate=truncate), {key: 0})
        self.assertEqual(self.collection.get("head")["head"]["text"], text)
        head, tail = (self.client.embed(text, truncate=t)[0][0] for t in ("head", "tail"))
        self.assertEqual(str(self.collection.search_vector(head)[0][0][0]), "head")
        self.assertEqual(str(self.collection.search_vector(tail)[0][0][0]), "tail")
        self.assertEqual(self.collection.add_text({"huge": "x" * 70000}), {"huge": 35})

    def test_media(self):
        names = ("shapes.jpg", "emoji.png", "sound.ogg", "speech.wav")
        bad = memfd(b"no picture at all")
        self.addCleanup(os.close, bad)
        statuses = self.collection.add_media({**{n: self.open(n) for n in names}, "bad": bad},
                                             {"kind": "file"})
        self.assertEqual(statuses, {**{n: 0 for n in names}, "bad": 37})
        for name in names:
            hits, info = self.collection.search_media(self.open(name))
            self.assertEqual(str(hits[0][0]), name)
            self.assertGreater(hits[0][1], 0.999)
        self.assertEqual(hits[0][2]["modality"], "audio")
        self.assertNotIn("text", self.collection.get("emoji.png")["emoji.png"])
        self.refused("NotSupported", self.collection.add_media, {"x": self.open("sound.ogg")},
                     truncate="tail")
        self.refused("TooLarge", self.collection.add_media,
                     {str(i): self.open("emoji.png") for i in range(9)})
        region = dbus.Struct([dbus.UInt32(n) for n in (0, 0, 20, 20)], signature="uuuu")
        self.assertEqual(self.collection.add_media({"part": self.open("shapes.jpg")}, region=region,
                                                   detail="high"), {"part": 0})
        found, _ = self.collection.search_media(self.open("shapes.jpg"), region=region, detail="high")
        self.assertEqual(str(found[0][0]), "part")
        self.assertGreater(found[0][1], 0.999)

    def test_vectors(self):
        texts = ["one", "two"]
        vectors, info = self.client.embed(*texts)
        numbers = [floats(v) for v in vectors]
        model = str(info["digest"])
        items = dict(zip(("v1", "v2"), texts))
        for kind, dtype in ("f", "f32"), ("e", "f16"):
            fd = memfd(packed(items, numbers, kind), SEALS)
            self.assertEqual(self.collection.add_vectors(fd, model=model, dtype=dtype,
                                                         metadata=words({"from": dtype})), 2)
            os.close(fd)
            self.assertEqual(self.collection.found("two", limit=dbus.UInt32(1)), ["v2"])
            self.assertEqual(self.collection.get("v1")["v1"]["metadata"], {"from": dtype})
        good = packed(items, numbers)
        for data, options, error in (
                (good, {}, "InvalidArgs"), (good, {"model": "x"}, "InvalidArgs"),
                (good, {"model": "0" * 64}, "ModelMismatch"),
                (good[:-1], {"model": model}, "InvalidArgs"), (good + b"x", {"model": model}, "InvalidArgs"),
                (good[:600], {"model": model}, "InvalidArgs"), (b"", {"model": model}, "InvalidArgs"),
                (packed(items, numbers, count=1 << 31), {"model": model}, "InvalidArgs"),
                (packed(items, numbers, magic=b"percept1"), {"model": model}, "InvalidArgs"),
                (packed(items, numbers, zero=1), {"model": model}, "InvalidArgs"),
                (packed({}, []), {"model": model}, "InvalidArgs"),
                (packed({"": "x"}, numbers[:1]), {"model": model}, "InvalidArgs"),
                (packed({"a": "x"}, [[float("nan")] * 256]), {"model": model}, "InvalidArgs"),
                (packed({"a": "x"}, [[0] * 256]), {"model": model}, "InvalidArgs")):
            fd = memfd(data, SEALS)
            self.refused(error, self.collection.add_vectors, fd, **options)
            os.close(fd)
        fd = memfd(good)
        self.refused("NotSealed", self.collection.add_vectors, fd, model=model)
        os.close(fd)

    def test_sharing(self):
        """All connections of a user have the same, at once."""
        other = Collection(self.another_client(), self.collection.path)
        self.collection.add_text(TEXTS)
        self.assertEqual(other.found(TEXTS["circle"], limit=dbus.UInt32(1)), ["circle"])
        other.remove("circle")
        self.assertNotIn("circle", self.collection.found(TEXTS["circle"]))

    def test_missing(self):
        self.client.call("DeleteCollection", "s", "test")
        for call in (lambda: self.collection.add_text(TEXTS), lambda: self.collection.search("x"),
                     lambda: self.collection.get("x"), lambda: self.collection.remove("x"),
                     self.collection.list, self.collection.sync,
                     self.collection.ask("What?").wait,
                     lambda: self.client.call("DeleteCollection", "s", "test")):
            self.refused("NoSuchCollection", call)

    def test_limits(self):
        limits = self.client.property("Limits")
        for i in range(1, limits["collections_per_uid"]):
            self.client.open_collection(f"n{i}")
        self.refused("QuotaExceeded", self.client.open_collection, "one more")
        self.client.open_collection("n5")
        for name, error in ("", "InvalidArgs"), ("x" * 256, "TooLarge"):
            self.refused(error, self.client.open_collection, name)
            self.refused(error, self.collection.add_text, {name: "x"})
            self.refused(error, self.collection.add_text, {"x": "x"}, {name: "y"})
        self.refused("TooLarge", self.collection.add_text, {"x": "x"}, {"y": "z" * 4097})
        self.refused("TooLarge", self.collection.add_text, {"x": "x"},
                     {str(i): "y" for i in range(33)})
        self.refused("TooLarge", self.collection.add_text, {str(i): "x" for i in range(4097)})
        self.refused("TooLarge", self.collection.add_text, {str(i): "x" * 60000 for i in range(80)})
        self.refused("TooLarge", self.collection.list, "x" * 256)
        self.refused("InvalidArgs", self.collection.list, "", 0)
        self.refused("InvalidArgs", self.collection.list, "", 4097)
        self.refused("InvalidArgs", self.collection.add_text, {})
        self.refused("InvalidArgs", self.collection.add_text, {"x": "x"}, colour="red")
        self.refused("InvalidArgs", self.collection.add_text, {"x": "x"}, truncate=dbus.UInt32(1))
        self.assertEqual(self.collection.add_text({"x": "x"}, **{"x-mine": "y"}), {"x": 0})
        many = {f"t{i}": "y" * 60000 for i in range(20)}
        for key, text in many.items():
            self.collection.add_text({key: text}, truncate="head")
        self.refused("TooLarge", self.collection.get, *many)
        self.refused_search("TooLarge", text_bytes=dbus.UInt32(65536), limit=dbus.UInt32(30))


class Searching(CollectionTest):
    def setUp(self):
        super().setUp()
        self.collection.add_text(TEXTS, {"kind": "note"})
        self.collection.add_media({"shapes": self.open("shapes.jpg"), "sound": self.open("sound.ogg")},
                                  {"kind": "file", "place": "here"})

    def test_hits(self):
        hits, info = self.collection.search("a red circle")
        self.assertEqual(len(hits), 6)
        self.assertEqual(str(hits[0][0]), "circle")
        self.assertEqual([int(p["rank"]) for _, _, p in hits], [1, 2, 3, 4, 5, 6])
        scores = [float(score) for _, score, _ in hits]
        self.assertEqual(scores, sorted(scores, reverse=True))
        query = floats(self.client.embed("a red circle")[0][0])
        for key, score, properties in hits:
            if properties["modality"] == "text":
                vector = floats(self.client.embed(TEXTS[key])[0][0])
                self.assertAlmostEqual(score, sum(a * b for a, b in zip(query, vector)), 3)
            self.assertNotIn("text", properties)
        self.assertEqual((info["metric"], info["more"]), ("cosine", False))
        self.assertEqual(len(info["digest"]), 64)

    def test_pages(self):
        whole = self.collection.found("a sound")
        for offset in range(7):
            hits, info = self.collection.search("a sound", offset=dbus.UInt32(offset),
                                                limit=dbus.UInt32(2))
            self.assertEqual([str(key) for key, _, _ in hits], whole[offset:offset + 2])
            self.assertEqual([int(p["rank"]) for _, _, p in hits],
                             [n + 1 for n in range(offset, min(offset + 2, 6))])
            self.assertEqual(info["more"], offset + 2 < 6)

    def test_filters(self):
        found = self.collection.found
        self.assertEqual(set(found("x", filter=words({"kind": "note"}))), set(TEXTS))
        self.assertEqual(set(found("x", filter=words({"kind": "file", "place": "here"}))),
                         {"shapes", "sound"})
        self.assertEqual(found("x", filter=words({"kind": "note", "place": "here"})), [])
        self.assertEqual(set(found("x", filter=words({}))), {*TEXTS, "shapes", "sound"})
        self.assertEqual(found("x", modality=["image"]), ["shapes"])
        self.assertEqual(set(found("x", modality=["image", "audio"])), {"shapes", "sound"})
        self.assertEqual(found("x", modality=["audio"], filter=words({"kind": "note"})), [])
        self.assertEqual(found("nothing of the kind", min_score=0.99), [])
        self.assertEqual(found(TEXTS["bell"], min_score=0.99), ["bell"])
        self.assertEqual(len(found("x", modality=dbus.Array([], signature="s"))), 6)

    def test_texts(self):
        hits, _ = self.collection.search("a red circle", text_bytes=dbus.UInt32(5))
        texts = {str(key): p.get("text") for key, _, p in hits}
        self.assertEqual((texts["circle"], texts["shapes"]), ("a red", None))

    def test_by_vector(self):
        vector = self.client.embed("a red circle")[0][0]
        self.assertEqual(self.collection.search_vector(vector)[0], self.collection.search("a red circle")[0])
        half = self.client.embed("a red circle", dtype="f16")[0][0]
        found, _ = self.collection.search_vector(half, dtype="f16")
        self.assertEqual(str(found[0][0]), "circle")
        for wrong in (b"", vector[:-4], half, b"\0" * 1024, struct.pack("<256f", *[float("inf")] * 256)):
            self.refused("InvalidArgs", self.collection.search_vector, wrong)

    def test_refusals(self):
        for options in ({"limit": dbus.UInt32(0)}, {"limit": dbus.UInt32(1001)}, {"min_score": 2.0},
                        {"min_score": float("nan")}, {"modality": ["smell"]}, {"modality": "text"},
                        {"offset": dbus.UInt32(991)}, {"offset": dbus.UInt32(0xffffffff)},
                        {"filter": "x"}, {"model": "x"}, {"metadata": words({"a": "b"})}):
            self.refused_search("InvalidArgs", **options)
        self.refused("InvalidArgs", self.collection.search, " ")
        self.refused("Truncated", self.collection.search, "word " * 600)
        self.assertEqual(len(self.collection.found("word " * 600, truncate="head")), 6)
        self.refused("InvalidArgs", self.client.ask, "What?", limit=dbus.UInt32(2))
        self.refused("InvalidArgs", self.collection.ask, "What?", limit=dbus.UInt32(17))
        self.refused("InvalidArgs", self.collection.ask, "What?", offset=dbus.UInt32(1))
        self.refused("UnsupportedMedia", self.collection.search_media, memfd(b"x"))

    def sources(self, **options):
        request = self.collection.ask("When is the meeting?", max_tokens=dbus.UInt32(8), **options)
        frames = request.stream().frames()
        named = [text for kind, text in frames if kind == SOURCE]
        kinds = [kind for kind, _ in frames if kind in (SOURCE, DELTA, END)]
        self.assertEqual(kinds, sorted(kinds, key=(SOURCE, DELTA, END).index), "sources come first")
        self.assertEqual(kinds[-1], END)
        result = request.wait()
        self.assertEqual(named, [f"{p['rank']} {score:.4f} {key}" for key, score, p in result["sources"]])
        return result

    def test_answer(self):
        result = self.sources()
        self.assertEqual([str(key) for key, _, _ in result["sources"]],
                         self.collection.found("When is the meeting?", limit=dbus.UInt32(4)))
        plain = self.client.ask("When is the meeting?", max_tokens=dbus.UInt32(8)).wait()
        self.assertGreater(result["info"]["tokens"], plain["info"]["tokens"] + 8, "it has read them")
        self.assertNotIn("sources", plain)
        media = self.sources(modality=["image", "audio"])["sources"]
        self.assertEqual({str(p["modality"]) for _, _, p in media}, {"image", "audio"})
        self.assertEqual(len(self.sources(filter=words({"kind": "nothing"}))["sources"]), 0)
        self.assertEqual(len(self.sources(limit=dbus.UInt32(1))["sources"]), 1)

    def test_answer_from_long_texts(self):
        """What is read of them leaves room for the question and the answer."""
        for i in range(8):
            self.collection.add_text({f"long{i}": f"the meeting number {i} is on Monday " * 1500},
                                     truncate="head")
        result = self.sources(limit=dbus.UInt32(16), filter=words({}))
        self.assertGreater(len(result["sources"]), 0)
        self.assertLess(result["info"]["tokens"], 8192)

    def test_answer_about_media_too(self):
        result = self.collection.ask("What is this?", [(self.open("emoji.png"), "")],
                                     max_tokens=dbus.UInt32(4)).wait()
        self.assertGreater(len(result["sources"]), 0)

    def test_in_a_session(self):
        session = self.client.open_session()
        first = self.collection.ask("When is the meeting?", session=session.path,
                                    max_tokens=dbus.UInt32(4)).wait()
        session.ask("And who comes?", max_tokens=dbus.UInt32(4)).wait()
        second = self.collection.ask("Where?", session=session.path, max_tokens=dbus.UInt32(4)).wait()
        self.assertTrue(first["sources"] and second["sources"])
        session.close()

    def test_cancel(self):
        for _ in range(20):
            request = self.collection.ask("When is the meeting?")
            request.cancel()
            try:
                request.wait()
            except dbus.DBusException as error:
                self.assertTrue(error.get_dbus_name().endswith("Cancelled"))
            request.release()
        for _ in range(10):
            client = Client(self.bus)
            Collection(client, self.collection.path).ask("When is the meeting?")
            client.close()
        self.eventually(lambda: self.client.property("QueueDepth") == 0)


class Files(CollectionTest):
    def test_files_are_private(self):
        self.collection.add_text(TEXTS)
        self.collection.search("x")
        state = os.path.join(self.bus.folder, "state")
        for folder, _, files in os.walk(state):
            self.assertEqual(os.stat(folder).st_mode & 0o777, 0o700, folder)
            for name in files:
                self.assertEqual(os.stat(os.path.join(folder, name)).st_mode & 0o777, 0o600, name)
        self.assertEqual(os.listdir(state), [f"u{os.getuid()}"])


class Restarts(CollectionTest):
    def restart(self, sig=signal.SIGTERM):
        self.service.send_signal(sig)
        self.service.wait(30)
        self.service.stdout.close()
        self.start()

    def state(self):
        return os.path.join(self.bus.folder, "state", f"u{os.getuid()}")

    def test_restart(self):
        self.collection.add_text(TEXTS)
        before = self.collection.search("a red circle")[0]
        self.restart()
        self.assertEqual(self.collection.search("a red circle")[0], before)

    def test_purged(self):
        """A folder that was taken away is not used on, and what comes after it is another's."""
        self.collection.add_text(TEXTS)
        shutil.rmtree(self.state())
        self.refused("NoSuchCollection", self.collection.search, "x")
        self.assertEqual(self.client.collections(), {})

    def test_damaged(self):
        self.collection.add_text(TEXTS)
        self.collection.sync()
        self.service.kill()
        self.service.wait()
        self.service.stdout.close()
        os.unlink(os.path.join(self.state(), "index.db-wal"))  # it would mend the first page
        with open(os.path.join(self.state(), "index.db"), "r+b") as file:
            file.write(b"no database at all" * 100)
        self.start()
        self.refused("IndexCorrupt", self.collection.search, "x")
        self.refused("IndexCorrupt", self.client.open_collection, "other")
        shutil.rmtree(self.state())

    def test_nowhere_to_write(self):
        """The service starts, and serves all else."""
        state = os.path.join(self.bus.folder, "state")
        self.restart()
        shutil.rmtree(state)
        with open(state, "w", encoding="ascii"):
            pass
        self.refused("Failed", self.client.open_collection, "x")
        self.assertEqual(len(self.client.embed("x")[0]), 1)
        os.unlink(state)

    def present(self, keys):
        """Those that are there; perhaps none is, when the first call was not yet through."""
        found = {}
        for at in range(0, len(keys), 4000):
            try:
                found.update(self.collection.get(*keys[at:at + 4000]))
            except dbus.DBusException as error:
                self.assertEqual(error.get_dbus_name(), ERROR + "NoSuchItem")
        return found

    def check_killed(self, added, synced):
        """Batches are there whole or not at all, in order, and those that were synced are."""
        found = self.present(added)
        batches = {key.split(".")[0] for key in found}
        for batch in batches:
            self.assertEqual(sum(key.startswith(batch + ".") for key in found), 5, batch)
        self.assertLessEqual(synced, batches)
        self.assertEqual(len(self.collection.found("number", limit=dbus.UInt32(1000))),
                         min(len(found), 1000))

    def test_kill(self):
        """kill -9 while batches come in and searches run."""
        rng = random.Random()
        added, synced, n = [], set(), 0
        for _ in range(KILLS):
            end = time.monotonic() + rng.uniform(0.05, 0.6)
            self.killer = subprocess.Popen(
                [sys.executable, "-c", f"import os, time; time.sleep({end - time.monotonic()}); "
                                       f"os.kill({self.service.pid}, 9)"])
            try:
                while True:
                    keys = [f"{n}.{i}" for i in range(5)]
                    n += 1
                    added += keys
                    self.collection.add_text({key: f"number {key}" for key in keys})
                    if rng.random() < 0.3:
                        self.collection.search("number")
                    if rng.random() < 0.5:
                        self.collection.sync()
                        synced |= {key.split(".")[0] for key in added}
            except dbus.DBusException as error:
                self.assertRegex(error.get_dbus_name(), "NoReply|ServiceUnknown|NameHasNoOwner")
            self.killer.wait()
            self.service.wait()
            self.service.stdout.close()
            self.start()
            self.check_killed(added, synced)
            added = list(self.present(added))
            synced = {key.split(".")[0] for key in added}
            if added:
                self.collection.sync()


class AnotherModel(CollectionTest):
    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.mkdtemp(prefix="perceptd-test-")
        cls.other = os.path.join(cls.folder, "other.gguf")
        another_model(cls.other)
        cls.model = Paths.model
        super().setUpClass()

    @classmethod
    def tearDownClass(cls):
        super().tearDownClass()
        Paths.model = cls.model
        shutil.rmtree(cls.folder)

    def use(self, model):
        Paths.model = model
        self.stop()
        self.start()

    def state(self):
        return self.client.collections()["test"][1]

    def test_rebuild(self):
        numbers = {f"n{i}": f"{i} blue circles" for i in range(300)}
        self.collection.add_text({**TEXTS, **numbers})
        self.collection.add_media({"shapes": self.open("shapes.jpg")})
        before = [(str(k), p["modality"]) for k, _, p in self.collection.search("a red circle")[0]]
        self.use(self.other)
        self.assertEqual(self.state()["stale_items"], 0)
        message = self.refused("ModelMismatch", self.collection.search, "a red circle")
        self.assertIn("ListCollections", message)
        self.assertEqual(self.state()["state"], "rebuilding")
        self.refused("ModelMismatch", self.collection.search, "a red circle")
        self.eventually(lambda: self.state()["state"] == "ready", 60)
        state = self.state()
        self.assertEqual((state["items"], state["stale_items"]), (305, 1))
        self.assertEqual(state["model"], self.client.embed("x")[1]["digest"])
        after = [(str(k), p["modality"]) for k, _, p in self.collection.search("a red circle")[0]]
        self.assertEqual([key for key, kind in after if kind == "text"][:8],
                         [key for key, kind in before if kind == "text"][:8])
        self.assertNotIn("shapes", [key for key, _ in after])
        self.assertTrue(self.collection.get("shapes")["shapes"]["stale"])
        self.collection.add_media({"shapes": self.open("shapes.jpg")})
        self.assertEqual(self.state()["stale_items"], 0)
        hits, _ = self.collection.search_media(self.open("shapes.jpg"))
        self.assertEqual(str(hits[0][0]), "shapes")
        self.use(self.model)

    def test_rebuild_survives(self):
        """A kill in the middle: it goes on where it was."""
        self.collection.add_text({f"n{i}": f"{i} blue circles" for i in range(2000)})
        self.use(self.other)
        self.refused("ModelMismatch", self.collection.search, "x")
        self.eventually(lambda: self.state()["progress"] > 0.05, 60)
        self.service.kill()
        self.service.wait()
        self.service.stdout.close()
        self.start()
        state = self.state()
        self.assertEqual(state["state"], "rebuilding")
        self.assertGreater(state["progress"], 0)
        self.refused("ModelMismatch", self.collection.ask("x").wait)
        self.assertEqual(self.collection.add_text({"new": "meanwhile"}), {"new": 0})
        self.eventually(lambda: self.state()["state"] == "ready", 60)
        self.assertEqual(self.collection.found("meanwhile", limit=dbus.UInt32(1)), ["new"])
        self.assertEqual(self.state()["stale_items"], 0)
        self.use(self.model)

    def test_mismatch_is_told(self):
        self.collection.add_text(TEXTS)
        self.use(self.other)
        self.assertEqual(self.state()["state"], "ready", "no model is loaded to compare with")
        self.client.embed("x")
        self.assertEqual(self.state()["state"], "mismatch")
        self.collection.remove(*TEXTS)
        self.assertEqual(self.collection.add_text(TEXTS), {key: 0 for key in TEXTS}, "an empty one adopts")
        self.use(self.model)


if __name__ == "__main__":
    Paths.take()
    unittest.main(verbosity=2)
