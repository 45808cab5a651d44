#!/usr/bin/python3
"""Calls, properties, introspection and errors, against the service without a model.

usage: test_calls.py FAKE RAW
"""

import fcntl
import os
import signal
import subprocess
import sys
import unittest
import xml.etree.ElementTree

import dbus
import dbus.bus
import dbus.lowlevel
from dbus.mainloop.glib import DBusGMainLoop
from gi.repository import GLib

from fixture import SEALS, memfd, packed
from fixture import ERROR, INTROSPECTABLE, MANAGER, NAME, PATH, PROPERTIES, ServiceTest

INFO = {"model": "s", "digest": "s", "backend": "s", "dimension": "u", "dtype": "s",
        "normalised": "b", "truncated": "ab", "tokens": "t", "effort": "d", "weight_bytes": "t",
        "kv_bytes": "t", "queued_ms": "d", "computed_ms": "d"}


class FakeTest(ServiceTest):
    @classmethod
    def command(cls, bus):
        return [FAKE, bus.address]


class Calls(FakeTest):
    def test_embed_text(self):
        vectors, info = self.client.embed("four", "sevenly")
        self.assertEqual([bytes(v) for v in vectors], [b"\4" * 1024, b"\7" * 1024])
        self.assertEqual(set(info), set(INFO))
        vectors, _ = self.client.embed("four", dimension=dbus.UInt32(64), dtype="f16")
        self.assertEqual(len(vectors[0]), 128)

    def test_embed_media(self):
        with open("/dev/null", "rb") as null:
            fd = dbus.types.UnixFd(null)
            items, info = self.client.call("EmbedMedia", "a(hs)a{sv}",
                                           [(fd, "image/png"), (fd, "")], {})
        self.assertEqual([(int(s), len(v)) for s, v in items], [(0, 1024), (38, 0)])
        self.assertEqual(set(info), set(INFO))

    def test_inline_media(self):
        items = dbus.Array([(dbus.ByteArray(b"abc"), "image/png")], signature="(ays)")
        found, _ = self.client.call("EmbedMedia", "a(hs)a{sv}", [], {"inline": items})
        self.assertEqual(len(found), 1)
        request = self.client.ask("read", inline=items)
        self.assertEqual(request.text(), "3 bytes")

    def test_classify(self):
        with open("/dev/null", "rb") as null:
            scores, info = self.client.call("Classify", "hsasa{sv}", dbus.types.UnixFd(null), "",
                                            ["a", "b"], {})
        self.assertEqual([(str(s), float(d)) for s, d in scores], [("b", 1), ("a", 0.5)])
        self.assertEqual(info["metric"], "cosine")

    def bulk(self, data, seals=SEALS):
        fd = memfd(data, seals)
        self.addCleanup(os.close, fd)
        vectors, info = self.client.bulk(fd)
        with open(vectors, "rb") as file:
            file.seek(0)
            return file.read(), fcntl.fcntl(file, 1034), info  # F_GET_SEALS

    def test_embed_bulk(self):
        data, seals, info = self.bulk(packed(b"four", "sevenly".encode(), "ä".encode()))
        self.assertEqual(data, b"\4\7\2")
        self.assertEqual(seals & SEALS, SEALS)
        self.assertEqual(set(info), set(INFO))
        self.assertEqual(self.bulk(packed(b"a"), 0x2 | 0x8)[0], b"\1", "shrink and write will do")
        self.assertEqual(self.bulk(packed(*[b"x"] * 65536))[0], b"\1" * 65536)

    def test_bulk_refused(self):
        for seals in 0, 0x2, 0x8, 0x1 | 0x4:
            self.refused("NotSealed", self.bulk, packed(b"a"), seals)
        with open(__file__, "rb") as file:
            self.refused("NotSealed", self.client.bulk, file.fileno())
        whole = packed(b"one", b"two")
        for data in (b"", b"percept1", whole[:-1], whole + b"x", whole + b"\0", packed(),
                     packed(b"a", magic=b"percept2"), packed(b"a", zero=1), packed(b"a", count=2),
                     packed(b"a", b"b", count=1), packed(b"a", b" "), packed(b"a", b"\xff"),
                     packed(b"\xc3")):
            self.refused("InvalidArgs", self.bulk, data)
        self.refused("TooLarge", self.bulk, packed(b"a", count=65537))
        self.refused("TooLarge", self.bulk, packed(b"a", count=0xffffffff))
        self.refused("TooLarge", self.bulk, packed(b"a" * 65537))
        self.refused("TooLarge", self.bulk, packed(b"a") + bytes(16 << 20))
        fd = memfd(packed(b"a"), SEALS)
        self.refused("InvalidArgs", self.client.bulk, fd, effort=0.5)
        os.close(fd)

    def test_too_large_a_reply_names_the_way_out(self):
        message = self.refused("TooLarge", self.client.embed, *["x"] * 1025)
        self.assertIn("EmbedBulk", message)

    def test_wrong_signature_of_every_method(self):
        request = self.client.ask("hang")
        session = self.client.open_session()
        for path in PATH, request.path, session.path:
            for interface, members in self.members(path).items():
                for member in members:
                    with self.subTest(interface=interface, member=member):
                        text = self.refused("InvalidArgs", self.client.call, member, "it", 1, 2,
                                            path=path, interface=interface)
                        self.assertIn(member, text)
        request.release()

    def members(self, path):
        """{interface: methods} from introspection, Peer left out as libdbus serves it."""
        tree = xml.etree.ElementTree.fromstring(
            str(self.client.call("Introspect", "", path=path, interface=INTROSPECTABLE)))
        return {i.get("name"): [m.get("name") for m in i.findall("method")]
                for i in tree.findall("interface") if not i.get("name").endswith(".Peer")}

    def test_unknown_things(self):
        call = self.client.call
        self.refused("UnknownMethod", call, "Embed", "")
        self.refused("UnknownInterface", call, "EmbedText", "", interface=NAME + ".Nothing")
        self.refused("UnknownObject", call, "EmbedText", "", path=PATH + "/nothing")
        self.refused("UnknownObject", call, "Introspect", "", path=PATH + "/requests",
                     interface=INTROSPECTABLE)
        # Outside of our path libdbus answers.
        self.refused("UnknownMethod", call, "EmbedText", "", path="/")

    def test_members_without_interface(self):
        message = dbus.lowlevel.MethodCallMessage(NAME, PATH, None, "EmbedText")
        message.append(["a"], {}, signature="asa{sv}")
        reply = self.client.connection.send_message_with_reply_and_block(message, 10)
        self.assertEqual(reply.get_signature(), "aaya{sv}")

    def test_no_reply_wanted(self):
        for signature, body in ("asa{sv}", (["a"], {})), ("s", ("wrong",)):
            message = dbus.lowlevel.MethodCallMessage(NAME, PATH, MANAGER, "EmbedText")
            message.append(*body, signature=signature)
            message.set_no_reply(True)
            self.client.connection.send_message(message)
        self.client.connection.flush()

    def test_properties(self):
        every = self.client.call("GetAll", "s", MANAGER, interface=PROPERTIES)
        self.assertEqual(set(every), {"Version", "ApiRevision", "Modalities", "Limits", "State",
                                      "Backend", "DegradedReason", "QueueDepth"})
        self.assertEqual(self.client.property("Modalities"), ["text", "image", "audio"])
        limits = self.client.property("Limits")
        self.assertEqual(limits["calls_per_connection"], 16)
        self.assertEqual(limits["request_keep_seconds"], 600)
        self.assertEqual(self.client.property("State", interface=""), "ready")
        self.refused("UnknownProperty", self.client.property, "Colour")
        self.refused("UnknownInterface", self.client.property, "State", interface=NAME + ".X")
        put = self.client.call
        self.refused("PropertyReadOnly", put, "Set", "ssv", MANAGER, "State", "x",
                     interface=PROPERTIES)
        self.refused("UnknownProperty", put, "Set", "ssv", MANAGER, "Colour", "x",
                     interface=PROPERTIES)

    def test_status_is_told(self):
        listener = dbus.bus.BusConnection(self.bus.address, mainloop=DBusGMainLoop())
        self.addCleanup(listener.close)
        told = []
        listener.add_signal_receiver(lambda *args: told.append(args), "PropertiesChanged",
                                     PROPERTIES, NAME, PATH)
        listener.call_blocking(NAME, PATH, PROPERTIES, "GetAll", "s", [MANAGER])
        self.service.send_signal(signal.SIGHUP)
        while not told:
            GLib.MainContext.default().iteration(True)
        interface, changed, invalidated = told[0]
        self.assertEqual(interface, MANAGER)
        self.assertEqual(set(changed), {"State", "Backend", "DegradedReason"})
        self.assertEqual(list(invalidated), [])


