#!/usr/bin/python3
"""The search of desktops: percept-search, started by the bus, called as GNOME Shell and KRunner call.

usage: test_desktop.py PERCEPT_SEARCH PERCEPTCTL UNITS SOURCE_UNITS PERCEPTD HELPER FIXTURES [MODEL]
"""

import configparser
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
import unittest
import xml.etree.ElementTree

import dbus
from gi.repository import Gio, GLib

import fixture
from service import DaemonTest, Paths

NAME = "org.perceptd.Percept1.Search"
PATH = "/org/perceptd/Percept1/Search"
GNOME = "org.gnome.Shell.SearchProvider2"
KRUNNER = "org.kde.krunner1"

BUS = """<busconfig>
  <type>session</type>
  <listen>unix:dir={folder}</listen>
  <servicedir>{folder}</servicedir>
  <policy context="default">
    <allow send_destination="*" eavesdrop="true"/>
    <allow eavesdrop="true"/>
    <allow own="*"/>
  </policy>
</busconfig>
"""

# What GNOME Shell declares of its providers: its proxies send nothing that is not in here.
GNOME_XML = """<node><interface name="org.gnome.Shell.SearchProvider2">
<method name="GetInitialResultSet"><arg type="as" direction="in"/><arg type="as" direction="out"/></method>
<method name="GetSubsearchResultSet"><arg type="as" direction="in"/><arg type="as" direction="in"/>
<arg type="as" direction="out"/></method>
<method name="GetResultMetas"><arg type="as" direction="in"/><arg type="aa{sv}" direction="out"/></method>
<method name="ActivateResult"><arg type="s" direction="in"/><arg type="as" direction="in"/>
<arg type="u" direction="in"/></method>
<method name="LaunchSearch"><arg type="as" direction="in"/><arg type="u" direction="in"/></method>
</interface></node>"""


class ActivatingBus(fixture.Bus):
    """A bus that knows how to start percept-search, from the file that is installed."""

    def __init__(self):
        self.folder = tempfile.mkdtemp(prefix="perceptd-test-")
        config = os.path.join(self.folder, "bus.conf")
        with open(config, "w", encoding="utf-8") as file:
            file.write(BUS.format(folder=self.folder))
        self.daemon = subprocess.Popen(
            ["dbus-daemon", f"--config-file={config}", "--nofork", "--nopidfile",
             "--print-address=1"], stdout=subprocess.PIPE, text=True)
        self.address = self.daemon.stdout.readline().strip()
        self.write_service("60")

    def write_service(self, idle):
        with open(os.path.join(UNITS, NAME + ".service"), encoding="utf-8") as file:
            text = file.read()
        text, n = re.subn(r"(?m)^Exec=.*$", f"Exec={SEARCH} --bus={self.address} "
                          f"--service={self.address} --idle={idle}", text)
        assert n == 1
        text = re.sub(r"(?m)^SystemdService=.*\n", "", text)
        with open(os.path.join(self.folder, NAME + ".service"), "w", encoding="utf-8") as file:
            file.write(text)


