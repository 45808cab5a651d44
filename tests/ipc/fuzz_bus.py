#!/usr/bin/python3
"""Random calls against the real daemon: every method that introspection shows, with arguments that
are right, at the edge, or of other types. It must stay the same process, answer each call with a
reply or a typed error, leak no descriptor and keep its memory.

usage: fuzz_bus.py PERCEPTD HELPER FIXTURES [MODEL]; FUZZ_SECONDS (default 10) or FUZZ_CALLS says
how long, FUZZ_SEED repeats a run. As root it first becomes an ordinary user, where that user can
read what the test needs.
"""

import os
import random
import socket
import subprocess
import time
import unittest
import xml.etree.ElementTree as ElementTree

import dbus
import dbus.lowlevel

from fixture import ERROR, INTROSPECTABLE, MANAGER, NAME, PATH, REQUEST, SESSION, STANDARD, SEALS
from fixture import Client, memfd, packed
from service import DaemonTest, Paths

SECONDS = float(os.environ.get("FUZZ_SECONDS", "10"))
CALLS = int(os.environ.get("FUZZ_CALLS", "0"))
SEED = int(os.environ.get("FUZZ_SEED", "0")) or int.from_bytes(os.urandom(4), "little")
NOBODY = 65534
GROWTH_MAX = 64 << 20

TYPED = {STANDARD + name for name in (
    "InvalidArgs", "UnknownMethod", "UnknownObject", "UnknownInterface", "UnknownProperty",
    "PropertyReadOnly", "AccessDenied", "LimitsExceeded", "NotSupported", "Timeout")}
OPTIONS = {
    "deadline_ms": "u", "detail": "s", "dimension": "u", "dtype": "s", "effort": "d", "filter": "a{ss}",
    "handle_token": "s", "inline": "a(ays)", "limit": "u", "max_tokens": "u", "metadata": "a{ss}",
    "min_score": "d", "modality": "as", "model": "s", "offset": "u", "region": "(uuuu)", "seed": "t",
    "system": "s", "temperature": "d", "text_bytes": "u", "top_p": "d", "truncate": "s", "x-mine": "as",
    "nonsense": "b",
}
WORDS = ("", " ", "a red circle", "low", "high", "f16", "f32", "head", "tail", "error", "image/png",
         "audio/wav", "text/plain", "\u00e4\U0001f34e", "\ufffe", "t_1", "State", "Limits", MANAGER,
         REQUEST, SESSION, PATH, "/", "%s%n", "x" * 300)
MAKERS = {"Ask": "request", "OpenSession": "session", "OpenCollection": "collection"}
NUMBERS = {
    "y": (0, 255), "n": (-(1 << 15), (1 << 15) - 1), "q": (0, (1 << 16) - 1),
    "i": (-(1 << 31), (1 << 31) - 1), "u": (0, (1 << 32) - 1),
    "x": (-(1 << 63), (1 << 63) - 1), "t": (0, (1 << 64) - 1),
}
BASIC = {
    "y": dbus.Byte, "n": dbus.Int16, "q": dbus.UInt16, "i": dbus.Int32, "u": dbus.UInt32,
    "x": dbus.Int64, "t": dbus.UInt64, "d": dbus.Double, "b": dbus.Boolean, "s": dbus.String,
    "o": dbus.ObjectPath, "g": dbus.Signature,
}


def become_nobody():
    """Only if the programs and the model can be used by anybody."""
    user = ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups"]
    script = '"$1" --version && test -x "$2" && test -r "$3" && test -r "$4/word.png"'
    if os.getuid() != 0 or subprocess.run(
            user + ["sh", "-c", script, "sh", Paths.perceptd, Paths.helper, Paths.model,
                    Paths.fixtures], stdout=subprocess.DEVNULL, check=False).returncode != 0:
        return
    os.setgroups([])
    os.setresgid(NOBODY, NOBODY, NOBODY)
    os.setresuid(NOBODY, NOBODY, NOBODY)


