#!/usr/bin/python3
"""The unit files, the policy, sysusers and the catalogue.

usage: test_units.py SOURCE PERCEPTD SYSTEM-UNIT USER-UNIT HELPER
"""

import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import unittest
import xml.etree.ElementTree

NAME = "org.perceptd.Percept1"
PATH = "/org/perceptd/Percept1"
EXPOSURE_MAX = "5"  # tenths


def run(*command, **kwargs):
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60, **kwargs)


def source(*path):
    with open(os.path.join(SOURCE, *path), encoding="utf-8") as file:
        return file.read()


class Case(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.mkdtemp(prefix="perceptd-units-")
        os.chmod(self.folder, 0o755)
        self.addCleanup(shutil.rmtree, self.folder)

    def write(self, name, text):
        path = os.path.join(self.folder, name)
        with open(path, "w", encoding="utf-8") as file:
            file.write(text)
        return path


class Units(Case):
    def unit(self, path):
        """A copy that starts the program which was built, under the name it is installed by."""
        with open(path, encoding="utf-8") as file:
            text = file.read()
        text, n = re.subn(r"^ExecStart=\S+", f"ExecStart={PERCEPTD}", text, flags=re.MULTILINE)
        self.assertEqual(n, 1)
        return self.write("perceptd.service", text)

    def analyze(self, *args):
        """In a home of its own: other units of whoever runs this are none of ours."""
        found = run("systemd-analyze", *args, env={"PATH": os.environ["PATH"], "HOME": self.folder,
                                                   "LC_ALL": "C.UTF-8",
                                                   "XDG_RUNTIME_DIR": self.folder})
        return found.returncode, found.stdout + found.stderr

    def test_verify_prints_nothing(self):
        """It returns 0 for unknown keys as well, so that only silence counts."""
        self.assertEqual(self.analyze("verify", self.unit(SYSTEM_UNIT)), (0, ""))
        self.assertEqual(self.analyze("--user", "verify", self.unit(USER_UNIT)), (0, ""))
        with open(self.unit(SYSTEM_UNIT), encoding="utf-8") as file:
            spoilt = file.read().replace("PrivateTmp=yes", "PrivateTmpp=yes")
        status, text = self.analyze("verify", self.write("spoilt.service", spoilt))
        self.assertEqual(status, 0)
        self.assertIn("PrivateTmpp", text)

    def test_exposure(self):
        unit = self.unit(SYSTEM_UNIT)
        status, text = self.analyze("security", "--offline=true", f"--threshold={EXPOSURE_MAX}", unit)
        overall = [line for line in text.splitlines() if "Overall exposure" in line]
        print(*overall, file=sys.stderr)
        self.assertEqual(status, 0, text)
        self.assertNotEqual(self.analyze("security", "--offline=true", "--threshold=1", unit)[0], 0)

    def test_units_say_the_same(self):
        """What both have in common must not drift apart."""
        def settings(path):
            with open(path, encoding="utf-8") as file:
                lines = [line.strip() for line in file]
            return {line for line in lines if "=" in line and not line.startswith("#")}
        system, user = settings(SYSTEM_UNIT), settings(USER_UNIT)
        ours = {line for line in user - system}
        self.assertEqual({line.split("=")[0] for line in ours},
                         {"ExecStart", "Slice", "ProtectHome", "WantedBy"})

    def test_activation_files(self):
        system = source("units", NAME + ".system.service.in")
        self.assertIn(f"SystemdService=dbus-{NAME}.service", system)
        self.assertIn(f"Alias=dbus-{NAME}.service", source("units", "perceptd.service.in"))
        for bus in "system", "session":
            self.assertIn(f"Name={NAME}\n", source("units", f"{NAME}.{bus}.service.in"))


class Sysusers(Case):
    def test_user_and_group(self):
        os.mkdir(os.path.join(self.folder, "etc"))
        found = run("systemd-sysusers", f"--root={self.folder}",
                    os.path.join(SOURCE, "units", "perceptd.sysusers"))
        if found.returncode != 0 and os.geteuid() != 0:
            self.skipTest("systemd-sysusers --root wants root")
        self.assertEqual(found.returncode, 0, found)
        for name in "passwd", "group":
            with open(os.path.join(self.folder, "etc", name), encoding="utf-8") as file:
                self.assertIn("perceptd:", file.read())


class Catalogue(Case):
    def test_every_message_is_explained(self):
        events = re.findall(r'EVENT_\w+ +"([0-9a-f]{32})"', source("daemon", "journal.h"))
        entries = re.findall(r"^-- ([0-9a-f]{32})$", source("units", "perceptd.catalog"), re.MULTILINE)
        self.assertEqual(len(set(events)), len(events))
        self.assertEqual(sorted(events), sorted(entries))

    def test_fields_exist(self):
        code = source("daemon", "journal.c")
        for field in re.findall(r"@(\w+)@", source("units", "perceptd.catalog")):
            self.assertIn(field, code)

    def test_journalctl_takes_it(self):
        folder = os.path.join(self.folder, "usr/lib/systemd/catalog")
        os.makedirs(folder)
        os.makedirs(os.path.join(self.folder, "var/lib/systemd/catalog"))
        shutil.copy(os.path.join(SOURCE, "units", "perceptd.catalog"), folder)
        found = run("journalctl", f"--root={self.folder}", "--update-catalog")
        self.assertEqual((found.returncode, found.stdout, found.stderr), (0, "", ""))


class Policy(Case):
    """The policy on a bus of the system's kind, with callers of another uid."""

    def setUp(self):
        super().setUp()
        if os.geteuid() != 0 or not shutil.which("setpriv"):
            self.skipTest("wants root, to be somebody else")

    def start_bus(self, owner):
        """Whom the policy lets own the name is replaced: the user perceptd need not exist here."""
        policy = source("units", NAME + ".conf").replace('user="perceptd"', f'user="{owner}"')
        xml.etree.ElementTree.fromstring(policy)
        policy = self.write("policy.conf", policy)
        config = source("tests", "ipc", "system-bus.conf")
        config = self.write("bus.conf", config.format(folder=self.folder, policy=policy))
        daemon = subprocess.Popen(["dbus-daemon", f"--config-file={config}", "--nofork",
                                   "--print-address=1"], stdout=subprocess.PIPE, text=True)
        self.addCleanup(daemon.stdout.close)
        self.addCleanup(daemon.wait)
        self.addCleanup(daemon.terminate)
        self.address = daemon.stdout.readline().strip()

    def service(self):
        """Ended with the test, whatever has failed in it."""
        service = subprocess.Popen([PERCEPTD, f"--bus={self.address}", f"--media-helper={HELPER}",
                                    "--config=/dev/null"], stderr=subprocess.PIPE, text=True)
        self.addCleanup(service.stderr.close)
        self.addCleanup(service.wait)
        self.addCleanup(service.kill)
        return service

    def as_nobody(self, *args):
        return run("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "busctl",
                   f"--address={self.address}", *args)

    def test_only_its_user_owns_the_name(self):
        self.start_bus("nobody")
        service = self.service()
        self.assertEqual(service.wait(20), 1)
        self.assertIn("Cannot serve on the bus", service.stderr.read())

    def test_what_anybody_may_call(self):
        self.start_bus("root")
        service = self.service()
        while "is on the bus" not in (line := service.stderr.readline()):
            self.assertTrue(line, "the service ended")
        for command in (["introspect", NAME, PATH], ["tree", NAME],
                        ["call", NAME, PATH, "org.freedesktop.DBus.ObjectManager",
                         "GetManagedObjects"],
                        ["get-property", NAME, "/org/freedesktop/LogControl1",
                         "org.freedesktop.LogControl1", "LogLevel"],
                        ["get-property", NAME, PATH, NAME + ".Manager", "Version"],
                        ["call", NAME, PATH, "org.freedesktop.DBus.Peer", "Ping"]):
            found = self.as_nobody(*command)
            self.assertEqual(found.returncode, 0, found)
        found = self.as_nobody("call", NAME, PATH, NAME + ".Manager", "EmbedText", "asa{sv}",
                               "0", "0")
        self.assertIn("at least one", found.stderr, "it was heard")
        for command in (["LoadModel", "sa{sv}", "x", "0"], ["UnloadModel", "s", "x"], ["Reload"]):
            command = ["call", NAME, PATH, NAME + ".Manager", *command]
            self.assertIn("Access denied", self.as_nobody(*command).stderr)
            found = run("busctl", f"--address={self.address}", *command)
            self.assertNotIn("Access denied", found.stderr)
        command = ["set-property", NAME, "/org/freedesktop/LogControl1",
                   "org.freedesktop.LogControl1", "LogLevel", "s", "debug"]
        self.assertIn("Access denied", self.as_nobody(*command).stderr)
        self.assertEqual(run("busctl", f"--address={self.address}", *command).returncode, 0)
        found = self.as_nobody("call", NAME, PATH, "org.freedesktop.LogControl1", "Anything")
        self.assertIn("Access denied", found.stderr)
        service.send_signal(signal.SIGTERM)
        self.assertEqual(service.wait(20), 0)


if __name__ == "__main__":
    SOURCE, PERCEPTD, SYSTEM_UNIT, USER_UNIT, HELPER = map(os.path.abspath, sys.argv[1:6])
    del sys.argv[1:]
    unittest.main(verbosity=2)
