#!/usr/bin/python3
"""Every allocation of the service fails once: it says so with an error of its own, and serves the next call.

usage: test_allocation.py LIBRARY PERCEPTD HELPER FIXTURES [MODEL]; LIBRARY: fail-allocation.so. For each method of every
object the allocations of one call are counted; then the call is made with some of them failing, one at a time:
the first ten and FAIL_SAMPLE more (default 8; 0: all), drawn with FAIL_SEED.
"""

import mmap
import os
import random
import signal
import struct
import subprocess
import sys
import time
import unittest
import xml.etree.ElementTree

import dbus

import fixture
from fixture import (COLLECTION, ERROR, INTROSPECTABLE, MANAGER, PATH, PROPERTIES, REQUEST, SEALS, SESSION, STANDARD,
                     Client, memfd, packed)
from service import DaemonTest, Paths

SAMPLE = int(os.environ.get("FAIL_SAMPLE", "8"))
SEED = int(os.environ.get("FAIL_SEED", "0")) or int.from_bytes(os.urandom(4), "little")
COUNTING = 1 << 40
SECONDS = 3  # for a reply to one call
START_SECONDS = 20
FIRST = 10  # always taken: what finds the object that a call is about
# What a call may end with when an allocation failed: that memory is short, or what it ends with anyhow. A thread that
# gets no memory cannot be told from one too many, and a model that gets none is not there.
USUAL = {"LoadModel": {"ModelUnavailable"}, "UnloadModel": {"ModelUnavailable"}, "Set": {"PropertyReadOnly"},
         "EmbedText, which loads": {"ModelUnavailable"}, "Classify": {"Busy"}, "Ask": {"Busy"},
         "Collection's SearchMedia": {"Busy"}}


class Allocations:
    """The page that the library looks at."""

    def __init__(self, folder):
        self.path = os.path.join(folder, "allocations")
        with open(self.path, "w+b") as file:
            file.write(bytes(16))
            file.flush()
            self.map = mmap.mmap(file.fileno(), 16)

    def arm(self, n):
        self.map[:] = struct.pack("<qq", n, 0)

    def disarm(self):
        """What was left, and how many have failed."""
        left, failed = struct.unpack("<qq", self.map[:])
        self.map[:8] = bytes(8)
        return left, failed


class AllocationTest(DaemonTest):
    @classmethod
    def setUpClass(cls):
        cls.bus = fixture.Bus()
        cls.allocations = Allocations(cls.bus.folder)
        cls.start()

    @classmethod
    def command(cls, bus):
        return ["env", f"LD_PRELOAD={LIBRARY}", f"FAIL_ALLOCATION={cls.allocations.path}", *super().command(bus)]

    def picture(self):
        return dbus.types.UnixFd(self.files["emoji.webp"])