class Options(FakeTest):
    def test_unknown(self):
        self.refused("InvalidArgs", self.client.embed, "a", colour="red")
        self.refused("InvalidArgs", self.client.embed, "a", effort=0.5)
        self.client.embed("a", **{"x-colour": "red"})
        self.client.embed("a", **{"x-list": dbus.Array([("red", 1.5)] * 10, signature="(sd)")})
        self.refused("TooLarge", self.client.embed, "a", **{"x-colour": "red" * 30000})
        self.refused("TooLarge", self.client.embed, "a",
                     **{"x-numbers": dbus.Array(range(20000), signature="u")})
        request = self.client.ask("hang")
        for call in (lambda options: request.call("OpenStream", "a{sv}", options),
                     lambda options: self.client.call("OpenSession", "a{sv}", options)):
            self.refused("InvalidArgs", call, {"colour": "red"})
            self.refused("InvalidArgs", call, {f"x-{n}": "red" for n in range(33)})
            self.refused("TooLarge", call, {"x-colour": "red" * 30000})
            self.refused("TooLarge", call, {f"x-{n}": "red" * 1000 for n in range(30)})
            call({"x-colour": "red"})
        request.release()

    def test_given_twice(self):
        # Python has no dictionary with a key twice; busctl writes what it is told.
        result = subprocess.run(
            ["busctl", f"--address={self.bus.address}", "call", NAME, PATH, MANAGER, "EmbedText",
             "asa{sv}", "1", "a", "2", "dtype", "s", "f32", "dtype", "s", "f16"],
            capture_output=True, text=True, check=False)
        self.assertIn("dtype is given twice", result.stderr)

    def test_types_and_ranges(self):
        u32 = dbus.UInt32
        for options in ({"dtype": u32(1)}, {"dtype": "f64"}, {"dimension": u32(100)},
                        {"dimension": "64"}, {"truncate": "no"}, {"deadline_ms": u32(0)},
                        {"deadline_ms": u32(10**9)}):
            with self.subTest(options=options):
                self.refused("InvalidArgs", self.client.embed, "a", **options)
        region = dbus.Struct([u32(0)] * 4, signature="uuuu")
        for options in ({"effort": 2.0}, {"effort": float("nan")}, {"max_tokens": u32(0)},
                        {"temperature": -1.0}, {"top_p": 0.0}, {"detail": "x"},
                        {"handle_token": "a/b"}, {"handle_token": ""}, {"handle_token": "a" * 65},
                        {"region": region}, {"seed": 1.0}):
            with self.subTest(options=options):
                self.refused("InvalidArgs", self.client.ask, "hang", **options)

    def test_good_ones(self):
        request = self.client.ask(
            "say ok", effort=-0.5, max_tokens=dbus.UInt32(9), temperature=0.7, top_p=0.9,
            seed=dbus.UInt64(1), system="be brief", detail="high", handle_token="good_1",
            deadline_ms=dbus.UInt32(60000),
            region=dbus.Struct([dbus.UInt32(n) for n in (0, 0, 8, 8)], signature="uuuu"))
        self.assertEqual(request.text(), "ok")
        sender = self.client.name[1:].replace(".", "_")
        self.assertEqual(request.path, f"{PATH}/requests/{sender}/good_1")


