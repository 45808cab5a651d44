#!/usr/bin/python3
"""One table of calls and what comes of them, for every client that people use, on dbus-daemon and on dbus-broker.

usage: test_clients.py PERCEPTD HELPER FIXTURES [MODEL]
"""

import os
import shutil
import sys
import tempfile
import unittest
import xml.etree.ElementTree

try:
    import dbus_next  # noqa: F401, for clients
    import jeepney  # noqa: F401
except ImportError as error:
    print(f"skipped: {error}")
    sys.exit(77)

import clients
from buses import Broker
from clients import Refused, Value
from fixture import ERROR, INTROSPECTABLE, MANAGER, NAME, PATH, PROPERTIES, STANDARD, Bus
from service import DaemonTest, Paths, fixture

PEER = "org.freedesktop.DBus.Peer"
PICTURE = object()  # stands for a descriptor of one


def content(name):
    with open(fixture(name), "rb") as file:
        return file.read()


def is_vector(size):
    return lambda values: len(values) == 2 and [len(v) for v in values[0]] == [size] and values[1]["normalised"]


def says(text):
    """Programs that print words only print the same word."""
    return lambda values: [str(value) for value in values] == [text]


def describes_itself(values):
    interfaces = {i.get("name") for i in xml.etree.ElementTree.fromstring(values[0]).findall("interface")}
    return {MANAGER, PROPERTIES, INTROSPECTABLE, PEER} <= interfaces


def named_properties(values):
    return {"Version", "State", "Backend", "QueueDepth", "Limits"} <= set(values[0])


def request_of(token):
    return lambda values: values[0].startswith(PATH + "/requests/") and values[0].endswith("/" + token)


NOTHING = [].__eq__
PUBLISHED = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "families", "olmoe.gguf")
ONE = {"max_tokens": Value("u", 1), "handle_token": Value("s", "matrix")}

# What is called, with what, and what must come of it: a check of the values, or the error's name.
CALLS = {
    "a property": (PATH, PROPERTIES, "Get", "ss", [MANAGER, "State"], says("ready")),
    "a number": (PATH, PROPERTIES, "Get", "ss", [MANAGER, "ApiRevision"], says("1")),
    "all properties": (PATH, PROPERTIES, "GetAll", "s", [MANAGER], named_properties),
    "its description": (PATH, INTROSPECTABLE, "Introspect", "", [], describes_itself),
    "Ping": (PATH, PEER, "Ping", "", [], NOTHING),
    "EmbedText": (PATH, MANAGER, "EmbedText", "asa{sv}", [["a red circle"], {}], is_vector(1024)),
    "characters": (PATH, MANAGER, "EmbedText", "asa{sv}", [["Grüße, 世界 \U0001f30d"], {}], is_vector(1024)),
    "options": (PATH, MANAGER, "EmbedText", "asa{sv}",
                [["a"], {"dtype": Value("s", "f16"), "dimension": Value("u", 64)}], is_vector(128)),
    "no text": (PATH, MANAGER, "EmbedText", "asa{sv}", [[], {}], STANDARD + "InvalidArgs"),
    "unknown option": (PATH, MANAGER, "EmbedText", "asa{sv}", [["a"], {"colour": Value("s", "red")}],
                       STANDARD + "InvalidArgs"),
    "mistyped option": (PATH, MANAGER, "EmbedText", "asa{sv}", [["a"], {"dimension": Value("s", "64")}],
                        STANDARD + "InvalidArgs"),
    "a picture": (PATH, MANAGER, "EmbedMedia", "a(hs)a{sv}", [[(PICTURE, "image/webp")], {}],
                  lambda values: [(item[0], len(item[1])) for item in values[0]] == [(0, 1024)]),
    "a picture alone": (PATH, MANAGER, "Classify", "hsasa{sv}", [PICTURE, "image/webp", ["a boot", "ice cream"], {}],
                        lambda values: sorted(label for label, _ in values[0]) == ["a boot", "ice cream"]),
    "a picture's bytes": (PATH, MANAGER, "EmbedMedia", "a(hs)a{sv}",
                         [[], {"inline": Value("a(ays)", [(PICTURE, "image/webp")])}],
                         lambda values: [(item[0], len(item[1])) for item in values[0]] == [(0, 1024)]),
    "not a picture": (PATH, MANAGER, "EmbedMedia", "a(hs)a{sv}",
                      [[], {"inline": Value("a(ays)", [(b"not a picture", "")])}],
                      lambda values: [item[0] for item in values[0]] == [37]),
    "Ask": (PATH, MANAGER, "Ask", "sa(hs)a{sv}", ["What?", [], ONE], request_of("matrix")),
    "no question": (PATH, MANAGER, "Ask", "sa(hs)a{sv}", [" ", [], {}], STANDARD + "InvalidArgs"),
    "OpenSession": (PATH, MANAGER, "OpenSession", "a{sv}", [{}],
                    lambda values: values[0].startswith(PATH + "/sessions/")),
    "LoadModel": (PATH, MANAGER, "LoadModel", "sa{sv}", ["olmoe", {"beside": Value("b", True)}], NOTHING),
    "a published model": (PATH + "/models/olmoe", PROPERTIES, "Get", "ss", [NAME + ".Model", "Family"], says("olmoe")),
    "asked": (PATH, MANAGER, "Ask", "sa(hs)a{sv}",
              ["What?", [], {"model": Value("s", "olmoe"), "handle_token": Value("s", "published")}], request_of("published")),
    "no vectors": (PATH, MANAGER, "EmbedText", "asa{sv}", [["a"], {"model": Value("s", "olmoe")}],
                   STANDARD + "NotSupported"),
    "a model that is not loaded": (PATH, MANAGER, "UnloadModel", "s", ["none"], ERROR + "ModelUnavailable"),
    "unknown property": (PATH, PROPERTIES, "Get", "ss", [MANAGER, "Nothing"], STANDARD + "UnknownProperty"),
    "fixed property": (PATH, PROPERTIES, "Set", "ssv", [MANAGER, "State", Value("s", "x")],
                       STANDARD + "PropertyReadOnly"),
    "unknown method": (PATH, MANAGER, "Nothing", "", [], STANDARD + "UnknownMethod"),
    "unknown object": (PATH + "/nothing", PROPERTIES, "Get", "ss", [MANAGER, "State"], STANDARD + "UnknownObject"),
    "no such request": (PATH + "/requests/1_1/x", PROPERTIES, "GetAll", "s", [MANAGER], STANDARD + "AccessDenied"),
    "wrong arguments": (PATH, MANAGER, "UnloadModel", "ss", ["a", "b"], STANDARD + "InvalidArgs"),
}