class EveryMethod(AllocationTest):
    configuration = "[Model]\nCache=no\n"  # what it knows takes no allocations

    def setUp(self):
        super().setUp()
        self.files = {name: super(EveryMethod, self).open(name) for name in ("emoji.webp", "shapes.jpg")}
        self.texts = memfd(packed(b"one", b"two"), SEALS)
        self.addCleanup(os.close, self.texts)
        self.rng = random.Random(SEED)
        info = self.client.embed("load it")[1]
        self.model, self.digest = info["model"], info["digest"]
        self.request = self.session = self.collection = None
        self.vector = bytes(self.client.embed("a vector")[0][0])
        self.packed = memfd(struct.pack("<8sII", b"perceptv", 1, 0) + self.vector + b"v\0\0", SEALS)
        self.addCleanup(os.close, self.packed)

    def manager(self, member, signature="", *args, interface=MANAGER):
        return lambda client: client.call(member, signature, *args, interface=interface, timeout=SECONDS)

    def with_request(self, member, signature="", *args, interface=REQUEST):
        """Of an answer that is under way; asking for it is not what fails."""
        def prepare(client):
            self.request = client.ask("Tell me all.", max_tokens=dbus.UInt32(30))

        def call(client):
            reply = client.call(member, signature, *args, path=self.request.path, interface=interface, timeout=SECONDS)
            if member == "OpenStream":
                fixture.Stream(reply.take()).close()
        return prepare, call

    def with_session(self, member, signature="", *args, interface=SESSION):
        def prepare(client):
            self.session = client.open_session()
        return prepare, lambda client: client.call(member, signature, *args, path=self.session.path,
                                                   interface=interface, timeout=SECONDS)

    def with_collection(self, member, signature="", *args, interface=COLLECTION):
        """args may be a function, for descriptors that a call takes with it."""
        def prepare(client):
            self.collection = client.open_collection()
            self.collection.add_text({"one": "a red circle", "two": "rain"})

        def call(client):
            client.call(member, signature, *(args[0]() if args and callable(args[0]) else args),
                        path=self.collection.path, interface=interface, timeout=SECONDS)
        return prepare, call

    def answered(self, client):
        request = client.ask("What is it?", [(self.files["shapes.jpg"], "")], max_tokens=dbus.UInt32(3),
                             timeout=SECONDS)
        stream = request.stream()
        stream.frames()
        request.wait(SECONDS)
        request.release()

    def first_load(self, client):
        client.call("UnloadModel", "s", self.model)
        self.eventually(lambda: client.property("State") == "unloaded")

    def bulk(self, client):
        vectors, _ = client.call("EmbedBulk", "ha{sv}", dbus.types.UnixFd(self.texts), {}, timeout=SECONDS)
        os.close(vectors.take())

    def calls(self):
        """What to call, by method; each with what is done before it."""
        tokens = {"max_tokens": dbus.UInt32(2)}
        plain = {
            "EmbedText": self.manager("EmbedText", "asa{sv}", ["a red circle", "rain"], {"dtype": "f16"}),
            "EmbedMedia": lambda client: client.call("EmbedMedia", "a(hs)a{sv}", [(self.picture(), "")], {},
                                                     timeout=SECONDS),
            "EmbedBulk": self.bulk,
            "Classify": lambda client: client.call("Classify", "hsasa{sv}", self.picture(), "", ["a", "b"], {},
                                                   timeout=SECONDS),
            "Ask": self.answered,
            "OpenSession": self.manager("OpenSession", "a{sv}", {}),
            "LoadModel": self.manager("LoadModel", "sa{sv}", "none", {}),
            "UnloadModel": self.manager("UnloadModel", "s", "none"),
            "Reload": self.manager("Reload"),
            "OpenCollection": self.manager("OpenCollection", "sa{sv}", "new", {}),
            "ListCollections": self.manager("ListCollections"),
            "Get": self.manager("Get", "ss", MANAGER, "Limits", interface=PROPERTIES),
            "GetAll": self.manager("GetAll", "s", MANAGER, interface=PROPERTIES),
            "Set": self.manager("Set", "ssv", MANAGER, "State", "x", interface=PROPERTIES),
            "Introspect": self.manager("Introspect", interface=INTROSPECTABLE),
            "GetManagedObjects": self.manager("GetManagedObjects", interface="org.freedesktop.DBus.ObjectManager"),
            "Ping": self.manager("Ping", interface="org.freedesktop.DBus.Peer"),
            "GetMachineId": self.manager("GetMachineId", interface="org.freedesktop.DBus.Peer"),
        }
        calls = {name: (lambda client: None, call) for name, call in plain.items()}
        calls["EmbedText, which loads"] = self.first_load, plain["EmbedText"]
        for member, signature, args in (("Wait", "", ()), ("OpenStream", "a{sv}", ({},)), ("Cancel", "", ()),
                                        ("Release", "", ())):
            calls[member] = self.with_request(member, signature, *args)
        calls["Request's Get"] = self.with_request("Get", "ss", REQUEST, "Stage", interface=PROPERTIES)
        calls["Session's Ask"] = self.with_session("Ask", "sa(hs)a{sv}", "What?", [], tokens)
        items = dbus.Array([("three", "a bird", {})], signature="(ssa{sv})")
        calls |= {f"Collection's {call[0]}": self.with_collection(*call) for call in (
            ("AddText", "a(ssa{sv})", items), ("Remove", "as", ["two"]), ("Get", "as", ["one"]), ("Sync",),
            ("List", "su", "", dbus.UInt32(5)),
            ("AddMedia", "a(shsa{sv})", lambda: ([("four", self.picture(), "", {})],)),
            ("AddVectors", "ha{sv}", lambda: (dbus.types.UnixFd(self.packed), {
                "model": self.digest, "modality": "text"})),
            ("Search", "sa{sv}", "a circle", {"text_bytes": dbus.UInt32(9)}),
            ("SearchMedia", "hsa{sv}", lambda: (self.picture(), "", {})),
            ("SearchVector", "aya{sv}", dbus.ByteArray(self.vector), {}),
            ("Ask", "sa(hs)a{sv}", "What is red?", [], tokens))}
        calls["DeleteCollection"] = (lambda client: client.open_collection("gone"),
                                     self.manager("DeleteCollection", "s", "gone"))
        calls["Close"] = self.with_session("Close")
        return calls

    def test_all_are_here(self):
        known = {name.split()[-1] for name in self.calls()}
        session, collection = self.client.open_session(), self.client.open_collection()
        request = self.client.ask("What?", max_tokens=dbus.UInt32(1))
        for path in PATH, session.path, request.path, collection.path:
            root = xml.etree.ElementTree.fromstring(
                self.client.call("Introspect", "", path=path, interface=INTROSPECTABLE))
            self.assertLessEqual({method.get("name") for method in root.iter("method")}, known)
        session.close()
        request.release()

    def attempt(self, name, n):
        """One call with the n-th allocation failing; returns (what was left of n, whether it failed, the error)."""
        prepare, call = self.calls()[name]
        client = Client(self.bus)
        error = None
        try:
            prepare(client)
            self.allocations.arm(n)
            call(client)
        except dbus.DBusException as caught:
            error = caught.get_dbus_name()
        finally:
            left, failed = self.allocations.disarm()
            client.close()
        return left, failed, error

    def check_served(self, what):
        self.assertIsNone(self.service.poll(), f"{what}: the service died")
        vectors, _ = self.client.call("EmbedText", "asa{sv}", ["the next call"], {}, timeout=START_SECONDS)
        self.assertEqual(len(vectors), 1, what)
        self.eventually(lambda: self.client.property("QueueDepth") == 0)

    def fail_each(self, name):
        total = COUNTING - max(self.attempt(name, COUNTING)[0] for _ in range(2))
        self.assertGreater(total, 0, "the library is not there")
        self.check_served(name)
        numbers = range(1, total + 1)
        if SAMPLE and SAMPLE < total:
            numbers = sorted({*numbers[:FIRST], *self.rng.sample(numbers, SAMPLE)})
        errors = {}
        for n in numbers:
            _, failed, error = self.attempt(name, n)
            if failed and error:
                errors.setdefault(error.rpartition(".")[2], []).append(n)
            self.assertTrue(error is None or error.startswith((ERROR, STANDARD)), error)
            self.check_served(f"{name}, allocation {n} (seed {SEED})")
        told = {error: len(found) for error, found in errors.items()}
        print(f"{name}: {total} allocations, {len(numbers)} failed: {told or 'no error'}", flush=True)
        return {error: found for error, found in errors.items() if error not in {"NoMemory"} | USUAL.get(name, set())}

    def test_methods(self):
        """Errors that say something else, or no answer, are told with the allocations that they came of."""
        print(f"seed {SEED}", flush=True)
        wrong = {name: found for name in self.calls() if (found := self.fail_each(name))}
        self.assertEqual(wrong, {})