class Desktop(DaemonTest):
    bus_type = ActivatingBus

    @classmethod
    def setUpClass(cls):
        cls.root = os.path.realpath(tempfile.mkdtemp(prefix="percept-search-"))
        cls.home = os.path.join(cls.root, "home")
        cls.opened = os.path.join(cls.root, "opened")
        os.environ.update(HOME=cls.home, OPENED=cls.opened,
                          PATH=os.path.join(cls.root, "bin") + ":" + os.environ["PATH"])
        os.makedirs(os.path.join(cls.root, "bin"))
        for name in ("xdg-open", "xdg-terminal-exec"):
            cls.write_program(name)
        super().setUpClass()
        cls.fill()

    @classmethod
    def tearDownClass(cls):
        super().tearDownClass()
        shutil.rmtree(cls.root)

    @classmethod
    def write_program(cls, name):
        path = os.path.join(cls.root, "bin", name)
        with open(path, "w", encoding="utf-8") as file:
            file.write('#!/bin/sh\n{ echo "${0##*/}"; for i; do echo "$i"; done; '
                       'echo "token:$XDG_ACTIVATION_TOKEN"; } > "$OPENED.$$"\n'
                       'mv "$OPENED.$$" "$OPENED"\n')
        os.chmod(path, 0o755)

    @classmethod
    def fill(cls):
        pictures = os.path.join(cls.home, "Pictures")
        os.makedirs(pictures)
        cls.files = {"a red cross.jpg": "shapes.jpg", "bad\x1b[31m \udcff.jpg": "shapes.jpg",
                     "window.png": "window.png", "speech.wav": "speech.wav",
                     "bell.ogg": "sound.ogg"}
        for name, source in cls.files.items():
            shutil.copyfile(os.path.join(Paths.fixtures, source),
                            os.fsencode(os.path.join(pictures, name)))
        cls.pictures = pictures
        subprocess.run([CTL, f"--address={cls.bus.address}", "index", pictures], check=True,
                       stdout=subprocess.DEVNULL)

    def setUp(self):
        super().setUp()
        if os.path.exists(self.opened):
            os.remove(self.opened)
        self.gio = Gio.DBusConnection.new_for_address_sync(
            self.bus.address, Gio.DBusConnectionFlags.AUTHENTICATION_CLIENT
            | Gio.DBusConnectionFlags.MESSAGE_BUS_CONNECTION, None, None)
        self.addCleanup(self.gio.close_sync, None)

    def uri(self, name):
        return GLib.filename_to_uri(os.fsencode(os.path.join(self.pictures, name)), None)

    def program_ran(self):
        self.eventually(lambda: os.path.exists(self.opened))
        with open(self.opened, encoding="utf-8") as file:
            return file.read().splitlines()


