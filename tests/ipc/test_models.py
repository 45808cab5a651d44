#!/usr/bin/python3
"""Model objects, the manager that lists them, and org.freedesktop.LogControl1.

usage: test_models.py PERCEPTD HELPER FIXTURES [MODEL]
"""

import os
import shutil
import subprocess
import tempfile
import time
import unittest
import xml.etree.ElementTree

import dbus
import dbus.bus
from dbus.mainloop.glib import DBusGMainLoop
from gi.repository import GLib

from fixture import INTROSPECTABLE, NAME, PATH, PROPERTIES, model_path
from service import DaemonTest, Paths

MODEL = NAME + ".Model"
OBJECTS = "org.freedesktop.DBus.ObjectManager"
LOG, LOG_PATH = "org.freedesktop.LogControl1", "/org/freedesktop/LogControl1"


class ModelsTest(DaemonTest):
    """A model folder of our own; the service is not told of a model by option."""

    @classmethod
    def command(cls, bus):
        cls.folder = tempfile.mkdtemp(prefix="perceptd-models-")
        cls.models = os.path.join(cls.folder, "perceptd", "models")
        os.makedirs(cls.models)
        os.symlink(os.path.abspath(Paths.model), cls.file("first-one"))
        cls.config = os.path.join(cls.folder, "perceptd.conf")
        with open(cls.config, "w", encoding="ascii") as file:
            file.write("[Model]\nName=first-one\n")
        return ["env", f"XDG_DATA_HOME={cls.folder}", Paths.perceptd, f"--bus={bus.address}",
                f"--media-helper={Paths.helper}", f"--config={cls.config}"]

    @classmethod
    def tearDownClass(cls):
        super().tearDownClass()
        shutil.rmtree(cls.folder)

    @classmethod
    def file(cls, name):
        return os.path.join(cls.models, name + ".gguf")

    def managed(self):
        return self.client.call("GetManagedObjects", "", interface=OBJECTS)

    def of_model(self, name, key):
        return self.client.property(key, model_path(name), MODEL)


