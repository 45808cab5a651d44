#!/usr/bin/python3
"""The search of desktops, called by the desktops themselves: GNOME Shell and KRunner, without a screen. Skipped where
neither is installed, which tests need not have: see dev-packages-desktops.

usage: test_real_desktops.py PERCEPT_SEARCH PERCEPTCTL UNITS SOURCE_UNITS PERCEPTD HELPER FIXTURES [MODEL]
"""

import json
import os
import shutil
import subprocess
import sys
import unittest

import dbus

import fixture
import test_desktop
from service import SKIP, Paths

PROGRAMS = {"gnome-shell": "the package gnome-shell", "krunner": "the package plasma-workspace"}
SHELL = "org.gnome.Shell"
PROVIDER = test_desktop.NAME + ".desktop"
RESULTS = "Main.overview._overview.controls._searchController._searchResults"


class RealDesktop(test_desktop.Desktop):
    program = None

    def setUp(self):
        if not shutil.which(self.program):
            self.skipTest(f"{self.program} is not here: it needs {PROGRAMS[self.program]}")
        super().setUp()
        self.run_dir = os.path.join(self.root, self.program)
        os.makedirs(self.run_dir, mode=0o700)

    def install(self, source, folder, name):
        """Where `meson install` puts a file, below a folder of the test's own."""
        to = os.path.join(self.root, "share", folder)
        os.makedirs(to, exist_ok=True)
        shutil.copyfile(os.path.join(test_desktop.SOURCE_UNITS, source), os.path.join(to, name))

    def start_desktop(self, *arguments, **environment):
        log = open(os.path.join(self.run_dir, "log"), "w", encoding="utf-8")  # pylint: disable=consider-using-with
        self.addCleanup(log.close)
        process = subprocess.Popen(
            [self.program, *arguments], stdout=log, stderr=log,
            env={**os.environ, "DBUS_SESSION_BUS_ADDRESS": self.bus.address, "XDG_RUNTIME_DIR": self.run_dir,
                 "XDG_DATA_DIRS": os.path.join(self.root, "share") + ":/usr/local/share:/usr/share", **environment})
        self.addCleanup(process.wait)
        self.addCleanup(process.kill)

    def monitor(self, interface):
        """What goes over the bus, as a function that reads it."""
        path = os.path.join(self.run_dir, "monitor")
        with open(path, "w", encoding="utf-8") as file:
            process = subprocess.Popen(["dbus-monitor", "--address", self.bus.address, f"interface={interface}",
                                        f"sender={test_desktop.NAME}"], stdout=file)
        self.addCleanup(process.wait)
        self.addCleanup(process.kill)

        def read():
            with open(path, encoding="utf-8", errors="replace") as file:
                return file.read()
        self.eventually(lambda: "NameLost" in read())  # it monitors from then on
        return read


class KRunner(RealDesktop):
    program = "krunner"

    def test_asks_and_is_answered(self):
        self.install(test_desktop.NAME + ".krunner.desktop", "krunner/dbusplugins", PROVIDER)
        seen = self.monitor(test_desktop.KRUNNER)
        self.start_desktop("--daemon", QT_QPA_PLATFORM="offscreen", QT_QUICK_BACKEND="software", KDE_DEBUG="1")
        self.eventually(lambda: self.client.connection.name_has_owner("org.kde.krunner"), 30)
        self.client.connection.call_blocking("org.kde.krunner", "/App", "org.kde.krunner.App", "query", "s",
                                             ("red cross",), timeout=30)
        self.eventually(lambda: 'string "a red cross.jpg"' in seen(), 30)
        calls = [line for line in seen().splitlines() if f"destination={test_desktop.NAME}" in line]
        for member in "Config", "Match":
            self.assertTrue(any(line.endswith("member=" + member) for line in calls), calls)


class GnomeShell(RealDesktop):
    program = "gnome-shell"

    def evaluate(self, script):
        done, text = self.client.connection.call_blocking(
            SHELL, "/org/gnome/Shell", SHELL, "Eval", "s", (f"JSON.stringify({script})",), timeout=30)
        self.assertTrue(done, text)
        return json.loads(json.loads(text)) if text else None

    def is_up(self):
        try:
            return self.evaluate("Main.overview !== null") is True
        except dbus.DBusException:
            return False

    def test_finds_and_opens(self):
        self.install(test_desktop.NAME + ".ini", "gnome-shell/search-providers", test_desktop.NAME + ".ini")
        self.install(PROVIDER, "applications", PROVIDER)
        system = fixture.Bus()  # with nobody on it
        self.addCleanup(system.close)
        self.start_desktop("--headless", "--unsafe-mode", "--no-x11", "--virtual-monitor", "1024x768",
                           DBUS_SYSTEM_BUS_ADDRESS=system.address, GSETTINGS_BACKEND="memory")
        self.eventually(self.is_up, 30)
        self.assertIn(PROVIDER, self.evaluate(f"{RESULTS}._providers.map(p => p.id)"))
        self.evaluate(f"({RESULTS}.setTerms(['red', 'cross']), 1)")
        self.eventually(lambda: self.evaluate(f"{RESULTS}._results['{PROVIDER}'] ?? []"), 30)
        found = self.evaluate(f"{RESULTS}._results['{PROVIDER}']")
        self.assertIn(self.uri("a red cross.jpg"), found)
        self.evaluate(f"({RESULTS}._providers.find(p => p.id === '{PROVIDER}')"
                      f".activateResult('{self.uri('a red cross.jpg')}', ['red', 'cross']), 1)")
        self.assertEqual(self.program_ran()[:2], ["xdg-open", self.uri("a red cross.jpg")])


if __name__ == "__main__":
    if not any(map(shutil.which, PROGRAMS)):
        print(f"no desktop is here: {' or '.join(PROGRAMS.values())}")
        sys.exit(SKIP)
    test_desktop.SEARCH, test_desktop.CTL, test_desktop.UNITS, test_desktop.SOURCE_UNITS = map(
        os.path.abspath, sys.argv[1:5])
    del sys.argv[1:5]
    Paths.take()
    unittest.main(verbosity=2)
