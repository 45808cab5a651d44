"""percept-run --memory: the same logits as without it, and the least budget named. Arguments: make-moe, percept-run."""

import os
import re
import subprocess
import sys
import tempfile
import unittest

MAKE_MOE, RUN = sys.argv[1:3]
TOKENS = "1,5,300,17,260,261,9,300,5,42,77,310"


class Budget(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.TemporaryDirectory(dir="/var/tmp")
        self.addCleanup(self.folder.cleanup)

    def make(self, kind, skew):
        path = os.path.join(self.folder.name, f"{kind}.gguf")
        subprocess.run([MAKE_MOE, path, "tiny", kind, skew], check=True)
        return path

    def logits(self, path, *options):
        command = [RUN, path, "logits", "--tokens", TOKENS, "--context", "64", *options]
        return subprocess.run(command, capture_output=True, text=True, check=False)

    def test_same_logits(self):
        for kind, skew in (("q8_0", "0"), ("q4_0", "1"), ("f16", "2")):
            with self.subTest(kind):
                path = self.make(kind, skew)
                free = self.logits(path)
                self.assertEqual(free.returncode, 0, free.stderr)
                refused = self.logits(path, "--memory", "1K")
                self.assertEqual(refused.returncode, 1)
                least = re.search(r"it needs (\d+) at least", refused.stderr)
                self.assertTrue(least, refused.stderr)
                for budget in (int(least[1]), int(least[1]) + 100000, 1 << 30):
                    bounded = self.logits(path, "--memory", str(budget))
                    self.assertEqual(bounded.returncode, 0, bounded.stderr)
                    self.assertEqual(bounded.stdout, free.stdout)

    def test_bad_sizes(self):
        path = self.make("q8_0", "0")
        for size in ("0", "-1", "1GB", "x", "", "99999999T"):
            self.assertEqual(self.logits(path, "--memory", size).returncode, 2, size)


if __name__ == "__main__":
    unittest.main(argv=[sys.argv[0]])