class Values:
    """Random values of a signature."""

    def __init__(self, rng, descriptors):
        self.rng, self.descriptors = rng, descriptors

    def text(self):
        if self.rng.random() < 0.004:
            return self.rng.choice(("y " * 40000, "\u00e4" * 33000))
        return self.rng.choice(WORDS)

    def number(self, code):
        low, high = NUMBERS[code]
        return self.rng.choice((low, high, 0, 1, 2, 3, 64, self.rng.randint(low, high)))

    def options(self):
        picked = self.rng.sample(sorted(OPTIONS), self.rng.choice((0, 0, 0, 1, 1, 2, 5)))
        return dbus.Dictionary({key: self.variant(
            OPTIONS[key] if self.rng.random() < 0.9 else None) for key in picked}, signature="sv")

    def variant(self, signature=None):
        value = self.value(signature or self.rng.choice(("s", "u", "d", "b", "as", "a{sv}", "(uuuu)",
                                                         "ay", "t", "o", "h")))
        if isinstance(value, dbus.types.UnixFd):
            return value
        return type(value)(value, variant_level=1, **(
            {"signature": value.signature} if hasattr(value, "signature") else {}))

    def value(self, signature):
        code = signature[0]
        if signature == "a{sv}":
            return self.options()
        if signature == "a{ss}":
            return dbus.Dictionary({self.text(): self.text() for _ in range(self.rng.randrange(3))},
                                   signature="ss")
        if code == "a":
            count = self.rng.choice((0, 1, 1, 2, 3, 9)) if self.rng.random() < 0.99 else 300
            if "h" in signature:
                count = min(count, 4)  # the bus drops who sends more than 16 in a message
            return dbus.Array([self.value(signature[1:]) for _ in range(count)],
                              signature=signature[1:])
        if code == "(":
            return dbus.Struct([self.value(part) for part in dbus.Signature(signature[1:-1])],
                               signature=signature[1:-1])
        if code in NUMBERS:
            return BASIC[code](self.number(code))
        if code == "d":
            return dbus.Double(self.rng.choice((0, 0.5, 1, -1, 1e308, float("nan"), float("inf"),
                                                -0.0, 5e-324)))
        if code == "b":
            return dbus.Boolean(self.rng.random() < 0.5)
        if code == "h":
            return dbus.types.UnixFd(self.rng.choice(self.descriptors))
        if code == "o":
            return dbus.ObjectPath(self.rng.choice(("/", PATH, PATH + "/requests/1_1/a")))
        if code == "g":
            return dbus.Signature(self.rng.choice(("", "s", "a{sv}")))
        return self.variant() if code == "v" else dbus.String(self.text())