class Gnome(Desktop):
    """Through GDBus, with the interface as the shell declares it, and its flags."""

    def setUp(self):
        super().setUp()
        info = Gio.DBusNodeInfo.new_for_xml(GNOME_XML).lookup_interface(GNOME)
        self.proxy = Gio.DBusProxy.new_sync(
            self.gio, Gio.DBusProxyFlags.DO_NOT_LOAD_PROPERTIES
            | Gio.DBusProxyFlags.DO_NOT_CONNECT_SIGNALS | Gio.DBusProxyFlags.DO_NOT_AUTO_START_AT_CONSTRUCTION,
            info, NAME, PATH, GNOME, None)

    def ask(self, member, signature, *args):
        reply = self.proxy.call_sync(member, GLib.Variant(signature, args), Gio.DBusCallFlags.NONE,
                                     30000, None)
        return reply

    def results(self, *terms):
        return self.ask("GetInitialResultSet", "(as)", list(terms)).unpack()[0]

    def test_results(self):
        found = self.results("red", "cross")
        self.assertEqual(set(found[:2]), {self.uri("a red cross.jpg"),
                                          self.uri("bad\x1b[31m \udcff.jpg")})
        again = self.ask("GetSubsearchResultSet", "(asas)", found, ["red", "cross"]).unpack()[0]
        self.assertEqual(again, found)
        # Narrower words are looked for everywhere, not only in what was found.
        other = self.ask("GetSubsearchResultSet", "(asas)", [], ["red", "cross"]).unpack()[0]
        self.assertEqual(other, found)

    def test_too_short_and_too_long(self):
        self.assertEqual(self.results("re"), [])
        self.assertEqual(self.results(), [])
        self.assertEqual(self.results("  ", " "), [])
        self.assertIsInstance(self.results(*["word"] * 5000), list)

    def test_metas(self):
        names = ["a red cross.jpg", "bad\x1b[31m \udcff.jpg", "speech.wav"]
        reply = self.ask("GetResultMetas", "(as)", [self.uri(name) for name in names]
                         + ["file:///nowhere.jpg", "nonsense", "http://example.org/a.jpg"])
        self.assertEqual(reply.get_type_string(), "(aa{sv})")
        metas = reply.get_child_value(0)
        self.assertEqual(metas.n_children(), 3)
        found = [metas.get_child_value(i).unpack() for i in range(3)]
        self.assertEqual([meta["id"] for meta in found], [self.uri(name) for name in names])
        self.assertEqual([meta["name"] for meta in found],
                         ["a red cross.jpg", "bad?[31m ?.jpg", "speech.wav"])
        self.assertEqual({meta["description"] for meta in found}, {"~/Pictures"})
        picture = metas.get_child_value(0).lookup_value("icon-data", GLib.VariantType("(iiibiiay)"))
        width, height, stride, alpha, bits, channels, pixels = picture.unpack()
        self.assertLessEqual(max(width, height), 96)
        self.assertGreater(min(width, height), 20)
        self.assertEqual((stride, alpha, bits, channels), (3 * width, False, 8, 3))
        self.assertEqual(len(pixels), stride * height)
        self.assertGreater(len(set(pixels)), 10, "not of one colour")
        self.assertNotIn("icon", found[0], "the shell would take it instead")
        icon = Gio.Icon.deserialize(metas.get_child_value(2).lookup_value("icon", None))
        self.assertEqual(icon.get_names()[0], "audio-x-generic")
        self.assertEqual(Gio.Icon.new_for_string(found[2]["gicon"]).get_names()[0],
                         "audio-x-generic")

    def test_activate(self):
        self.ask("ActivateResult", "(sasu)", self.uri("bell.ogg"), ["bell"], 1234)
        self.assertEqual(self.program_ran(), ["xdg-open", self.uri("bell.ogg"), "token:"])

    def test_activate_nothing_else(self):
        for bad in ("http://example.org/", "/etc/passwd", "", "--help", "file://host/x"):
            self.ask("ActivateResult", "(sasu)", bad, [], 0)
        time.sleep(0.3)
        self.assertFalse(os.path.exists(self.opened))

    def test_launch(self):
        self.ask("LaunchSearch", "(asu)", ["--help;", "two $(words)"], 5)
        self.assertEqual(self.program_ran(), ["xdg-terminal-exec", "perceptctl", "search",
                                              "--prompt", "--", "--help; two $(words)", "token:"])

    def test_typing(self):
        """All at once, as fast as somebody types: the last is answered, all get a reply."""
        words = "a red cross under a gray hexagon"
        replies = {}

        def done(proxy, result, n):
            replies[n] = proxy.call_finish(result).unpack()[0]

        for n in range(3, len(words) + 1):
            self.proxy.call("GetInitialResultSet", GLib.Variant("(as)", (words[:n].split(" "),)),
                            Gio.DBusCallFlags.NONE, 30000, None, done, n)
        context = GLib.MainContext.default()
        end = time.monotonic() + 30
        while len(replies) < len(words) - 2 and time.monotonic() < end:
            context.iteration(False)
            time.sleep(0.001)
        self.assertEqual(len(replies), len(words) - 2)
        self.assertIn(self.uri("a red cross.jpg"), replies[len(words)])