class Sizes(FakeTest):
    def test_texts(self):
        self.refused("InvalidArgs", self.client.embed)
        self.refused("InvalidArgs", self.client.embed, "a", " \n")
        self.refused("TooLarge", self.client.embed, "a" * 65537)
        self.refused("TooLarge", self.client.embed, *["a" * 65536] * 65)
        self.refused("TooLarge", self.client.embed, *["a"] * 4097)

    def test_reply_size_is_known_before(self):
        self.assertEqual(len(self.client.embed(*["a"] * 1024)[0]), 1024)
        self.assertIn("split the call", self.refused("TooLarge", self.client.embed, *["a"] * 1025))
        half = {"dimension": dbus.UInt32(64), "dtype": "f16"}
        self.assertEqual(len(self.client.embed(*["a"] * 4096, **half)[0]), 4096)

    def test_questions(self):
        self.refused("InvalidArgs", self.client.ask, "")
        self.refused("InvalidArgs", self.client.ask, " \t")
        self.refused("TooLarge", self.client.ask, "a" * (10 << 20))
        self.refused("TooLarge", self.client.ask, "hang", system="a" * (1 << 20))

    def test_media(self):
        with open("/dev/null", "rb") as null:
            media = [(null.fileno(), "")] * 9
            self.refused("TooLarge", self.client.ask, "hang", media)
            self.refused("UnsupportedMedia", self.client.ask, "hang",
                         [(null.fileno(), "text/plain")])
            self.refused("TooLarge", self.client.ask, "hang",
                         [(null.fileno(), "image/" + "x" * 1000)])
        items = dbus.Array([(dbus.ByteArray(b"x" * (1 << 20)), "")] * 2, signature="(ays)")
        self.refused("TooLarge", self.client.ask, "hang", inline=items)
        self.refused("InvalidArgs", self.client.call, "EmbedMedia", "a(hs)a{sv}", [], {})