class Fuzz(DaemonTest):
    @classmethod
    def command(cls, bus):
        config = os.path.join(bus.folder, "perceptd.conf")
        with open(config, "w", encoding="ascii") as file:
            file.write("[Answers]\nMaxTokens=4\n[Log]\nLevel=error\n")
        return super().command(bus)[:-1] + [f"--config={config}"]

    def make_descriptors(self):
        reader, writer = os.pipe()
        near, far = socket.socketpair()
        far.shutdown(socket.SHUT_WR)
        os.close(writer)
        self.addCleanup(far.close)
        descriptors = [self.open("word.png"), self.open("sound.ogg"), memfd(b"junk"),
                       memfd(packed(b"one", b"two"), SEALS), memfd(packed(b"x", count=9), SEALS),
                       os.open("/dev/null", os.O_RDWR), os.open("/", os.O_RDONLY | os.O_DIRECTORY),
                       os.open("/dev/zero", os.O_PATH), reader, near.detach()]
        for fd in descriptors[2:]:
            self.addCleanup(os.close, fd)
        return descriptors

    def methods_of(self, path):
        """[(interface, member, [signature of each argument])] by introspection."""
        root = ElementTree.fromstring(self.client.call("Introspect", "", path=path,
                                                       interface=INTROSPECTABLE))
        return [(interface.get("name"), method.get("name"),
                 [arg.get("type") for arg in method.findall("arg")
                  if arg.get("direction", "in") == "in"])
                for interface in root.findall("interface") for method in interface.findall("method")]

    def learn_methods(self):
        """By the kind of an object: of one of each kind that is there for this."""
        request, session = self.client.ask("Hello?"), self.client.open_session()
        methods = {"manager": self.methods_of(PATH), "request": self.methods_of(request.path),
                   "session": self.methods_of(session.path),
                "collection": self.methods_of(self.client.open_collection("fuzz").path)}
        request.release()
        session.close()
        return methods

    def pick_path(self, kind):
        if kind == "manager":
            return PATH
        known = self.paths[kind]
        if known and self.rng.random() < 0.9:
            return self.rng.choice(known[-4:])
        return (f"{PATH}/{kind}s/"
                f"{self.rng.choice(('1_1/t_1', '1_99999/x', 'u0/x', 'u1/_', 'x', ''))}").rstrip("/")

    def make_call(self):
        kind = self.rng.choice(("manager", "manager", "request", "session", "collection"))
        interface, member, signatures = self.rng.choice(self.methods[kind])
        chance = self.rng.random()
        if chance < 0.15:
            signatures = [self.rng.choice(("s", "u", "v", "h", "as", "a{sv}", "a(hs)", "(ii)", "d"))
                          for _ in range(self.rng.randrange(5))]
        elif chance < 0.18:
            member, interface = self.rng.choice((("Nothing", interface), (member, NAME + ".None")))
        message = dbus.lowlevel.MethodCallMessage(NAME, self.pick_path(kind), interface, member)
        for signature in signatures:
            message.append(self.values.value(signature), signature=signature)
        return member, message

    def remember(self, member, reply):
        args = reply.get_args_list()
        if member in MAKERS:
            self.paths[MAKERS[member]].append(str(args[0]))
        elif member in ("OpenStream", "EmbedBulk"):
            os.close(args[0].take())

    def one_call(self, client):
        member, message = self.make_call()
        self.counts[member] = self.counts.get(member, 0) + 1
        if self.rng.random() < 0.03:
            message.set_no_reply(True)
            client.connection.send_message(message)
            return
        try:
            reply = client.connection.send_message_with_reply_and_block(message, 30)
        except dbus.DBusException as error:
            name = error.get_dbus_name()
            self.assertTrue(name in TYPED or name.startswith(ERROR),
                            f"{member}: {name}: {error.get_dbus_message()} (seed {SEED})")
            self.refusals += 1
            return
        if message.get_signature() != "" or member != "Introspect":
            self.remember(member, reply)

    def burst(self, n):
        """Some calls of one connection, which then leaves with whatever is in flight."""
        client = Client(self.bus)
        self.paths = {"request": [], "session": [], "collection": [self.collection]}
        for _ in range(n):
            self.one_call(client)
        client.close()

    def resident(self):
        with open(f"/proc/{self.service.pid}/statm", encoding="ascii") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")

    def descriptors_open(self):
        return len(os.listdir(f"/proc/{self.service.pid}/fd"))

    def test_random_calls(self):
        print(f"seed {SEED}, uid {os.getuid()}", flush=True)
        self.rng = random.Random(SEED)
        self.values = Values(self.rng, self.make_descriptors())
        self.methods = self.learn_methods()
        self.counts, self.refusals = {}, 0
        self.embed_media("word.png", "sound.ogg")
        self.collection = self.client.open_collection("fuzz").path
        self.burst(300)
        self.counts, self.refusals = {}, 0
        self.embed_media("word.png", "sound.ogg")
        open_before, memory_before = self.descriptors_open(), self.resident()
        start, n = time.monotonic(), 0
        while n < CALLS if CALLS else time.monotonic() - start < SECONDS:
            self.burst(200)
            n += 200
            self.assertIsNone(self.service.poll(), f"the daemon died (seed {SEED})")
        seconds = time.monotonic() - start
        self.eventually(lambda: self.descriptors_open() <= open_before)
        grown = self.resident() - memory_before
        print(f"{n} calls in {seconds:.1f} s, {self.refusals} refused, grown by {grown >> 10} KiB, "
              f"{open_before} descriptors; {dict(sorted(self.counts.items()))}", flush=True)
        self.assertLess(grown, GROWTH_MAX)
        self.assertEqual(set(self.counts) - {"Nothing"},
                         {member for group in self.methods.values() for _, member, _ in group})


if __name__ == "__main__":
    Paths.take()
    become_nobody()
    unittest.main(verbosity=2)
