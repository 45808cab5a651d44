"""percept-run on models that read text alone.

    test_run.py PERCEPT_RUN FOLDER_OF_FIXTURES
"""

import json
import os
import subprocess
import sys
import unittest

RUN, FOLDER = sys.argv[1:3]


def run(*args):
    return subprocess.run([RUN, *args], capture_output=True, timeout=60)


class TextModels(unittest.TestCase):
    def model(self, name):
        return os.path.join(FOLDER, name + ".gguf")

    def out(self, *args):
        p = run(*args)
        self.assertEqual(p.returncode, 0, p.stderr)
        return p.stdout.decode()    # whole characters

    def refused(self, status, mention, *args):
        p = run(*args)
        self.assertEqual(p.returncode, status, p.stderr)
        self.assertIn(mention, p.stderr.decode())
        self.assertEqual(p.stdout, b"")

    def test_generate(self):
        for name in ("qwen3moe", "olmoe", "tied"):
            m = self.model(name)
            short = self.out(m, "-p", "Why?", "--max-tokens", "5")
            self.assertIn(len(short.rstrip("\n")), range(1, 6))    # a character each, specials none
            long = self.out(m, "generate", "Why?", "--max-tokens", "30")
            self.assertTrue(long.startswith(short.rstrip("\n")))
            self.assertEqual(long, self.out(m, "generate", "--raw", "--prompt", "Why?", "--max-tokens", "30"))

    def test_context(self):
        m = self.model("qwen3moe")
        # The prompt takes four: the token that begins a text, the blank in front, and two.
        self.assertLessEqual(len(self.out(m, "-p", "ab", "--context", "6").rstrip("\n")), 3)
        self.refused(1, "does not fit", m, "-p", "abcdef", "--context", "6")
        self.assertLessEqual(len(self.out(m, "-p", "ab", "--max-tokens", "100000").rstrip("\n")), 509)

    def logits(self, *args):
        return [float(x) for x in self.out(*args).split()]

    def test_cache(self):
        args = (self.model("qwen3moe"), "logits", "--precision", "f32", "--tokens", ",".join(map(str, range(1, 90))))
        exact = self.logits(*args)
        self.assertEqual(exact, self.logits(*args, "--cache", "f32"))
        errors = [0]
        for cache in ("f16", "q8"):
            other = self.logits(*args, "--cache", cache)
            error = sum((a - b) ** 2 for a, b in zip(exact, other)) / sum(a * a for a in exact)
            self.assertGreater(error ** 0.5, errors[-1])    # each keeps less
            errors.append(error ** 0.5)
        self.assertLess(errors[1], 2e-3)
        # In transformers, rounding keys and values alone to eight bits costs these logits 1.5e-2.
        self.assertLess(errors[2], 4e-2)

    def test_info(self):
        info = json.loads(self.out(self.model("qwen3moe"), "info", "--json"))
        self.assertEqual(info["family"], "qwen3moe")
        self.assertEqual((info["heads"], info["groups"], info["experts"]), (6, 2, 8))
        self.assertEqual(info["experts_active"], 3)
        self.assertNotIn("group_share", info)
        self.assertIn("6 over 2 key heads", self.out(self.model("qwen3moe"), "info"))

    def test_bench(self):
        bench = json.loads(self.out(self.model("olmoe"), "bench", "-p", "16", "-n", "4", "-r", "1", "--json"))
        self.assertEqual(bench["prefill"]["rows"], 16)
        self.assertEqual(bench["decode"]["experts_active"], 4)

    def test_refused(self):
        m = self.model("qwen3moe")
        self.refused(1, "read text alone", m, "generate", "-i", "x.png", "What?")
        self.refused(1, "no gates", m, "generate", "--effort", "1", "What?")
        self.refused(1, "no gates", m, "bench", "--route", "all")
        self.refused(1, "family qwen3moe", m, "embed", "What?")
        self.refused(1, "--system", m, "generate", "--system", "Be brief.", "What?")
        self.refused(2, "twice", m, "generate", "-p", "What?", "Why?")
        self.refused(2, "question", m, "-p", "")
        self.refused(2, "whole number", m, "bench", "-p", "Why?")
        self.refused(2, "--cache takes auto, f32, f16 or q8", m, "-p", "x", "--cache", "q2")
        self.refused(1, "multiple of 32", self.model("olmoe"), "-p", "x", "--cache", "q8")
        self.refused(2, "--raw means nothing to bench", m, "bench", "--raw")


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1])
