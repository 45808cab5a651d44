#!/usr/bin/python3
"""`meson install` is complete, what it installs finds each other, and software centres can read it.

usage: test_install.py BUILD_FOLDER SOURCE_ROOT LIST METAINFO VERSION NAME=VALUE…
"""

import os
import re
import shutil
import stat
import subprocess
import sys
import tempfile
import unittest


def read(path):
    with open(path, encoding="utf-8") as file:
        return file.read()


class Install(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.root = tempfile.mkdtemp(prefix="perceptd-install-")
        run = subprocess.run(["meson", "install", "-C", BUILD, "--no-rebuild", "--destdir", cls.root],
                             capture_output=True, text=True, check=False)
        assert run.returncode == 0, run.stdout + run.stderr

    @classmethod
    def tearDownClass(cls):
        shutil.rmtree(cls.root)

    def path(self, line):
        return re.sub(r"@(\w+)@", lambda name: NAMES[name[1]], line)

    def installed(self, line):
        return self.root + self.path(line)

    def test_files(self):
        expected = {self.path(line) for line in read(LIST).split("\n")
                    if line and not line.startswith("#")}
        found = {os.path.join(folder, name)[len(self.root):]
                 for folder, _, names in os.walk(self.root) for name in names}
        self.assertEqual(expected - found, set(), "not installed")
        self.assertEqual(found - expected, set(), "installed, but not listed")

    def test_modes(self):
        for folder, _, names in os.walk(self.root):
            for name in names:
                mode = stat.S_IMODE(os.stat(os.path.join(folder, name)).st_mode)
                program = "/bin" in folder or "/shadow-maint/" in folder or name in (
                    "percept-media", "percept-search")
                self.assertEqual(mode, 0o755 if program else 0o644, name)

    def test_units_start_what_is_installed(self):
        for line in ("@prefix@/lib/systemd/system/perceptd.service",
                     "@prefix@/lib/systemd/user/perceptd.service",
                     "@prefix@/lib/systemd/user/perceptd-watch.service",
                     "@prefix@/lib/systemd/user/percept-search.service",
                     "@prefix@/share/dbus-1/services/org.perceptd.Percept1.service",
                     "@prefix@/share/dbus-1/services/org.perceptd.Percept1.Search.service"):
            command = re.search(r"^Exec(?:Start)?=(\S+)", read(self.installed(line)), re.M)[1]
            self.assertTrue(os.access(self.root + command, os.X_OK), command)

    def test_programs_run(self):
        for name in ("perceptd", "perceptctl", "percept-run"):
            subprocess.run([self.installed("@prefix@/bin/" + name), "--help"], check=True,
                           capture_output=True)

    def test_nothing_names_the_build(self):
        for folder, _, names in os.walk(self.root):
            for name in names:
                path = os.path.join(folder, name)
                with open(path, "rb") as file:
                    content = file.read()
                if not content.startswith((b"\x7fELF", b"GGUF")):
                    self.assertNotIn(BUILD.encode(), content, path)
                    self.assertIsNone(re.search(rb"@\w+dir@", content), path)


class Packages(unittest.TestCase):
    def test_every_file_is_in_one_package(self):
        names = {"prefix": "usr", "libexecdir": "libexec", "sysconfdir": "etc",
                 "policydir": "usr/share/dbus-1/system.d"}
        wanted = [re.sub(r"@(\w+)@", lambda name: names[name[1]], line)
                  for line in read(LIST).split("\n") if line and not line.startswith("#")]
        rows = {}
        for package in os.listdir(os.path.join(SOURCE, "debian")):
            if package.endswith(".install"):
                for line in read(os.path.join(SOURCE, "debian", package)).splitlines():
                    rows[line.split()[0]] = package
        for path in wanted:
            found = [row for row in rows if path == row or path.startswith(row + "/")]
            self.assertEqual(len(found), 1, f"{path} is packaged by {found}")
        for row in rows:
            self.assertTrue(any(path == row or path.startswith(row + "/") for path in wanted), row)

    def test_version(self):
        first = read(os.path.join(SOURCE, "debian", "changelog")).split("\n", 1)[0]
        self.assertTrue(first.startswith(f"perceptd ({VERSION}) "), first)


class Metainfo(unittest.TestCase):
    def test_valid(self):
        if not shutil.which("appstreamcli"):
            self.skipTest("appstreamcli is not installed")
        run = subprocess.run(["appstreamcli", "validate", "--no-net", "--no-color", METAINFO],
                             capture_output=True, text=True, check=False)
        self.assertEqual(run.returncode, 0, run.stdout)
        self.assertNotRegex(run.stdout, r"(?m)^[EWI]: ")

    def test_binaries(self):
        listed = set(re.findall(r"/bin/(\S+)", read(LIST)))
        self.assertEqual(set(re.findall(r"<binary>(.*)</binary>", read(METAINFO))), listed)


if __name__ == "__main__":
    BUILD, SOURCE, LIST, METAINFO = map(os.path.abspath, sys.argv[1:5])
    VERSION = sys.argv[5]
    NAMES = dict(argument.split("=", 1) for argument in sys.argv[6:])
    unittest.main(argv=sys.argv[:1])
