#!/usr/bin/python3
"""perceptctl doctor finds the usual mistakes and says what helps.

usage: test_doctor.py PERCEPTCTL FAKE PERCEPTD HELPER FIXTURES [MODEL]
"""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import unittest

import fixture
from service import Paths

BUS = """<busconfig>
  <type>{kind}</type>
  <listen>unix:dir={folder}</listen>
  <auth>EXTERNAL</auth>
  <servicedir>{folder}</servicedir>
  <policy context="default">
    <allow user="*"/>
    <allow own="*"/>
    <allow send_type="signal"/>
    <allow send_requested_reply="true" send_type="method_return"/>
    <allow send_requested_reply="true" send_type="error"/>
    <allow receive_type="method_call"/>
    <allow receive_type="method_return"/>
    <allow receive_type="error"/>
    <allow receive_type="signal"/>
    <allow send_destination="org.freedesktop.DBus"/>
    {policy}
  </policy>
</busconfig>
"""


class Doctor(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.mkdtemp(prefix="perceptd-doctor-")
        self.addCleanup(shutil.rmtree, self.folder)
        os.environ["STATE_DIRECTORY"] = os.path.join(self.folder, "state")

    def bus(self, kind="session", policy="<allow send_destination='*'/>"):
        config = os.path.join(self.folder, "bus.conf")
        with open(config, "w", encoding="utf-8") as file:
            file.write(BUS.format(kind=kind, folder=self.folder, policy=policy))
        daemon = self.process(["dbus-daemon", f"--config-file={config}", "--nofork",
                               "--print-address=1"], stdout=subprocess.PIPE, text=True)
        self.addCleanup(daemon.stdout.close)
        return daemon.stdout.readline().strip()

    def process(self, command, **kwargs):
        process = subprocess.Popen(command, **kwargs)
        self.addCleanup(process.wait)
        self.addCleanup(process.kill)
        return process

    def service(self, address, *command):
        process = self.process(command or [FAKE, address], stderr=subprocess.DEVNULL)
        connection = fixture.dbus.bus.BusConnection(address)
        self.addCleanup(connection.close)
        end = time.monotonic() + 20
        while not connection.name_has_owner(fixture.NAME):
            self.assertLess(time.monotonic(), end, "the service did not start")
            time.sleep(0.02)
        return process

    def perceptd(self, address, *options):
        return self.service(address, Paths.perceptd, f"--bus={address}", "--config=/dev/null",
                            *options)

    def service_file(self, command):
        with open(os.path.join(self.folder, fixture.NAME + ".service"), "w",
                  encoding="utf-8") as file:
            file.write(f"[D-BUS Service]\nName={fixture.NAME}\nExec={command}\nUser=root\n")

    def doctor(self, *options, status=1, session="unix:path=/nowhere",
               system="unix:path=/nowhere"):
        run = subprocess.run([CTL, *options, "doctor"], capture_output=True, text=True, timeout=100,
                             check=False, env={**os.environ, "DBUS_SESSION_BUS_ADDRESS": session,
                                               "DBUS_SYSTEM_BUS_ADDRESS": system})
        self.assertEqual(run.returncode, status, run)
        return run.stdout

    def assertAdvice(self, text, what, advice):
        """A failure of this kind, and behind it the line that says what helps."""
        lines = text.splitlines()
        at = [i for i, line in enumerate(lines) if line.startswith("FAIL  " + what)]
        self.assertTrue(any(advice in lines[i + 1] for i in at), text)

    def test_no_bus_at_all(self):
        text = self.doctor()
        self.assertAdvice(text, "bus", "There is no session")
        self.assertAdvice(text, "bus", "systemctl start dbus")
        self.assertAdvice(self.doctor("--address=unix:path=/nowhere"), "bus", "address right")

    def test_not_installed(self):
        text = self.doctor(session=self.bus())
        self.assertAdvice(text, "bus", "perceptd --bus=session")
        text = self.doctor("--system", system=self.bus())
        self.assertAdvice(text, "bus", "systemctl reload dbus")
        self.assertNotIn("There is no session", text)

    def test_no_permission(self):
        """The bus of a system whose policy for the service is missing, or was not loaded."""
        address = self.bus("system", "")
        process = self.process([FAKE, address])
        time.sleep(0.3)
        self.assertIsNone(process.poll())
        text = self.doctor("--system", system=address)
        self.assertIn("AccessDenied", text)
        self.assertAdvice(text, "bus", "olicy file")

    def test_cannot_start(self):
        self.service_file("/bin/false")
        text = self.doctor("--user", session=self.bus())
        self.assertAdvice(text, "bus", "systemctl --user status perceptd")

    def test_hangs(self):
        address = self.bus()
        self.service(address).send_signal(signal.SIGSTOP)
        begin = time.monotonic()
        text = self.doctor("--user", session=address)
        self.assertLess(time.monotonic() - begin, 20)
        self.assertAdvice(text, "bus", "systemctl --user restart perceptd")

    def test_no_model(self):
        address = self.bus()
        self.perceptd(address, "--model=nothing-by-this-name", f"--media-helper={Paths.helper}")
        text = self.doctor("--user", session=address)
        self.assertAdvice(text, "first text", "percept-spark-model")
        self.assertNotIn("answer", text, "one mistake is told once")

    def test_no_media_helper(self):
        if not Paths.model:
            self.skipTest("there is no model")
        address = self.bus()
        self.perceptd(address, f"--model={Paths.model}", "--media-helper=/nowhere")
        text = self.doctor("--user", session=address)
        self.assertAdvice(text, "picture", "percept-media")
        self.assertIn("ok    answer", text)

    def test_all_is_well(self):
        if not Paths.model:
            self.skipTest("there is no model")
        address = self.bus()
        self.perceptd(address, f"--model={Paths.model}", f"--media-helper={Paths.helper}")
        text = self.doctor(status=0, session=address)
        self.assertTrue(text.endswith("All is well.\n"), text)
        self.assertIn("on the session bus", subprocess.run(
            [CTL, "status"], capture_output=True, text=True, check=True,
            env={**os.environ, "DBUS_SESSION_BUS_ADDRESS": address}).stdout)

    def test_damaged_index(self):
        if not Paths.model:
            self.skipTest("there is no model")
        folder = os.path.join(os.environ["STATE_DIRECTORY"], f"u{os.geteuid()}")
        os.makedirs(folder, 0o700)
        os.chmod(os.environ["STATE_DIRECTORY"], 0o700)
        with open(os.path.join(folder, "index.db"), "wb") as file:
            file.write(b"no database " * 1000)
        address = self.bus()
        self.perceptd(address, f"--model={Paths.model}", f"--media-helper={Paths.helper}")
        self.assertAdvice(self.doctor("--user", session=address), "index", "perceptctl purge")


if __name__ == "__main__":
    CTL, FAKE = map(os.path.abspath, sys.argv[1:3])
    del sys.argv[1:3]
    Paths.take(need_model=False)
    unittest.main(verbosity=2)
