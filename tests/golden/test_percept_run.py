"""percept-run on the shipped model and real files.

    test_percept_run.py PERCEPT_RUN MODEL FIXTURES
"""

import json
import math
import os
import struct
import subprocess
import sys
import tempfile
import unittest

RUN, MODEL, FIXTURES = sys.argv[1:4]

# The share of the fixtures' questions that must get the answer word by word.
ANSWERED = 0.7


def run(*args, **options):
    p = subprocess.run([RUN, MODEL, *args], capture_output=True, text=True, timeout=120, **options)
    if p.returncode != 0:
        raise AssertionError(f"{args}: {p.stderr}")
    return p.stdout


def batch(jobs, *args):
    lines = "".join(job if isinstance(job, str) else json.dumps(job) + "\n" for job in jobs)
    return [json.loads(line) for line in run("batch", *args, input=lines).splitlines()]


def path(name):
    return os.path.join(FIXTURES, name)


def media(name):
    audio = name.rsplit(".", 1)[1] in ("wav", "flac", "ogg")
    return {"audios" if audio else "images": [path(name)]}


def cosine(a, b):
    return sum(x * y for x, y in zip(a, b)) / math.sqrt(sum(x * x for x in a) * sum(y * y for y in b))


class PerceptRun(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        with open(path("fixtures.json")) as f:
            cls.fixtures = json.load(f)
        cls.jobs, cls.expected = [], []
        for fixture in cls.fixtures:
            for question in fixture["questions"]:
                cls.jobs.append({"id": len(cls.jobs), "text": question["question"], "max_tokens": 40,
                                 **media(fixture["file"])})
                cls.expected.append(question["answer"])

    def test_answers(self):
        answers = {a["id"]: a for a in batch(self.jobs)}
        self.assertEqual(len(answers), len(self.jobs))
        right = sum(answers[i]["text"].strip() == text for i, text in enumerate(self.expected))
        self.assertGreaterEqual(right / len(self.jobs), ANSWERED)
        for a in answers.values():
            self.assertTrue(0 <= a["groups_active"] <= 7 and 0 <= a["experts_active"] <= 8)

    def test_company(self):
        """An answer does not depend on what else is asked, nor on threads."""
        few = self.jobs[::5]
        alone = [batch([job], "-t", "1")[0] for job in few]
        for together in batch(few), batch(few[::-1], "-t", "2"):
            self.assertEqual(sorted(together, key=lambda a: a["id"]), alone)
        job = few[0]
        text = run("generate", "-i", job["images"][0], "--max-tokens", "40", job["text"])
        self.assertEqual(text, alone[0]["text"] + "\n")

    def test_routes(self):
        job = self.jobs[0]
        gates, every = batch([job, {**job, "id": "all", "route": "all"}])
        if gates["id"] == "all":
            gates, every = every, gates
        self.assertEqual(every["groups_active"], 7)
        self.assertEqual(every["experts_active"], 4)
        self.assertLess(gates["groups_active"], 7)
        self.assertLess(gates["parameters_active"], every["parameters_active"])
        less, more = (batch([{**job, "effort": effort}])[0] for effort in (-1, 1))
        self.assertLess(less["groups_active"], more["groups_active"])

    def test_embed(self):
        jobs = [{"id": i, "op": "embed", **media(f["file"])} for i, f in enumerate(self.fixtures)]
        jobs.append({"id": "text", "op": "embed", "text": "a red circle"})
        vectors = {a["id"]: a["vector"] for a in batch(jobs)}
        f32 = {a["id"]: a["vector"] for a in batch(jobs, "--precision", "f32")}
        for i, v in vectors.items():
            self.assertEqual(len(v), 256)
            self.assertAlmostEqual(math.hypot(*v), 1, places=5)
            self.assertGreater(cosine(v, f32[i]), 0.99)
        printed = [float(x) for x in run("embed", "a red circle").split()]
        self.assertGreater(cosine(printed, vectors["text"]), 0.999999)

    def test_refusals(self):
        with tempfile.NamedTemporaryFile(suffix=".jpg") as text:
            text.write(b"this is no picture")
            text.flush()
            jobs = [
                "no JSON at all\n", "[1, 2]\n", "{\"id\": 1, \"text\": \"\\ud800\"}\n", "\n",
                {"id": "empty"},
                {"id": "op", "op": "sing", "text": "x"},
                {"id": "effort", "text": "x", "effort": 1.5},
                {"id": "detail", "text": "x", "detail": "huge"},
                {"id": "route", "text": "x", "route": "some"},
                {"id": "tokens", "text": "x", "max_tokens": 0},
                {"id": "files", "text": "x", "images": ["a"] * 17},
                {"id": "list", "text": "x", "images": "a.png"},
                {"id": "missing", "text": "x", "images": ["/nonexistent.png"]},
                {"id": "text", "text": "x", "images": [text.name]},
                {"id": "long", "text": "word " * 5000},
                {"id": "both", "op": "embed", "text": "x", **media("shapes.jpg")},
                {"id": "fine", "text": "What is shown?", **media("shapes.jpg")},
            ]
            answers = batch(jobs)
        self.assertEqual(len(answers), len(jobs) - 1)   # the empty line is none
        for a in answers:
            self.assertEqual("error" in a, a.get("id") != "fine", a)

    def test_no_helper(self):
        """The blame is not the picture's."""
        p = subprocess.run([RUN, MODEL, "embed", "-i", path("shapes.jpg")], capture_output=True, text=True,
                           timeout=120, env={**os.environ, "PERCEPT_MEDIA": "/nonexistent/helper"})
        self.assertEqual(p.returncode, 1)
        self.assertIn("cannot start /nonexistent/helper: No such file or directory", p.stderr)
        self.assertNotIn("shapes.jpg", p.stderr)

    def test_density(self):
        with tempfile.TemporaryDirectory() as folder:
            out = os.path.join(folder, "map.png")
            run("density", path("shapes-large.jpg"), "-o", out)
            with open(out, "rb") as f:
                head = f.read(24)
        self.assertEqual(head[:8], b"\x89PNG\r\n\x1a\n")
        width, height = struct.unpack(">II", head[16:24])
        self.assertTrue(width > 1200 and height > 200)

    def test_bench(self):
        args = ["bench", "--json", "-r", "1", "-p", "64", "-n", "8", "--depth", "512",
                "--image", path("shapes.jpg"), "--detail", "high"]
        gates, every = json.loads(run(*args)), json.loads(run(*args, "--route", "all"))
        for b in gates, every:
            self.assertGreater(b["load_msec"], 0)
            self.assertGreater(b["peak_memory_bytes"], os.path.getsize(MODEL) // 4)
            self.assertGreater(b["encoder_msec"], 0)
            self.assertEqual((b["prefill"]["rows"], b["decode"]["rows"]), (64, 8))
            for phase in "image", "prefill", "decode":
                self.assertGreater(b[phase]["tokens_per_second"], 0)
        for phase in "image", "prefill", "decode":
            for figure in "weight_bytes_per_token", "kv_bytes_per_token", "active_share":
                self.assertLess(gates[phase][figure], every[phase][figure])


if not os.path.exists(MODEL):
    print(f"skipped: no {MODEL}")
    sys.exit(77)
if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1])
