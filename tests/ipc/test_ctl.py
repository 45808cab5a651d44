#!/usr/bin/python3
"""perceptctl, against the service without a model.

usage: test_ctl.py PERCEPTCTL FAKE
"""

import json
import os
import pty
import signal
import subprocess
import sys
import tempfile
import unittest

from fixture import ServiceTest


class Ctl(ServiceTest):
    @classmethod
    def command(cls, bus):
        return [FAKE, bus.address]

    def run_ctl(self, *args, bus=None, **kwargs):
        return subprocess.run([CTL, bus or f"--address={self.bus.address}", *args], timeout=30,
                              capture_output=True, text=True, check=False, **kwargs)

    def good(self, *args):
        found = self.run_ctl(*args)
        self.assertEqual((found.returncode, found.stderr), (0, ""))
        return found.stdout

    def bad(self, status, *args, **kwargs):
        found = self.run_ctl(*args, **kwargs)
        self.assertEqual(found.returncode, status, found)
        self.assertEqual(found.stdout, "")
        return found.stderr

    def test_status(self):
        shown = self.good("status")
        self.assertIn(f"process {self.service.pid}\n", shown)
        self.assertIn("  model:    ready", shown)
        self.assertRegex(shown, r"  queue:    0 in work\n  memory:   [1-9][0-9.]* MiB, of which ")
        found = json.loads(self.good("status", "--json"))
        self.assertEqual(found["State"], "ready")
        self.assertEqual(found["Process"], self.service.pid)
        self.assertGreater(found["ResidentBytes"], found["MappedBytes"])

    def test_doctor(self):
        """The fake embeds no pictures; all else is well."""
        found = self.run_ctl("doctor")
        self.assertRegex(found.stdout, r"(?m)^ok    bus +a private bus \([0-9.]+ ms\)$")
        self.assertRegex(found.stdout, r"(?m)^ok    answer +a question was answered")

    def test_ask(self):
        self.assertEqual(self.good("ask", "say Grüße, Welt"), "Grüße, Welt\n")
        answer = json.loads(self.good("ask", "--json", "say a \"b\"\n"))
        self.assertEqual(answer["text"], "a \"b\"\n")
        self.assertEqual(answer["info"]["model"], "fake")
        with tempfile.NamedTemporaryFile() as file:
            file.write(b"x" * 77)
            file.flush()
            self.assertEqual(self.good("ask", "-i", file.name, "read"), "77 bytes\n")
        self.good("ask", "--detail", "--effort=-0.5", "--max-tokens=5", "--temperature=1",
                  "--seed=7", "--instructions=be brief", "say ok")

    def test_errors(self):
        self.assertEqual(self.bad(1, "ask", "refuse"),
                         "perceptctl: ModelUnavailable: No model is installed.\n")
        self.assertEqual(self.bad(1, "ask", "fail"),
                         "perceptctl: DecodeFailed: The picture is damaged: \ufffd.\n")
        self.assertIn("The question is empty", self.bad(1, "ask", ""))
        self.assertIn("No such file", self.bad(1, "ask", "-i", "/nowhere", "read"))
        for args in ([], ["ask"], ["ask", "a", "b"], ["embed"], ["similar", "a"], ["classify", "a"],
                     ["dance"], ["ask", "--effort=7", "x"], ["ask", "--max-tokens=x", "x"],
                     ["--colour"]):
            with self.subTest(args=args):
                self.bad(2, *args)
        self.bad(1, "status", bus="--address=unix:path=/nowhere")
        nowhere = {"DBUS_SESSION_BUS_ADDRESS": "unix:path=/nowhere",
                   "DBUS_SYSTEM_BUS_ADDRESS": "unix:path=/nowhere"}
        found = subprocess.run([CTL, "status"], capture_output=True, text=True, check=False,
                               env={**os.environ, **nowhere})
        self.assertEqual(found.returncode, 1)
        self.assertIn("neither on the session bus nor on the system bus", found.stderr)

    def test_finds_the_bus(self):
        environment = {**os.environ, "DBUS_SESSION_BUS_ADDRESS": "unix:path=/nowhere",
                       "DBUS_SYSTEM_BUS_ADDRESS": self.bus.address}
        found = subprocess.run([CTL, "status"], capture_output=True, text=True, check=False,
                               env=environment)
        self.assertIn("on the system bus", found.stdout)

    def test_vectors(self):
        lines = self.good("embed", "abcd", "ab").splitlines()
        self.assertEqual([len(line.split()) for line in lines], [256, 256])
        found = json.loads(self.good("embed", "abcd", "--json"))
        self.assertEqual(len(found["vectors"][0]), 256)
        self.assertEqual(found["info"]["digest"], "0000")

    def test_classify_and_similar(self):
        with tempfile.NamedTemporaryFile() as file:
            self.assertEqual(self.good("classify", file.name, "x", "y"), "1.0000  y\n0.5000  x\n")
            found = json.loads(self.good("classify", "--json", file.name, "x", "y"))
            self.assertEqual(found["scores"][0], {"label": "y", "score": 1})
            lines = self.good("similar", file.name, "ab", "cd").splitlines()
            self.assertEqual(len(lines), 3)
            self.assertEqual(len(json.loads(self.good("similar", "--json", "ab", "cd"))["pairs"]), 1)

    def on_terminal(self, *args):
        """Everything that reaches a terminal."""
        pid, terminal = pty.fork()
        if pid == 0:
            os.execv(CTL, [CTL, f"--address={self.bus.address}", *args])
        found = b""
        while True:
            try:
                data = os.read(terminal, 4096)
            except OSError:
                break
            if not data:
                break
            found += data
        os.waitpid(pid, 0)
        os.close(terminal)
        return found.decode()

    def test_spinner_only_on_a_terminal(self):
        found = self.on_terminal("ask", "later here it is")
        self.assertIn("\r\033[K", found)
        self.assertTrue(found.endswith("\033[Khere it is\r\n"), repr(found))
        self.assertNotIn("\033", self.good("ask", "say here it is"))

    def test_terminal_is_not_commanded(self):
        evil = "1b5d303b6f776e65640763c29b"  # ESC ] 0;owned BEL c U+009B
        self.assertTrue(self.on_terminal("ask", "raw " + evil).endswith("?]0;owned?c?\r\n"))
        self.assertIn("\x1b]0;", self.good("ask", "raw " + evil), "other readers get it as it is")

    def test_interrupt_cancels(self):
        before = str(self.client.property("DegradedReason"))
        with subprocess.Popen([CTL, f"--address={self.bus.address}", "ask", "hang"]) as ctl:
            self.eventually(lambda: self.client.property("QueueDepth") == 1)
            ctl.send_signal(signal.SIGINT)
            self.assertEqual(ctl.wait(), -signal.SIGINT)
        self.eventually(lambda: str(self.client.property("DegradedReason")) != before)
        self.assertEqual(self.client.property("QueueDepth"), 0)


if __name__ == "__main__":
    CTL, FAKE = sys.argv[1:3]
    del sys.argv[1:3]
    unittest.main(verbosity=2)
