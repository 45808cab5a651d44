#!/usr/bin/python3
"""Greedy answers of the runtime against the reference's (tests/golden/prompts, made by train/prompts.py):
all alike in f32, nearly all with int8 activations. The goal for int8 is 98%; the shipped weights, whose quantisation-aware stage
was a single step, reach 96.0%, so this guards what they have."""

import json
import os
import subprocess
import sys

run, helper, model, folder = sys.argv[1:5]
LEAST_PROMPTS = 200
LEAST_INT8 = 0.98


def answers(prompts, precision):
    jobs = ""
    for i, p in enumerate(prompts):
        path = os.path.join(folder, p["file"]) if p["file"] else None
        media = {} if path is None else {"images": [path]} if path.endswith(".webp") else {"audios": [path]}
        jobs += json.dumps({"id": i, "op": "ask", "text": p["question"], "max_tokens": 24, **media}) + "\n"
    out = subprocess.run([run, model, "batch", "--precision", precision], input=jobs, capture_output=True, text=True, check=True,
                         env={**os.environ, "PERCEPT_MEDIA": helper})
    said = [None] * len(prompts)
    for line in out.stdout.splitlines():
        r = json.loads(line)
        said[r["id"]] = r.get("text", r.get("error"))
    return said


with open(os.path.join(folder, "prompts.json")) as f:
    prompts = json.load(f)
assert len(prompts) >= LEAST_PROMPTS, f"only {len(prompts)} prompts"
failed = False
for precision, least in (("f32", 1.0), ("int8", LEAST_INT8)):
    said = answers(prompts, precision)
    wrong = [(p, s) for p, s in zip(prompts, said) if s != p["answer"]]
    share = 1 - len(wrong) / len(prompts)
    print(f"{precision}: {len(prompts) - len(wrong)} of {len(prompts)} answers as the reference's ({100 * share:.1f}%)")
    for p, s in wrong[:12]:
        print(f"  {p['file']} {p['question']!r}: {s!r}, reference {p['answer']!r}, lead {p['lead']}")
    failed |= share < least
sys.exit(failed)
