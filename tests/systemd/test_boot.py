#!/usr/bin/python3
"""The system unit under a real systemd: a container on an overlay of this machine's own root folder.

Nothing is downloaded and nothing on the machine is changed. Skipped where there is no root, no systemd-nspawn, or where
mounting is not allowed.

usage: test_boot.py BUILD FIXTURES [MODEL]
"""

import os
import shutil
import subprocess
import sys
import tempfile
import time
import unittest

NAME = "org.perceptd.Percept1"
PATH = "/org/perceptd/Percept1"
SKIP = 77
MESSAGE_LOADED = "5d9f1a4e8c0b4f6aa6d27a0c61f3e103"


def run(*command, **kwargs):
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60, **kwargs)


def skip(why):
    print(f"skipped: {why}")
    sys.exit(SKIP)


class Machine:
    """A booted container; close() ends it whatever has happened."""

    def __init__(self, build):
        self.folder = tempfile.mkdtemp(prefix="perceptd-boot-", dir="/var/tmp")
        self.root = os.path.join(self.folder, "root")
        self.layer = os.path.join(self.folder, "layer")
        self.nspawn = self.leader = None
        self.mounted = []
        os.mkdir(self.root)
        os.mkdir(self.layer)
        try:
            self.mount("tmpfs", self.layer, "size=2G")
            upper, work = (os.path.join(self.layer, name) for name in ("upper", "work"))
            os.mkdir(upper)
            os.mkdir(work)
            self.mount("overlay", self.root, f"lowerdir=/,upperdir={upper},workdir={work}")
            self.install(build)
            self.boot()
        except BaseException:
            self.close()
            raise

    def mount(self, kind, where, options):
        found = run("mount", "-t", kind, "-o", options, kind, where)
        if found.returncode != 0:
            self.close()
            skip(f"{kind} cannot be mounted here: {found.stderr.strip()}")
        self.mounted.append(where)

    def path(self, *parts):
        path = os.path.join(self.root, *(part.lstrip("/") for part in parts))
        os.makedirs(os.path.dirname(path), exist_ok=True)
        return path

    def install(self, build):
        found = run("meson", "install", "-C", build, "--no-rebuild",
                    env={**os.environ, "DESTDIR": self.root})
        assert found.returncode == 0, found
        units = "/etc/systemd/system"
        # What `systemctl enable` does.
        os.symlink("/usr/local/lib/systemd/system/perceptd.service",
                   self.path(units, f"dbus-{NAME}.service"))
        # A container needs a bus and a journal, and nothing else that this machine may have.
        target = self.path(units, "default.target")
        if os.path.lexists(target):
            os.unlink(target)
        os.symlink("/lib/systemd/system/basic.target", target)
        shutil.copy(os.path.join(FIXTURES, "shapes.jpg"), self.path("/srv/shapes.jpg"))
        if MODEL:
            shutil.copy(MODEL, self.path("/usr/local/share/perceptd/models/percept-spark.gguf"))

    def boot(self):
        with open(os.path.join(self.folder, "boot.log"), "wb") as log:
            self.nspawn = subprocess.Popen(
                ["systemd-nspawn", "-D", self.root, "-M", f"perceptd-{os.getpid()}",
                 "--register=no", "--keep-unit", "--private-network", "--console=read-only", "-b"],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        end = time.monotonic() + 60
        while time.monotonic() < end and self.nspawn.poll() is None:
            pid = self.nspawn.pid
            with open(f"/proc/{pid}/task/{pid}/children", encoding="ascii") as file:
                children = file.read().split()
            self.leader = children[0] if children else None
            if self.leader and self.state() in ("running", "degraded"):
                return
            time.sleep(0.1)
        with open(os.path.join(self.folder, "boot.log"), encoding="utf-8", errors="replace") as log:
            text = log.read()
        self.close()
        skip(f"no container can be booted here: {text[-300:]}")

    def state(self):
        return self.inside("systemctl", "is-system-running").stdout.strip()

    def inside(self, *command):
        return run("nsenter", "-t", self.leader, "-a", *command)

    def close(self):
        if self.nspawn and self.nspawn.poll() is None:
            if self.leader:
                self.inside("systemctl", "poweroff")
            try:
                self.nspawn.wait(30)
            except subprocess.TimeoutExpired:
                self.nspawn.kill()
                self.nspawn.wait()
        for where in reversed(self.mounted):
            run("umount", where)
        self.mounted = []
        shutil.rmtree(self.folder, ignore_errors=True)


class Boot(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.machine = Machine(BUILD)
        cls.inside = cls.machine.inside
        cls.inside("systemd-sysusers")
        cls.inside("systemctl", "daemon-reload")
        cls.inside("systemctl", "start", "dbus.socket")
        cls.inside("systemctl", "reload", "dbus")

    @classmethod
    def tearDownClass(cls):
        cls.machine.close()

    def good(self, *command):
        found = self.inside(*command)
        self.assertEqual(found.returncode, 0, found)
        return found.stdout

    def show(self, key):
        return self.good("systemctl", "show", "perceptd", "-P", key).strip()

    def activate(self):
        """Peer is answered by libdbus alone; a property shows that the service itself is there."""
        return self.good("busctl", "get-property", NAME, PATH, NAME + ".Manager", "State")

    def test_1_activation(self):
        self.assertEqual(self.show("ActiveState"), "inactive")
        begin = time.monotonic()
        self.assertEqual(self.activate(), 's "unloaded"\n')
        print(f"inactive to answer: {(time.monotonic() - begin) * 1e3:.0f} ms", flush=True)
        self.assertEqual(self.show("ActiveState"), "active")
        self.assertIn("first call loads", self.show("StatusText"))

    def test_2_works_inside_its_walls(self):
        """Everything once, the media helper's own sandbox included; as nobody, as anybody may."""
        if not MODEL:
            self.skipTest("no model")
        nobody = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]
        found = self.good(*nobody, "perceptctl", "--system", "doctor")
        self.assertIn("All is well.", found)
        self.assertTrue(self.good(*nobody, "perceptctl", "--system", "ask", "-i", "/srv/shapes.jpg",
                                  "What is in the picture?").strip())
        found = self.inside(*nobody, "perceptctl", "--system", "ask", "-i", "/etc/passwd", "What?")
        self.assertIn("UnsupportedMedia", found.stderr)
        found = self.good("journalctl", f"MESSAGE_ID={MESSAGE_LOADED}", "-o", "verbose")
        self.assertIn("PERCEPTD_MODEL=percept-spark", found)
        self.assertIn("_SYSTEMD_UNIT=perceptd.service", found)
        self.assertRegex(self.show("StatusText"), "Ready: percept-spark on cpu")

    def test_3_walls(self):
        pid = self.show("MainPID")
        with open(f"/proc/{self.of_host(pid)}/status", encoding="ascii") as file:
            status = dict(line.split(":", 1) for line in file)
        self.assertEqual(status["CapEff"].strip(), "0" * 16)
        self.assertEqual(status["NoNewPrivs"].strip(), "1")
        self.assertEqual(status["Seccomp"].strip(), "2")
        owner = self.good("stat", "-c", "%U", f"/proc/{pid}").strip()
        self.assertEqual(owner, "perceptd")
        links = self.good("nsenter", "-t", pid, "-n", "cat", "/proc/net/dev").splitlines()[2:]
        self.assertEqual([line.split(":")[0].strip() for line in links], ["lo"])
        for path, error in (("/etc/x", "Read-only"), ("/usr/x", "Read-only"),
                            ("/home/x", "")):
            found = self.inside("nsenter", "-t", pid, "-m", "touch", path)
            self.assertNotEqual(found.returncode, 0, path)
            self.assertIn(error, found.stderr)

    def of_host(self, pid):
        """The same process as this machine numbers it."""
        for name in os.listdir("/proc"):
            if not name.isdigit():
                continue
            try:
                with open(f"/proc/{name}/status", encoding="ascii") as file:
                    ids = next(line.split()[1:] for line in file if line.startswith("NSpid"))
                with open(f"/proc/{name}/comm", encoding="ascii") as file:
                    if ids[-1] == pid and len(ids) > 1 and file.read() == "perceptd\n":
                        return name
            except (OSError, StopIteration):
                continue
        raise AssertionError("the process is not found")

    def test_4_reload(self):
        before = self.show("MainPID")
        self.good("systemctl", "reload", "perceptd")
        self.assertEqual((self.show("ActiveState"), self.show("MainPID")), ("active", before))

    def test_5_crash_and_restart(self):
        self.good("kill", "-SEGV", self.show("MainPID"))
        end = time.monotonic() + 20
        while self.show("NRestarts") != "1" or self.show("ActiveState") != "active":
            self.assertLess(time.monotonic(), end)
            time.sleep(0.1)
        self.assertEqual(self.activate(), 's "unloaded"\n')

    def test_6_stop(self):
        self.good("systemctl", "stop", "perceptd")
        self.assertEqual((self.show("Result"), self.show("ActiveState")), ("success", "inactive"))
        self.assertEqual(self.activate(), 's "unloaded"\n', "and it comes again when it is called")


if __name__ == "__main__":
    BUILD, FIXTURES, *rest = map(os.path.abspath, sys.argv[1:])
    MODEL = rest[0] if rest else os.environ.get("PERCEPT_MODEL")
    del sys.argv[1:]
    if os.geteuid() != 0:
        skip("booting a container wants root")
    if not shutil.which("systemd-nspawn") or not os.path.exists("/lib/systemd/system/dbus.service"):
        skip("systemd-container and dbus are not installed")
    unittest.main(verbosity=2)
