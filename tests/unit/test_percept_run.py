"""percept-run as its users meet it: refusals say what is wrong, numbers are numbers.

    test_percept_run.py PERCEPT_RUN WRITE_TINY
"""

import json
import os
import subprocess
import sys
import tempfile
import unittest

RUN, WRITE_TINY = sys.argv[1:3]


def run(*args, **options):
    return subprocess.run([RUN, *args], capture_output=True, text=True, timeout=60, **options)


class PerceptRun(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.TemporaryDirectory()
        cls.model = os.path.join(cls.folder.name, "tiny.gguf")
        subprocess.run([WRITE_TINY, cls.model], check=True)

    @classmethod
    def tearDownClass(cls):
        cls.folder.cleanup()

    def refused(self, status, mention, *args, **options):
        p = run(*args, **options)
        self.assertEqual(p.returncode, status, p.stderr)
        self.assertIn(mention, p.stderr)
        self.assertEqual(p.stdout, "")

    def test_help(self):
        for args in ((), ("--help",)):
            p = run(*args)
            self.assertEqual(p.returncode, 0)
            self.assertIn("generate", p.stdout)

    def test_arguments(self):
        m = self.model
        self.refused(2, "no command", m)
        self.refused(2, "no command 'shout'", m, "shout")
        self.refused(2, "no command 'gen'", m, "gen")
        self.refused(2, "--nonsense", m, "info", "--nonsense")
        self.refused(2, "--effort", m, "generate", "--effort", "2", "What?")
        self.refused(2, "--effort", m, "generate", "--effort", "nan", "What?")
        self.refused(2, "--detail", m, "generate", "--detail", "huge", "What?")
        self.refused(2, "--precision", m, "generate", "--precision", "f16", "What?")
        self.refused(2, "--threads", m, "info", "-t", "1.5")
        self.refused(2, "--max-tokens", m, "generate", "--max-tokens", "-1", "What?")
        self.refused(2, "--seed", m, "generate", "--seed", "-1", "What?")
        self.refused(2, "--isa", m, "info", "--isa", "mmx")
        self.refused(2, "--json means nothing to generate", m, "generate", "--json", "What?")
        self.refused(2, "--tokens means nothing to embed", m, "embed", "--tokens", "1", "What?")
        self.refused(2, "question", m, "generate")
        self.refused(2, "question", m, "generate", "")
        self.refused(2, "--tokens", m, "logits")
        self.refused(2, "one text or one file", m, "embed")
        self.refused(2, "unexpected", m, "generate", "What?", "And?")
        self.refused(2, "at most 16 files", m, "generate", *["-i", "x.png"] * 17, "What?")

    def test_model(self):
        self.refused(1, "No such file", "/nonexistent.gguf", "info")
        self.refused(1, RUN, RUN, "info")   # not a weight file; the message names it
        with open(self.model, "rb") as f:
            data = f.read()
        cut = os.path.join(self.folder.name, "cut.gguf")
        for size in (0, 3, 24, 1000, len(data) // 2, len(data) - 1):
            with open(cut, "wb") as f:
                f.write(data[:size])
            self.refused(1, cut, cut, "info")

    def test_logits(self):
        p = run(self.model, "logits", "--tokens", "1,70,71,72")
        self.assertEqual(p.returncode, 0, p.stderr)
        one = [float(x) for x in p.stdout.split()]
        self.assertEqual(len(one), 264)
        for threads in "1", "2":
            again = run(self.model, "logits", "--tokens", "1,70,71,72", "-t", threads)
            self.assertEqual(again.stdout, p.stdout)

        def error(*args):
            p = run(self.model, "logits", "--tokens", "1,70,71,72", *args)
            other = [float(x) for x in p.stdout.split()]
            return sum((a - b) ** 2 for a, b in zip(one, other)) / sum(a * a for a in one)

        self.assertTrue(0 < error("--precision", "f32") < 0.01)
        for isa in "plain", "avx2", "avx512", "native":
            self.assertLess(error("--isa", isa), 1e-4)

        for tokens in "1,", "1,x", "-1", "1,,2", "99999999999", ",".join("8" * 129):
            self.refused(1, "--tokens", self.model, "logits", "--tokens", tokens)
        self.refused(1, "tokens", self.model, "logits", "--tokens", "264")

    def test_info(self):
        p = run(self.model, "info", "--json")
        self.assertEqual(p.returncode, 0, p.stderr)
        info = json.loads(p.stdout)
        self.assertEqual(info["bytes"], os.path.getsize(self.model))
        self.assertEqual(info["parameters"] - info["decoder_parameters"], 264 * 64 + 64)
        self.assertTrue(0 < info["active_share"] < 1)
        digest = subprocess.run(["sha256sum", self.model], capture_output=True, text=True).stdout.split()[0]
        self.assertEqual(info["digest"], digest)
        self.assertIn(digest, run(self.model, "info").stdout)

    def test_no_encoders(self):
        """The tiny model has a decoder only: what needs an encoder says what is missing."""
        self.refused(1, "percept.encoder", self.model, "embed", "a red circle")
        self.refused(1, "percept.encoder", self.model, "generate", "What?")


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1])