class Models(ModelsTest):
    def listen(self):
        """Signals of the service as they come: [(path, member, arguments)]."""
        listener = dbus.bus.BusConnection(self.bus.address, mainloop=DBusGMainLoop())
        self.addCleanup(listener.close)
        told = []
        listener.add_signal_receiver(lambda *args, **about: told.append(
            (about["path"], about["member"], args)), bus_name=NAME, path_keyword="path",
            member_keyword="member")
        listener.call_blocking(NAME, PATH, PROPERTIES, "GetAll", "s", [""])
        return told

    def wait_for(self, told, found):
        """The first that fits; the rest stays."""
        end = time.monotonic() + 10
        while True:
            for signal in told:
                if found(signal):
                    return signal
            self.assertLess(time.monotonic(), end, told)
            GLib.MainContext.default().iteration(False)

    def test_properties(self):
        self.client.embed("a word")
        every = self.client.call("GetAll", "s", MODEL, path=model_path("first-one"),
                                 interface=PROPERTIES)
        info = self.client.embed("a word")[1]
        self.assertEqual(every, {
            "Name": "first-one", "Selected": True, "State": "ready", "Digest": info["digest"],
            "Bytes": os.path.getsize(Paths.model), "Dimension": info["dimension"],
            "ContextLength": every["ContextLength"], "Family": "percept",
            "Modalities": ["text", "image", "audio"], "Memory": every["Memory"]})
        self.assertGreater(every["ContextLength"], 100)
        self.assertGreater(every["Memory"], every["Bytes"])
        self.assertEqual(self.managed()[model_path("first-one")], {MODEL: every})
        for path in model_path("nothing"), PATH + "/models/", PATH + "/modelsx":
            try:
                self.refused("UnknownObject", self.client.property, "Name", path, MODEL)
            except ValueError:
                pass  # no path at all, says the client
        self.refused("PropertyReadOnly", self.client.call, "Set", "ssv", MODEL, "Name", "x",
                     path=model_path("first-one"), interface=PROPERTIES)

    def test_installed_and_removed(self):
        told = self.listen()
        os.symlink(os.path.abspath(Paths.model), self.file("Ünother.one"))
        name = "Ünother.one"
        path = PATH + "/models/_c3_9cnother_2eone"
        _, member, args = self.wait_for(told, lambda s: s[1].startswith("Interfaces"))
        self.assertEqual((member, args[0]), ("InterfacesAdded", path))
        self.assertEqual(args[1], self.managed()[path])
        self.assertEqual((args[1][MODEL]["Name"], args[1][MODEL]["State"]), (name, "installed"))
        self.assertEqual((args[1][MODEL]["Digest"], args[1][MODEL]["Dimension"]), ("", 0))

        self.client.call("LoadModel", "sa{sv}", name, {})
        self.wait_for(told, lambda s: s[:2] == (path, "PropertiesChanged")
                      and s[2][1]["State"] == "ready" and s[2][1]["Selected"])
        self.wait_for(told, lambda s: s[:2] == (model_path("first-one"), "PropertiesChanged")
                      and s[2][1]["State"] == "installed" and not s[2][1]["Selected"])
        self.client.call("Reload", "")
        self.assertFalse(self.client.property("Selected", path, MODEL))
        self.assertTrue(self.of_model("first-one", "Selected"))

        os.unlink(self.file(name))
        _, _, args = self.wait_for(told, lambda s: s[1] == "InterfacesRemoved")
        self.assertEqual(args, (path, [MODEL]))
        self.assertNotIn(path, self.managed())
        self.refused("UnknownObject", self.client.property, "Name", path, MODEL)

    def test_what_is_no_model(self):
        before = set(self.managed())
        for name in ".hidden.gguf", "text.txt", ".gguf", "x" * 200 + ".gguf":
            with open(os.path.join(self.models, name), "wb"):
                pass
        os.mkdir(self.file("folder"))
        with open(self.file("real"), "wb") as file:
            file.write(b"12345")
        self.eventually(lambda: model_path("real") in self.managed())
        self.assertEqual(set(self.managed()), before | {model_path("real")})
        self.assertEqual(self.of_model("real", "Bytes"), 5)
        self.refused("ModelUnavailable", self.client.call, "LoadModel", "sa{sv}", "real", {})
        os.rmdir(self.file("folder"))
        os.unlink(self.file("real"))
        self.eventually(lambda: set(self.managed()) == before)

    def test_at_most_so_many(self):
        for n in range(100):
            with open(self.file(f"many-{n}"), "wb"):
                pass
        self.eventually(lambda: len(self.managed()) == 64)
        for n in range(100):
            os.unlink(self.file(f"many-{n}"))
        self.eventually(lambda: len(self.managed()) < 10)

    def test_tree(self):
        found = subprocess.run(["busctl", f"--address={self.bus.address}", "tree", "--list", NAME],
                               capture_output=True, text=True, check=True).stdout.split()
        self.assertIn(model_path("first-one"), found)
        self.assertIn(LOG_PATH, found)
        tree = xml.etree.ElementTree.fromstring(str(self.client.call(
            "Introspect", "", path=PATH + "/models", interface=INTROSPECTABLE)))
        self.assertIn(model_path("first-one").rsplit("/", 1)[1],
                      [node.get("name") for node in tree.findall("node")])


class LogControl(ModelsTest):
    def get(self, name):
        return self.client.property(name, LOG_PATH, LOG)

    def set(self, name, value):
        self.client.call("Set", "ssv", LOG, name, value, path=LOG_PATH, interface=PROPERTIES)

    def test_level_and_target(self):
        self.assertEqual(self.get("SyslogIdentifier"), "perceptd")
        self.assertEqual((self.get("LogLevel"), self.get("LogTarget")), ("info", "console"))
        for level, then in (("debug", "debug"), ("err", "err"), ("emerg", "err"),
                            ("warning", "warning"), ("notice", "notice")):
            self.set("LogLevel", level)
            self.assertEqual(self.get("LogLevel"), then)
        for target in "journal", "null", "console":
            self.set("LogTarget", target)
            self.assertEqual(self.get("LogTarget"), target)
        self.set("LogTarget", "auto")
        self.assertEqual(self.get("LogTarget"), "console")
        self.client.call("Reload", "")
        self.assertEqual(self.get("LogLevel"), "info", "as configured")
        for name, value in (("LogLevel", "loud"), ("LogLevel", ""), ("LogTarget", "kmsg"),
                            ("LogLevel", dbus.UInt32(7))):
            self.refused("InvalidArgs", self.set, name, value)
        self.refused("PropertyReadOnly", self.set, "SyslogIdentifier", "x")
        self.refused("UnknownProperty", self.set, "Colour", "x")
        self.refused("UnknownMethod", self.client.call, "Set", "", path=LOG_PATH, interface=LOG)


if __name__ == "__main__":
    Paths.take()
    unittest.main(verbosity=2)