class Start(AllocationTest):
    """The start with an allocation failing: it serves, or ends with a status, but by no signal."""

    @classmethod
    def start(cls):
        cls.service = None

    @classmethod
    def tearDownClass(cls):
        cls.bus.close()

    def setUp(self):
        pass

    def start_with(self, n):
        """What was left of n, and the status if it ended by itself."""
        self.allocations.arm(n)
        service = subprocess.Popen(self.command(self.bus), stderr=subprocess.PIPE, text=True)
        end = time.monotonic() + START_SECONDS
        while service.poll() is None and not self.is_served():
            self.assertLess(time.monotonic(), end, f"neither served nor ended, allocation {n}")
            time.sleep(0.002)
        left, _ = self.allocations.disarm()
        if service.poll() is None:
            service.send_signal(signal.SIGTERM)
        _, text = service.communicate(timeout=START_SECONDS)
        # The C library ends a process that gets no memory for a thread's own variables.
        ended = (0, 1, 127) if "thread-local data" in text else (0, 1)
        self.assertIn(service.returncode, ended, f"allocation {n} (seed {SEED}): {text}")
        return left, service.returncode

    def is_served(self):
        client = self.bus.connect()
        owned = client.name_has_owner(fixture.NAME)
        client.close()
        return owned

    def test_start(self):
        total = COUNTING - self.start_with(COUNTING)[0]
        self.assertGreater(total, 0, "the library is not there")
        numbers = range(1, total + 1)
        if SAMPLE and SAMPLE * 4 < total:
            numbers = sorted(random.Random(SEED).sample(numbers, SAMPLE * 4))
        ended = sum(self.start_with(n)[1] != 0 for n in numbers)
        print(f"start: {total} allocations, {len(numbers)} failed: {ended} times it did not start (seed {SEED})")


if __name__ == "__main__":
    LIBRARY = os.path.abspath(sys.argv.pop(1))
    Paths.take()
    unittest.main(verbosity=2)