# Of these the introspection data say that they are wrong.
ILL_FORMED = ("unknown object", "no such request", "wrong arguments")


def descriptor_of(arguments):
    if PICTURE in arguments:
        return "alone"
    return "inside" if [(PICTURE, "image/webp")] in arguments else None


class Table:
    """The service finds a published model in the user's folder."""

    @classmethod
    def command(cls, bus):
        cls.folder = tempfile.mkdtemp(prefix="perceptd-clients-")
        os.makedirs(os.path.join(cls.folder, "perceptd", "models"))
        shutil.copy(PUBLISHED, os.path.join(cls.folder, "perceptd", "models"))
        return ["env", f"XDG_DATA_HOME={cls.folder}"] + super().command(bus)

    @classmethod
    def tearDownClass(cls):
        super().tearDownClass()
        shutil.rmtree(cls.folder)

    def setUp(self):
        super().setUp()
        self.client.embed("so that it is ready")
        self.client.call("LoadModel", "sa{sv}", "olmoe", {"beside": True})

    def arguments(self, arguments):
        """With a descriptor, or the bytes, in place of the picture."""
        if isinstance(arguments, Value):
            return Value(arguments.signature, [(content("emoji.webp") if data is PICTURE else data, hint)
                                               for data, hint in arguments.value]
                         if arguments.signature == "a(ays)" else arguments.value)
        if isinstance(arguments, dict):
            return {key: self.arguments(value) for key, value in arguments.items()}
        if isinstance(arguments, (list, tuple)):
            return type(arguments)(self.arguments(value) for value in arguments)
        return self.open("emoji.webp") if arguments is PICTURE else arguments

    def outcome(self, client, name):
        """Empty if it is as the table says."""
        path, interface, member, signature, arguments, expected = CALLS[name]
        try:
            values = client.call(path, interface, member, signature, self.arguments(arguments))
        except Refused as refused:
            return "" if str(refused) == expected else f"refused {refused}"
        return "" if callable(expected) and expected(values) else f"answered {str(values)[:200]}"

    def test_table(self):
        failures, lines = [], []
        for kind in clients.ALL:
            if kind.program and not shutil.which(kind.name):
                lines.append(f"{kind.name:12} is not installed")
                continue
            client = kind(self.bus)
            told = {name: self.outcome(client, name) for name, (_, _, _, signature, arguments, _) in CALLS.items()
                    if client.can(signature, descriptor_of(arguments))
                    and not (client.checks and name in ILL_FORMED)}
            client.close()
            failures += [f"{kind.name}, {name}: {text}" for name, text in told.items() if text]
            lines.append(f"{kind.name:12} {len(told):3} calls, cannot send: "
                         f"{', '.join(name for name in CALLS if name not in told) or '-'}")
        print("\n".join([type(self).__name__, *lines]), flush=True)
        self.assertEqual(failures, [])


class OnDbusDaemon(Table, DaemonTest):
    bus_type = Bus


class OnDbusBroker(Table, DaemonTest):
    bus_type = Broker

    @classmethod
    def setUpClass(cls):
        if not shutil.which("dbus-broker"):
            raise unittest.SkipTest("dbus-broker is not installed")
        super().setUpClass()


if __name__ == "__main__":
    Paths.take()
    unittest.main(verbosity=2, warnings="ignore")  # dbus-next leaves its sockets to the collector
