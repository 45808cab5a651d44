#!/usr/bin/python3
"""The units of a user's session, and what userdel runs.

usage: test_session.py UNITS PERCEPTCTL PERCEPT_SEARCH
"""

import os
import re
import shutil
import subprocess
import sys
import tempfile
import unittest

WATCH_EXPOSURE_MAX = "16"  # tenths, as for the service of one user


def run(*command, **kwargs):
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60, **kwargs)


class Case(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.mkdtemp(prefix="perceptd-session-")
        self.addCleanup(shutil.rmtree, self.folder)

    def write(self, name, text, mode=0o644):
        path = os.path.join(self.folder, name)
        with open(path, "w", encoding="utf-8") as file:
            file.write(text)
        os.chmod(path, mode)
        return path


class Units(Case):
    def unit(self, name, program):
        with open(os.path.join(UNITS, name), encoding="utf-8") as file:
            text = file.read()
        text, n = re.subn(r"^ExecStart=\S+", f"ExecStart={program}", text, flags=re.MULTILINE)
        self.assertEqual(n, 1)
        # The pages are not installed here, which is no fault of the unit.
        return self.write(name, re.sub(r"(?m)^Documentation=.*\n", "", text))

    def analyze(self, *args):
        found = run("systemd-analyze", "--user", *args,
                    env={"PATH": os.environ["PATH"], "HOME": self.folder, "LC_ALL": "C.UTF-8",
                         "XDG_RUNTIME_DIR": self.folder})
        return found.returncode, found.stdout + found.stderr

    def test_verify_prints_nothing(self):
        for name, program in (("perceptd-watch.service", CTL), ("percept-search.service", SEARCH)):
            self.assertEqual(self.analyze("verify", self.unit(name, program)), (0, ""))

    def test_exposure_of_the_watch(self):
        status, text = self.analyze("security", "--offline=true",
                                    f"--threshold={WATCH_EXPOSURE_MAX}",
                                    self.unit("perceptd-watch.service", CTL))
        overall = [line for line in text.splitlines() if "Overall exposure" in line]
        print(*overall, file=sys.stderr)
        self.assertEqual(status, 0, text)
        self.assertEqual(len(overall), 1)


class Userdel(Case):
    """Run as userdel runs it, with a perceptctl that writes down what it is told."""

    def hook(self, action, subject, status=0):
        out = os.path.join(self.folder, "out")
        fake = self.write("perceptctl", f'#!/bin/sh\necho "$@" >> "{out}"\nexit {status}\n', 0o755)
        with open(os.path.join(UNITS, "userdel-perceptd"), encoding="utf-8") as file:
            text, n = re.subn(r"(?m)^\S*/perceptctl", fake, file.read())
        self.assertEqual(n, 1)
        os.makedirs(os.path.join(self.folder, "pre.d"), exist_ok=True)
        self.write("pre.d/perceptd", text, 0o755)
        found = run("run-parts", os.path.join(self.folder, "pre.d"),
                    env={**os.environ, "ACTION": action, "SUBJECT": subject})
        self.assertEqual(found.returncode, 0, "nothing may keep userdel from its work")
        if not os.path.exists(out):
            return "", found.stderr
        with open(out, encoding="utf-8") as file:
            return file.read(), found.stderr

    def test_purges(self):
        self.assertEqual(self.hook("userdel", "nobody"), ("purge --uid=65534\n", ""))

    def test_keeps_out_of_the_way(self):
        self.assertEqual(self.hook("useradd", "nobody")[0], "")
        self.assertEqual(self.hook("userdel", "no such user; true")[0], "")
        self.assertIn("could not be removed", self.hook("userdel", "nobody", 1)[1])


if __name__ == "__main__":
    UNITS, CTL, SEARCH = map(os.path.abspath, sys.argv[1:])
    unittest.main(argv=sys.argv[:1], verbosity=2)
