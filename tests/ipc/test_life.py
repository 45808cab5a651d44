#!/usr/bin/python3
"""From start to end: systemd's protocol, configuration, signals, a bus that goes away. The model is not needed to
start, so most of this runs without one.

usage: test_life.py PERCEPTD HELPER FIXTURES [MODEL]
"""

import os
import re
import signal
import socket
import subprocess
import tempfile
import time
import unittest

import dbus

from fixture import ERROR, NAME, Bus, Client, ServiceTest
from service import Paths


class Life(ServiceTest):
    """A bus for each test, and a daemon that talks to a socket of ours instead of systemd's."""

    @classmethod
    def setUpClass(cls):
        pass

    @classmethod
    def tearDownClass(cls):
        pass

    def setUp(self):
        self.bus = Bus()
        self.addCleanup(self.close_bus)
        self.folder = tempfile.mkdtemp(prefix="perceptd-life-")
        self.config = os.path.join(self.folder, "perceptd.conf")
        self.configure("")
        self.notify = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.notify.bind(os.path.join(self.folder, "notify"))
        self.notify.settimeout(20)
        self.addCleanup(self.notify.close)

    def close_bus(self):
        if self.bus.daemon.poll() is None:
            self.bus.close()

    def configure(self, text):
        with open(self.config, "w", encoding="utf-8") as file:
            file.write(text)

    def start(self, *options, **environment):
        environment = {**os.environ, "NOTIFY_SOCKET": os.path.join(self.folder, "notify"),
                       **environment}
        self.service = subprocess.Popen(
            [Paths.perceptd, f"--bus={self.bus.address}", f"--config={self.config}",
             f"--media-helper={Paths.helper}", *options], env=environment,
            stderr=subprocess.PIPE, text=True)
        self.addCleanup(self.service.stderr.close)
        self.addCleanup(self.service.wait)
        self.addCleanup(self.service.kill)

    def told(self):
        """The next message to systemd as a dictionary."""
        return dict(line.split("=", 1) for line in self.notify.recv(4096).decode().splitlines())

    def until(self, key):
        while key not in (message := self.told()):
            pass
        return message

    def status(self, pattern):
        """Waits for a status; what is over quickly, as loading a small model, may not be told."""
        while not re.match(pattern, self.until("STATUS")["STATUS"]):
            pass

    def client_of_ours(self):
        client = Client(self.bus)
        self.addCleanup(client.close)
        return client

    def end(self, status=0):
        """Waits for it; returns what it has logged."""
        text = self.service.communicate(timeout=30)[1]
        self.assertEqual(self.service.returncode, status, text)
        return text

    def model_option(self):
        if not Paths.model:
            self.skipTest("no model")
        return f"--model={Paths.model}"

    def test_ready_before_weights(self):
        self.start("--model=nothing-by-this-name")
        self.assertEqual(self.told()["READY"], "1")
        client = self.client_of_ours()
        self.assertTrue(client.connection.name_has_owner(NAME), "the name comes first")
        self.assertEqual(client.property("State"), "unloaded")
        self.assertIn("first call loads", self.told()["STATUS"])
        self.refused("ModelUnavailable", client.embed, "x")
        self.status("No model: .* not installed")
        self.service.terminate()
        self.assertEqual(self.until("STOPPING")["STATUS"], "Stopping.")
        self.end()

    def test_status_of_a_loaded_model(self):
        self.start(self.model_option())
        client = self.client_of_ours()
        self.until("READY")
        client.embed("x")
        self.status("Ready: .* on cpu")
        self.service.terminate()
        self.end()

    def resident(self):
        with open(f"/proc/{self.service.pid}/status", encoding="ascii") as file:
            return int(re.search(r"VmRSS:\s+(\d+)", file.read())[1])

    def test_idle_unloads(self):
        self.configure("[Model]\nIdleUnloadSec=1\n")
        self.start(self.model_option())
        self.until("READY")
        client = self.client_of_ours()
        before = client.embed("a red circle")[0]
        self.status("Ready: .* on cpu")
        loaded = self.resident()
        begin = time.monotonic()
        self.status("Ready: the first call loads")
        self.assertGreater(time.monotonic() - begin, 0.9, "not before its time")
        self.assertEqual(client.property("State"), "unloaded")
        self.assertLess(self.resident(), loaded - 1000)
        self.assertEqual(client.embed("a red circle")[0], before)
        self.configure("[Model]\nIdleUnloadSec=0\n")
        self.service.send_signal(signal.SIGHUP)
        self.until("RELOADING")
        time.sleep(1.5)
        self.assertEqual(client.property("State"), "ready", "0 is never")
        self.service.terminate()
        self.assertIn("has left memory", self.end())

    def test_administration(self):
        models = os.path.join(self.folder, "perceptd", "models")
        os.makedirs(models)
        self.start(self.model_option(), XDG_DATA_HOME=self.folder)
        os.symlink(os.path.abspath(Paths.model), os.path.join(models, "another.gguf"))
        with open(os.path.join(models, "broken.gguf"), "wb") as file:
            file.write(b"GGUF")
        self.until("READY")
        client = self.client_of_ours()

        def load(name):
            client.call("LoadModel", "sa{sv}", name, {})

        load("another")
        self.assertEqual(client.property("State"), "ready")
        self.assertEqual(client.embed("x")[1]["model"], "another")
        self.refused("ModelUnavailable", load, "nothing-by-this-name")
        self.refused("ModelUnavailable", load, "broken")
        name = os.path.basename(Paths.model).removesuffix(".gguf")
        self.assertEqual(client.embed("x")[1]["model"], name, "the configured one comes back")
        for wrong in "", "/etc/passwd", "../x", "x" * 300:
            self.refused("InvalidArgs", load, wrong)
        self.refused("ModelUnavailable", client.call, "UnloadModel", "s", "another")
        client.call("UnloadModel", "s", name)
        self.eventually(lambda: client.property("State") == "unloaded")
        self.refused("ModelUnavailable", client.call, "UnloadModel", "s", name)
        load("another")
        client.call("Reload", "")
        self.assertEqual(client.embed("x")[1]["model"], name)
        self.configure("nonsense")
        self.assertIn("line 1", self.refused("Failed", client.call, "Reload", ""))
        self.service.terminate()
        self.end()

    def talk(self, session, between):
        """The answers and the bytes of cache read of one conversation; between() comes before every question."""
        found = []
        with open(os.path.join(Paths.fixtures, "shapes.jpg"), "rb") as picture:
            for question, media, effort in (("What is in the picture?", [picture.fileno()], 1.0),
                                            ("How many are there?", [], -1.0),
                                            ("And what colour are they?", [], 0.0),
                                            ("Tell me all.", [], 0.5)):
                between()
                request = session.ask(question, [(fd, "") for fd in media], effort=effort,
                                      max_tokens=dbus.UInt32(12))
                found.append((request.text(), int(request.wait()["info"]["kv_bytes"])))
                request.release()
        return found

    def test_sessions_outlive_the_weights(self):
        """The same conversation, whether the weights stayed or left before every question."""
        self.configure("[Model]\nIdleUnloadSec=1\n")
        self.start(self.model_option())
        self.until("READY")
        client = self.client_of_ours()
        sessions = [client.open_session() for _ in range(2)]
        stayed = self.talk(sessions[0], lambda: None)
        left = self.talk(sessions[1],
                         lambda: self.eventually(lambda: client.property("State") == "unloaded"))
        self.assertEqual([text for text, _ in left], [text for text, _ in stayed])
        self.assertEqual(left[0], stayed[0])
        self.assertGreater(left[3][1], stayed[3][1], "everything was read again")

        # One that is cancelled while it is read again is as it was.
        self.eventually(lambda: client.property("State") == "unloaded")
        request = sessions[1].ask("Tell me more.", max_tokens=dbus.UInt32(1000), temperature=100.0)
        request.cancel()
        self.refused("Cancelled", request.wait)
        self.assertEqual(sessions[1].ask("Hm?", max_tokens=dbus.UInt32(12)).text(),
                         sessions[0].ask("Hm?", max_tokens=dbus.UInt32(12)).text())
        self.service.terminate()
        self.end()

    def test_sessions_and_another_model(self):
        models = os.path.join(self.folder, "perceptd", "models")
        os.makedirs(models)
        self.start(self.model_option(), XDG_DATA_HOME=self.folder)
        with open(Paths.model, "rb") as file, \
                open(os.path.join(models, "another.gguf"), "wb") as copy:
            copy.write(file.read() + b"x")
        self.until("READY")
        client = self.client_of_ours()
        session = client.open_session()
        session.ask("How are you?", max_tokens=dbus.UInt32(2)).wait()
        self.configure("[Engine]\nThreads=1\n")
        client.call("Reload", "")
        result = session.ask("And you?", max_tokens=dbus.UInt32(2)).wait()
        self.assertIn("1 thread", result["info"]["backend"], "other threads, the same model")
        client.call("LoadModel", "sa{sv}", "another", {})
        self.refused("ModelUnavailable", session.ask("And you?").wait)
        client.open_session().ask("And you?", max_tokens=dbus.UInt32(2)).wait()
        client.call("Reload", "")
        session.ask("And you?", max_tokens=dbus.UInt32(2)).wait()
        self.service.terminate()
        self.end()

    def test_nobody_reads_what_systemd_is_told(self):
        self.start()
        self.until("READY")
        client = self.client_of_ours()
        for _ in range(1000):
            client.call("Reload", "")
        self.assertEqual(client.property("State"), "unloaded")
        # What could not be sent waits, the last of its kind: this comes when there is room again.
        self.configure("nonsense")
        self.refused("Failed", client.call, "Reload", "")
        self.notify.settimeout(2)
        kinds = []
        with self.assertRaises(TimeoutError):
            while True:
                kinds.append(next(iter(self.told())))
        self.assertEqual(kinds[-3:], ["RELOADING", "READY", "STATUS"])
        self.service.terminate()
        self.notify.settimeout(20)
        self.assertEqual(self.told()["STOPPING"], "1")
        self.end()

    def test_no_socket_of_systemd(self):
        self.start(NOTIFY_SOCKET="/nowhere/at/all")
        for _ in range(500):
            client = Client(self.bus)
            owned = client.connection.name_has_owner(NAME)
            client.close()
            if owned:
                break
            time.sleep(0.02)
        self.service.terminate()
        self.assertIn("systemd cannot be told", self.end())

    def test_reload(self):
        self.start()
        self.until("READY")
        client = self.client_of_ours()
        self.configure("[Answers]\nMaxTokens=5\n[Log]\nLevel=warning\n")
        self.service.send_signal(signal.SIGHUP)
        message = self.until("RELOADING")
        now = time.clock_gettime(time.CLOCK_MONOTONIC) * 1e6
        self.assertLess(abs(now - int(message["MONOTONIC_USEC"])), 5e6)
        self.assertEqual(self.until("READY")["READY"], "1")
        self.assertEqual(client.property("DegradedReason"), "")
        self.configure("[Answers]\nMaxTokens=many\n")
        self.service.send_signal(signal.SIGHUP)
        self.until("RELOADING")
        self.until("READY")
        self.assertIn("line 2: MaxTokens", client.property("DegradedReason"))
        self.service.terminate()
        self.assertIn("The configuration is not used: line 2", self.end())

    def test_reload_changes_the_answers(self):
        self.configure("[Answers]\nMaxTokens=1\n")
        self.start(self.model_option())
        self.until("READY")
        client = self.client_of_ours()
        short = client.ask("Tell me all.", temperature=100.0).wait()["info"]["tokens"]
        self.configure("[Answers]\nMaxTokens=60\n[Engine]\nThreads=1\n")
        self.service.send_signal(signal.SIGHUP)
        self.until("RELOADING")
        self.until("READY")
        result = client.ask("Tell me all.", temperature=100.0).wait()
        self.assertGreaterEqual(result["info"]["tokens"], short)
        self.assertIn("1 thread", result["info"]["backend"], "the model was opened anew")
        self.service.terminate()
        self.end()

    def test_starts_with_a_broken_configuration(self):
        self.configure("colour\n")
        self.start()
        self.until("READY")
        self.assertIn("line 1", self.client_of_ours().property("DegradedReason"))
        self.service.terminate()
        self.end()

    def test_watchdog(self):
        self.start(WATCHDOG_USEC="soon")
        self.until("READY")
        self.service.terminate()
        self.assertIn("watchdog", self.end())
        self.start(WATCHDOG_USEC="200000")
        self.until("READY")
        for _ in range(3):
            self.assertEqual(self.until("WATCHDOG")["WATCHDOG"], "1")
        self.service.terminate()
        self.end()

    def test_watchdog_while_working(self):
        self.start(self.model_option(), WATCHDOG_USEC="400000")
        self.until("READY")
        request = self.client_of_ours().ask("Tell me all.", max_tokens=dbus.UInt32(1000),
                                            temperature=100.0, seed=dbus.UInt64(3))
        for _ in range(3):
            self.until("WATCHDOG")
        request.release()
        self.service.terminate()
        self.end()

    def test_stopped_while_working(self):
        self.start(self.model_option())
        self.until("READY")
        client = self.client_of_ours()
        requests = [client.ask("Tell me all.", max_tokens=dbus.UInt32(1000), temperature=100.0,
                               seed=dbus.UInt64(n)) for n in range(12)]
        streams = [request.stream() for request in requests]
        streams[0].frame()
        self.service.terminate()
        ends = [stream.frames()[-1] for stream in streams]
        self.assertTrue(any(text.startswith(ERROR + "Cancelled") for _, text in ends), ends)
        self.end()

    def test_second_instance(self):
        self.start()
        self.until("READY")
        first = self.service
        self.start()
        self.assertIn("another process owns the name", self.end(1))
        self.assertIsNone(first.poll())
        self.service = first
        self.service.terminate()
        self.end()

    def test_no_bus(self):
        self.bus.address = "unix:path=/nowhere/at/all"
        self.start()
        self.assertIn("Cannot serve on the bus", self.end(1))
        self.bus.address = "nonsense"
        self.start()
        self.end(1)

    def test_bus_goes_away(self):
        self.start()
        self.until("READY")
        self.bus.close()
        self.assertIn("The bus has gone", self.end(1))

    def test_bus_goes_away_while_working(self):
        self.start(self.model_option())
        self.until("READY")
        client = self.client_of_ours()
        for n in range(4):
            client.ask("Tell me all.", max_tokens=dbus.UInt32(1000), temperature=100.0,
                       seed=dbus.UInt64(n))
        self.bus.close()
        self.assertIn("The bus has gone", self.end(1))

    def test_options(self):
        for args, status, text in ((["--help"], 0, "usage"), (["--version"], 0, "perceptd "),
                                   (["--colour"], 2, ""), (["extra"], 2, "")):
            found = subprocess.run([Paths.perceptd, *args], capture_output=True, text=True,
                                   check=False)
            self.assertEqual(found.returncode, status)
            self.assertIn(text, found.stdout)

    def test_user_models_are_found(self):
        model = self.model_option().removeprefix("--model=")
        home = os.path.join(self.folder, "data", "perceptd", "models")
        os.makedirs(home)
        os.symlink(os.path.abspath(model), os.path.join(home, "mine.gguf"))
        self.configure("[Model]\nName=mine\n")
        self.start(XDG_DATA_HOME=os.path.join(self.folder, "data"))
        self.until("READY")
        self.assertEqual(self.client_of_ours().embed("x")[1]["model"], "mine")
        self.service.terminate()
        self.end()

    def test_quota_is_logged_once(self):
        self.start(self.model_option())
        self.until("READY")
        client = self.client_of_ours()
        for _ in range(16):
            client.ask("Tell me all.", max_tokens=dbus.UInt32(1))
        for _ in range(50):
            self.refused("QuotaExceeded", client.embed, "x")
        self.service.terminate()
        self.assertEqual(self.end().count("has reached a quota"), 1)

    def test_threads_get_no_signals(self):
        self.start()
        self.until("READY")
        for task in os.listdir(f"/proc/{self.service.pid}/task"):
            with open(f"/proc/{self.service.pid}/task/{task}/status", encoding="ascii") as file:
                blocked = int(re.search(r"SigBlk:\s*(\w+)", file.read()).group(1), 16)
            self.assertTrue(blocked & 1 << signal.SIGTERM - 1)
        self.service.terminate()
        self.end()


if __name__ == "__main__":
    Paths.take(need_model=False)
    unittest.main(verbosity=2)
