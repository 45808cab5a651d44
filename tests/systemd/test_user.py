#!/usr/bin/python3
"""The units of a session under a real manager of a user, in the container of test_boot.py: the service and the search are
started by the session's bus, and files are found as they come.

usage: test_user.py HANG BUILD FIXTURES [MODEL]
"""

import json
import os
import shutil
import sys
import time
import unittest

import test_boot

UID = 7070
HOME = "/home/tess"
PICTURES = HOME + "/Pictures"
SEARCH = "org.perceptd.Percept1.Search"
PROVIDER = "org.gnome.Shell.SearchProvider2"


class Session(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.machine = test_boot.Machine(test_boot.BUILD)
        for unit in "perceptd", "perceptd-watch":
            cls.open_kernel_log(unit)
        inside = cls.machine.inside
        inside("useradd", "--create-home", "--home-dir", HOME, "--uid", str(UID), "tess")
        inside("systemctl", "start", "dbus.socket")
        found = inside("systemctl", "start", f"user@{UID}.service")
        if found.returncode != 0 or cls.user("systemctl", "--user", "start", "dbus.socket").returncode != 0:
            cls.machine.close()
            test_boot.skip(f"no manager of a user can be started here: {found.stderr.strip()}")
        cls.put("shapes.jpg", "red cross.jpg")

    @classmethod
    def tearDownClass(cls):
        cls.machine.close()

    @classmethod
    def open_kernel_log(cls, unit):
        """The one wall that cannot stand here: a container has no /proc/kmsg to hide, and the manager of a user, unlike
        the system's, gives up over it."""
        with open(cls.machine.path(f"/etc/systemd/user/{unit}.service.d/container.conf"), "w", encoding="ascii") as file:
            file.write("[Service]\nProtectKernelLogs=no\n")

    @classmethod
    def user(cls, *command):
        return cls.machine.inside(
            "setpriv", f"--reuid={UID}", f"--regid={UID}", "--clear-groups", "env", f"HOME={HOME}",
            f"XDG_RUNTIME_DIR=/run/user/{UID}", f"DBUS_SESSION_BUS_ADDRESS=unix:path=/run/user/{UID}/bus", *command)

    @classmethod
    def put(cls, fixture, name):
        """A picture as a program saves it: it appears whole."""
        to = cls.machine.path(PICTURES, name)
        shutil.copy(os.path.join(test_boot.FIXTURES, fixture), to + ".part")
        os.chown(to + ".part", UID, UID)
        os.rename(to + ".part", to)

    def good(self, *command):
        found = self.user(*command)
        self.assertEqual(found.returncode, 0, found)
        return found.stdout

    def show(self, unit, key):
        return self.good("systemctl", "--user", "show", unit, "-P", key).strip()

    def eventually(self, condition):
        end = time.monotonic() + 30
        while not condition():
            self.assertLess(time.monotonic(), end, self.user("journalctl", "--user", "-n", "30").stdout)
            time.sleep(0.1)

    def found(self):
        """Names of all the pictures that a search knows."""
        found = self.user("perceptctl", "--user", "search", "--json", "a red cross")
        return {os.path.basename(hit["path"]) for hit in json.loads(found.stdout)["hits"]} if found.stdout else set()

    def test_1_watch(self):
        self.good("systemctl", "--user", "start", "perceptd-watch")
        self.assertEqual(self.show("perceptd-watch", "ActiveState"), "active")
        self.eventually(lambda: "red cross.jpg" in self.found())
        self.assertEqual(self.show("perceptd", "ActiveState"), "active", "the bus has started the service")
        self.put("window.png", "window.png")
        self.eventually(lambda: "window.png" in self.found())
        os.unlink(self.machine.path(PICTURES, "window.png"))
        self.eventually(lambda: "window.png" not in self.found())
        self.assertEqual(self.show("perceptd-watch", "NRestarts"), "0")

    def test_2_watch_has_its_walls(self):
        pid = self.show("perceptd-watch", "MainPID")
        status = self.good("cat", f"/proc/{pid}/status")
        self.assertIn("NoNewPrivs:\t1", status)
        self.assertIn("Seccomp:\t2", status)
        self.assertIn("background.slice", self.good("cat", f"/proc/{pid}/cgroup"))

    def test_3_search(self):
        self.assertEqual(self.show("percept-search", "ActiveState"), "inactive")
        reply = self.good("busctl", "--user", "call", SEARCH, "/org/perceptd/Percept1/Search", PROVIDER,
                          "GetInitialResultSet", "as", "2", "red", "cross")
        self.assertIn("file://" + PICTURES + "/red%20cross.jpg", reply)
        self.assertEqual(self.show("percept-search", "ActiveState"), "active")
        self.assertEqual(self.show("percept-search", "BusName"), SEARCH)

    def test_4_restart_and_stop(self):
        """What was found before is there after the service has been started again, by a search alone."""
        self.good("systemctl", "--user", "stop", "perceptd-watch", "perceptd")
        for unit in "perceptd-watch", "perceptd":
            self.assertEqual(self.show(unit, "Result"), "success")
        self.assertIn("red cross.jpg", self.found())
        self.assertEqual(self.show("perceptd", "ActiveState"), "active")


if __name__ == "__main__":
    test_boot.HANG, test_boot.BUILD, test_boot.FIXTURES, *rest = map(os.path.abspath, sys.argv[1:])
    test_boot.MODEL = rest[0] if rest else os.environ.get("PERCEPT_MODEL")
    del sys.argv[1:]
    if os.geteuid() != 0:
        test_boot.skip("booting a container wants root")
    if not test_boot.MODEL:
        test_boot.skip("there is no model")
    if not shutil.which("systemd-nspawn") or not os.path.exists("/usr/lib/systemd/user/dbus.socket"):
        test_boot.skip("systemd-container and dbus-user-session are not installed")
    unittest.main(verbosity=2)
