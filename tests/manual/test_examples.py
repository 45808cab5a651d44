#!/usr/bin/python3
"""The examples of the interface's page run as they stand there, against the service without a model.

usage: test_examples.py PAGE PERCEPTD_FAKE
"""

import os
import re
import shutil
import subprocess
import sys
import tempfile
import unittest

sys.dont_write_bytecode = True
ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, os.path.join(ROOT, "tests", "ipc"))

from fixture import ServiceTest  # noqa: E402

FILES = {"photo.jpg": "shapes.jpg", "picture.png": "emoji.png"}
ESCAPES = {r"\e": "\\", r"\-": "-", r"\(aq": "'", r"\(ga": "`", r"\(ha": "^", r"\(ti": "~",
           r"\&": ""}


def plain(roff):
    """What a reader copies from the page."""
    return re.sub(r"\\(\(..|.)", lambda escape: ESCAPES[escape[0]], roff)


def example(title):
    found = re.search(rf"^\.Ss {re.escape(title)}\n(?:(?!^\.S[sh]).*\n)*?"
                      r"\.Bd -literal\n((?:.*\n)*?)\.Ed$", PAGE, re.M)
    assert found, f"no example for {title}"
    return plain(found[1])


class Examples(ServiceTest):
    @classmethod
    def command(cls, bus):
        return [FAKE, bus.address]

    def setUp(self):
        super().setUp()
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = folder.name
        for name, fixture in FILES.items():
            shutil.copy(os.path.join(ROOT, "tests", "fixtures", fixture),
                        os.path.join(self.folder, name))

    def run_example(self, command, status=0):
        run = subprocess.run(command, cwd=self.folder, capture_output=True, text=True, timeout=90,
                             env={**os.environ, "DBUS_SESSION_BUS_ADDRESS": self.bus.address},
                             check=False)
        self.assertEqual(run.returncode, status, run.stderr)
        return run.stdout

    def test_busctl(self):
        out = self.run_example(["bash", "-ec", example("busctl")]).splitlines()
        self.assertEqual(len(out), 2)
        # Two vectors of 64 numbers of two bytes.
        self.assertRegex(out[0], r"^aaya\{sv\} 2 128 (\d+ ){128}128 ")
        self.assertRegex(out[1], r'^s "\w+"$')

    def test_gdbus(self):
        self.assertIn("'a red circle'", self.run_example(["bash", "-ec", example("gdbus")]))

    def python(self, title, module):
        code = example(title)
        if subprocess.run([sys.executable, "-c", f"import {module}"], capture_output=True,
                          check=False).returncode:
            self.skipTest(f"{module} is not installed")
        # The service without a model answers what it is told to.
        self.assertIn("What is in the picture?", code)
        said = code.replace("What is in the picture?", "say ein großer Kreis")
        self.assertEqual(self.run_example([sys.executable, "-c", said]), "ein großer Kreis\n")
        return code.replace("What is in the picture?", "fail")

    def test_dbus_next(self):
        failing = self.python("Python, dbus-next", "dbus_next")
        self.run_example([sys.executable, "-c", failing], status=1)

    def test_jeepney(self):
        failing = self.python("Python, jeepney", "jeepney")
        self.run_example([sys.executable, "-c", failing], status=1)

    def test_c(self):
        with open(os.path.join(self.folder, "example.c"), "w", encoding="utf-8") as file:
            file.write(example("C"))
        build = plain(re.search(r"^\.Ql (cc example\.c .*) \.$", PAGE, re.M)[1])
        self.run_example(["bash", "-ec", build.replace("cc ", "cc -Wall -Wextra -Werror ", 1)])
        self.assertRegex(self.run_example(["./a.out"]), r"^256 numbers, the first is -?\d")


if __name__ == "__main__":
    with open(sys.argv[1], encoding="utf-8") as page:
        PAGE = page.read()
    FAKE = os.path.abspath(sys.argv[2])
    unittest.main(argv=sys.argv[:1])
