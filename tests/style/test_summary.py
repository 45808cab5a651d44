#!/usr/bin/python3
"""The last line of ./dev test counts what meson's log says, and an empty run is no success."""

import json
import os
import subprocess
import sys
import tempfile
import unittest

SUMMARY = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "summary.py")


def summary(results):
    with tempfile.NamedTemporaryFile("w", suffix=".json", encoding="utf-8") as log:
        for result in results:
            log.write(json.dumps({"name": "x", "result": result}) + "\n")
        log.flush()
        run = subprocess.run([sys.executable, SUMMARY, log.name], capture_output=True, text=True,
                             check=False)
    return run.stdout, run.returncode


class SummaryTest(unittest.TestCase):
    def test_all_passed(self):
        self.assertEqual(summary(["OK", "OK"]), ("2 passed, 0 failed, 0 skipped\n", 0))

    def test_skipped_is_not_failed(self):
        self.assertEqual(summary(["OK", "SKIP"]), ("1 passed, 0 failed, 1 skipped\n", 0))

    def test_whatever_else_is_failed(self):
        for result in ("FAIL", "ERROR", "TIMEOUT", "INTERRUPT", "UNEXPECTEDPASS"):
            self.assertEqual(summary(["OK", result]), ("1 passed, 1 failed, 0 skipped\n", 1))

    def test_nothing_passed(self):
        self.assertEqual(summary([]), ("0 passed, 0 failed, 0 skipped\n", 1))


if __name__ == "__main__":
    unittest.main()
