"""The whole program on emulated older processors: it picks the kernels that they have, runs no instruction that they
have not, and says what it says here with the same kernels.

    test_older.py PERCEPT_RUN QEMU FOLDER_OF_FIXTURES FOLDER_OF_MEDIA [MODEL]
"""

import json
import os
import subprocess
import sys
import unittest

RUN, QEMU, FOLDER, MEDIA, *MODEL = sys.argv[1:]

# An x86-64 without AVX, and one with AVX2 and no AVX-512.
PROCESSORS = (("Nehalem", "plain"), ("Haswell", "avx2"))


def here(*args):
    return subprocess.run([RUN, *args], stdout=subprocess.PIPE, timeout=120, check=True).stdout


def there(cpu, *args):
    return subprocess.run([QEMU, "-cpu", cpu, RUN, *args], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
                          timeout=240, check=True).stdout


class Older(unittest.TestCase):
    def same(self, *args):
        for cpu, kernels in PROCESSORS:
            expected = here(*args, "--isa", kernels)
            self.assertTrue(expected.strip())
            self.assertEqual(there(cpu, *args), expected, (cpu, args))

    def test_kernels(self):
        for cpu, kernels in PROCESSORS:
            info = json.loads(there(cpu, os.path.join(FOLDER, "qwen3moe.gguf"), "info", "--json"))
            self.assertTrue(info["engine"].startswith(kernels + ","), info["engine"])

    def test_families(self):
        for name, options in (("qwen3moe", []), ("qwen3moe", ["--precision", "f32"]),
                              ("olmoe", ["--temperature", "2", "--seed", "3"]), ("tied", ["--cache", "q8"])):
            self.same(os.path.join(FOLDER, name + ".gguf"), "generate", "Why? " * 5, "--max-tokens", "10", *options)

    @unittest.skipUnless(MODEL, "there is no model")
    def test_model(self):
        for precision in "int8", "f32":
            self.same(MODEL[0], "embed", "two red circles", "--precision", precision)
        self.same(MODEL[0], "generate", "-i", os.path.join(MEDIA, "shapes.jpg"), "What is in the picture?",
                  "--max-tokens", "8")
        self.same(MODEL[0], "embed", "-a", os.path.join(MEDIA, "speech.wav"))


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1], verbosity=2)