class KRunner(Desktop):
    def ask(self, member, signature, *args):
        return self.client.connection.call_blocking(NAME, PATH, KRUNNER, member, signature, args,
                                                    timeout=30)

    def test_config_and_actions(self):
        config = self.ask("Config", "")
        self.assertEqual(config["MinLetterCount"], 3)
        self.assertIsInstance(config["MinLetterCount"], dbus.Int32)
        actions = self.ask("Actions", "")
        self.assertEqual(actions.signature, "(sss)")
        self.assertEqual(config["Actions"], actions)
        self.assertEqual([str(action[0]) for action in actions], ["folder"])

    def test_match(self):
        matches = self.ask("Match", "s", "red cross")
        self.assertEqual(matches.signature, "(sssida{sv})")
        by_id = {str(match[0]): match for match in matches}
        _, text, icon, kind, relevance, properties = by_id[self.uri("a red cross.jpg")]
        self.assertEqual((text, icon, kind), ("a red cross.jpg", "image-x-generic", 30))
        self.assertTrue(0 < relevance <= 1)
        self.assertEqual(properties["subtext"], "~/Pictures")
        self.assertEqual(list(properties["urls"]), [self.uri("a red cross.jpg")])
        self.assertEqual(list(properties["actions"]), ["folder"])
        image = properties["icon-data"]
        width, height, stride, alpha, bits, channels, pixels = image
        self.assertEqual((stride, alpha, bits, channels), (3 * width, False, 8, 3))
        self.assertEqual(len(pixels), stride * height)
        self.assertEqual(len(self.ask("Match", "s", "re")), 0)
        self.assertEqual(len(self.ask("Match", "s", "x" * 5000)), 0)
        self.ask("Teardown", "")
        self.assertEqual(len(self.ask("Match", "s", "red cross")), len(matches))

    def test_run(self):
        self.ask("SetActivationToken", "s", "window-7")
        self.ask("Run", "ss", self.uri("window.png"), "")
        self.assertEqual(self.program_ran(), ["xdg-open", self.uri("window.png"),
                                              "token:window-7"])
        os.remove(self.opened)
        self.ask("Run", "ss", self.uri("window.png"), "folder")
        self.assertEqual(self.program_ran(), ["xdg-open", self.uri("")[:-1], "token:"])

    def test_what_was_removed_is_not_offered(self):
        path = os.path.join(self.pictures, "gone.jpg")
        shutil.copyfile(os.path.join(Paths.fixtures, "shapes.jpg"), path)
        subprocess.run([CTL, f"--address={self.bus.address}", "index", path], check=True,
                       stdout=subprocess.DEVNULL)
        self.assertIn(self.uri("gone.jpg"), [str(m[0]) for m in self.ask("Match", "s", "red cross")])
        os.remove(path)
        self.assertNotIn(self.uri("gone.jpg"),
                         [str(m[0]) for m in self.ask("Match", "s", "red cross")])


class Manners(Desktop):
    """What every service on a bus does."""

    def call(self, member, signature="", *args, path=PATH, interface=None):
        return self.client.connection.call_blocking(NAME, path, interface, member, signature, args,
                                                    timeout=30)

    def test_introspection(self):
        text = self.call("Introspect", interface=fixture.INTROSPECTABLE)
        node = xml.etree.ElementTree.fromstring(text)
        self.assertEqual({i.get("name") for i in node.iter("interface")},
                         {GNOME, KRUNNER, fixture.INTROSPECTABLE, "org.freedesktop.DBus.Peer"})
        for interface in node.iter("interface"):
            for method in interface.iter("method"):
                arguments = [a.get("type") for a in method.iter("arg") if a.get("direction") == "in"]
                if not arguments:
                    continue
                # Other arguments than these are refused, and do no harm.
                self.refused("InvalidArgs", self.call, method.get("name"), "x", 1,
                             interface=interface.get("name"))

    def test_refusals(self):
        self.refused("UnknownMethod", self.call, "Nothing", interface=GNOME)
        self.refused("UnknownMethod", self.call, "Match", "s", "x", interface=GNOME)
        self.refused("UnknownObject", self.call, "Match", "s", "abc", path="/", interface=KRUNNER)
        self.call("Ping", interface="org.freedesktop.DBus.Peer")
        self.assertEqual(len(self.call("GetMachineId", interface="org.freedesktop.DBus.Peer")), 32)

    def test_one_is_enough(self):
        self.call("Ping", interface="org.freedesktop.DBus.Peer")
        run = subprocess.run([SEARCH, f"--bus={self.bus.address}"], capture_output=True, text=True,
                             check=False, timeout=20)
        self.assertEqual(run.returncode, 1)
        self.assertIn("served already", run.stderr)

    def test_ends_when_idle_and_comes_back(self):
        address, connection = self.bus.address, self.client.connection
        bus = fixture.Bus()
        self.addCleanup(bus.close)
        with subprocess.Popen([SEARCH, f"--bus={bus.address}", f"--service={address}",
                               "--idle=0.3"]) as search:
            client = fixture.Client(bus)
            self.eventually(lambda: client.connection.name_has_owner(NAME))
            self.assertGreater(len(client.connection.call_blocking(
                NAME, PATH, KRUNNER, "Match", "s", ("red cross",), timeout=30)), 0)
            self.assertEqual(search.wait(20), 0)
            self.assertFalse(client.connection.name_has_owner(NAME))
            client.close()
        # On the bus that starts it, nobody notices.
        pid = connection.call_blocking("org.freedesktop.DBus", "/org/freedesktop/DBus",
                                       "org.freedesktop.DBus", "StartServiceByName", "su",
                                       (NAME, 0), timeout=30)
        self.assertIn(pid, (1, 2))
        self.call("Ping", interface="org.freedesktop.DBus.Peer")

    def test_without_the_service(self):
        """Nothing is found, and nobody waits."""
        bus = fixture.Bus()
        self.addCleanup(bus.close)
        with subprocess.Popen([SEARCH, f"--bus={bus.address}", f"--service={bus.address}"],
                              stderr=subprocess.PIPE) as search:
            client = fixture.Client(bus)
            self.eventually(lambda: client.connection.name_has_owner(NAME))
            self.assertEqual(client.connection.call_blocking(
                NAME, PATH, GNOME, "GetInitialResultSet", "as", (["red", "cross"],), timeout=20), [])
            search.terminate()
            client.close()

    def test_options(self):
        for bad in (["--idle=0"], ["--idle=x"], ["--colour"], ["word"]):
            self.assertEqual(subprocess.run([SEARCH, *bad], capture_output=True, check=False)
                             .returncode, 2)
        self.assertEqual(subprocess.run([SEARCH, "--bus=unix:path=/nowhere"], capture_output=True,
                                        check=False).returncode, 1)