class OtherClients(FakeTest):
    """sd-bus and GLib."""

    def busctl(self, *args):
        return subprocess.run(["busctl", f"--address={self.bus.address}", *args],
                              capture_output=True, text=True, check=False)

    def gdbus(self, *args, **kwargs):
        return subprocess.run(["gdbus", *args[:1], "--address", self.bus.address, "--dest", NAME,
                               *args[1:]], capture_output=True, text=True, check=False, **kwargs)

    def test_busctl(self):
        found = self.busctl("call", NAME, PATH, MANAGER, "EmbedText", "asa{sv}", "1", "ab", "1",
                            "dimension", "u", "64")
        self.assertTrue(found.stdout.startswith("aaya{sv} 1 256 2 2 2"), found)
        found = self.busctl("introspect", NAME, PATH).stdout
        for word in ".EmbedText", ".QueueDepth", "a(hs)a{sv}":
            self.assertIn(word, found)
        self.assertIn(PATH, self.busctl("tree", NAME).stdout)
        found = self.busctl("call", NAME, PATH, MANAGER, "Ask", "sa(hs)a{sv}", "refuse", "0", "0")
        self.assertIn("No model is installed", found.stderr)

    def test_gdbus(self):
        found = self.gdbus("call", "--object-path", PATH, "--method", MANAGER + ".Classify", "0",
                           "image/png", "['a', 'b']", "{}", stdin=subprocess.DEVNULL)
        self.assertIn("('b', 1.0)", found.stdout, found.stderr)
        self.assertIn("interface " + MANAGER,
                      self.gdbus("introspect", "--object-path", PATH).stdout)

    def test_missing_descriptor(self):
        found = subprocess.run([RAW, self.bus.address], capture_output=True, text=True, check=False)
        self.assertEqual(found.stdout.strip(), ERROR + "BadDescriptor", found.stderr)

    def test_ping(self):
        self.assertEqual(self.busctl("call", NAME, PATH, "org.freedesktop.DBus.Peer",
                                     "Ping").returncode, 0)


if __name__ == "__main__":
    FAKE, RAW = sys.argv[1:3]
    del sys.argv[1:3]
    unittest.main(verbosity=2)
