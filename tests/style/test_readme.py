#!/usr/bin/python3
"""The README's bus examples run as they stand there, against the service without a model.

usage: test_readme.py README PERCEPTD_FAKE
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


class Readme(ServiceTest):
    @classmethod
    def command(cls, bus):
        return [FAKE, bus.address]

    def run_example(self, command):
        with tempfile.TemporaryDirectory() as folder:
            for name, fixture in FILES.items():
                shutil.copy(os.path.join(ROOT, "tests", "fixtures", fixture),
                            os.path.join(folder, name))
            return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=60,
                                  env={**os.environ, "DBUS_SESSION_BUS_ADDRESS": self.bus.address},
                                  check=False)

    def shell(self, tool):
        """The example that begins with this tool, with the lines that continue it."""
        found = re.search(rf"^    {tool} (?:.*\\\n)*.*$", TEXT, re.M)
        self.assertTrue(found, f"no example of {tool}")
        run = self.run_example(["bash", "-c", found.group(0)])
        self.assertEqual(run.returncode, 0, run.stderr)
        return run.stdout

    def test_busctl(self):
        self.assertTrue(self.shell("busctl --user call").startswith("aaya{sv} 1 1024 "))

    def test_gdbus(self):
        self.assertIn("'a red circle'", self.shell("gdbus call"))

    def test_introspection(self):
        example = re.search(r"`(busctl --user introspect [^`]*)`", TEXT).group(1)
        run = self.run_example(["bash", "-c", example])
        self.assertEqual(run.returncode, 0, run.stderr)
        self.assertIn(".EmbedMedia", run.stdout)

    def test_python(self):
        code = re.search(r"^```python\n(.*?)^```", TEXT, re.M | re.S).group(1)
        # The service without a model answers what it is told to.
        code = code.replace("What is in the picture?", "say a red circle")
        self.assertIn("say a red circle", code)
        run = self.run_example([sys.executable, "-c", code])
        self.assertEqual((run.returncode, run.stdout), (0, "a red circle\n"), run.stderr)


if __name__ == "__main__":
    with open(sys.argv[1], encoding="utf-8") as readme:
        TEXT = readme.read()
    FAKE = os.path.abspath(sys.argv[2])
    unittest.main(argv=sys.argv[:1])