class Files(unittest.TestCase):
    """What is installed for desktops fits together."""

    def read(self, name):
        parser = configparser.ConfigParser(interpolation=None)
        parser.optionxform = str
        with open(os.path.join(SOURCE_UNITS, name), encoding="utf-8") as file:
            parser.read_file(file)
        return parser

    def test_gnome(self):
        provider = self.read(NAME + ".ini")["Shell Search Provider"]
        self.assertEqual(dict(provider), {"DesktopId": NAME + ".desktop", "BusName": NAME,
                                          "ObjectPath": PATH, "Version": "2"})
        application = self.read(NAME + ".desktop")["Desktop Entry"]
        self.assertNotIn("NoDisplay", application, "the shell leaves out hidden providers")
        self.assertEqual(application["Exec"].split()[0], "perceptctl")

    def test_krunner(self):
        runner = self.read(NAME + ".krunner.desktop")["Desktop Entry"]
        self.assertEqual(runner["X-Plasma-DBusRunner-Service"], NAME)
        self.assertEqual(runner["X-Plasma-DBusRunner-Path"], PATH)
        self.assertEqual(runner["X-Plasma-API"], "DBus2", "or Config and Teardown are not called")

    def test_desktop_file(self):
        if not shutil.which("desktop-file-validate"):
            self.skipTest("desktop-file-validate is not installed")
        run = subprocess.run(["desktop-file-validate", os.path.join(SOURCE_UNITS, NAME + ".desktop")],
                             capture_output=True, text=True, check=False)
        self.assertEqual((run.returncode, run.stdout + run.stderr), (0, ""))

    def test_icon(self):
        root = xml.etree.ElementTree.parse(os.path.join(SOURCE_UNITS, NAME + ".svg")).getroot()
        self.assertTrue(root.tag.endswith("svg"))


if __name__ == "__main__":
    SEARCH, CTL, UNITS, SOURCE_UNITS = map(os.path.abspath, sys.argv[1:5])
    del sys.argv[1:5]
    Paths.take()
    unittest.main(verbosity=2)
