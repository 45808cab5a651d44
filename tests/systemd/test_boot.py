#!/usr/bin/python3
"""The system unit under a real systemd: a container on an overlay of this machine's own root folder.

Nothing is downloaded and nothing on the machine is changed. Skipped where there is no root, no systemd-nspawn, or where
mounting is not allowed.

usage: test_boot.py HANG BUILD FIXTURES [MODEL]
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
MESSAGE_REFUSED = "5d9f1a4e8c0b4f6aa6d27a0c61f3e109"
MESSAGE_HUNG = "5d9f1a4e8c0b4f6aa6d27a0c61f3e10a"
CONFIG = "/usr/local/etc/perceptd/perceptd.conf"
DROP_IN = "/etc/systemd/system/perceptd.service.d/test.conf"

# Keeps the service at work: sixteen long answers, again and again for so many seconds. Prints how long it was without a
# break, or the errors that it met. It never starts the service: one that is being stopped must stay so.
LONG = """
import sys
import time
import dbus
import dbus.lowlevel

NAME = "org.perceptd.Percept1"
bus = dbus.SystemBus()
options = {"max_tokens": dbus.UInt32(1000), "temperature": 100.0, "effort": 1.0}


def send(path, interface, member, signature="", *args):
    message = dbus.lowlevel.MethodCallMessage(NAME, path, NAME + interface, member)
    message.append(*args, signature=signature)
    message.set_auto_start(False)
    replies = []
    return bus.send_message_with_reply(message, replies.append, 120), replies


def finish(call):
    call[0].block()
    return call[1][0]


begin = time.monotonic()
errors = set()
while time.monotonic() < begin + float(sys.argv[1]) and not errors:
    asks = [send("/org/perceptd/Percept1", ".Manager", "Ask", "sa(hs)a{sv}", "Tell me all.", [],
                 {**options, "seed": dbus.UInt64(n)}) for n in range(16)]
    paths = [finish(ask).get_args_list()[0] for ask in asks]
    waits = [send(path, ".Request", "Wait") for path in paths]
    print("asked", flush=True)
    errors = {reply.get_error_name().rsplit(".", 1)[1] for reply in map(finish, waits)
              if reply.get_type() == dbus.lowlevel.MESSAGE_TYPE_ERROR}
    for path in [] if errors else paths:
        finish(send(path, ".Request", "Release"))
print(*errors or [f"{time.monotonic() - begin:.3f}"])
"""



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
        shutil.copy(HANG, self.path("/srv/hang.so"))
        with open(self.path("/srv/long.py"), "w", encoding="ascii") as file:
            file.write(LONG)
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

    def setUp(self):
        """All tests together start it more often than a unit may."""
        self.inside("systemctl", "reset-failed", "perceptd")

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

    def config(self, text):
        """Another configuration, for the test."""
        path = self.machine.path(CONFIG)
        with open(path, encoding="utf-8") as file:
            before = file.read()
        with open(path, "w", encoding="utf-8") as file:
            file.write(text)

        def restore():
            with open(path, "w", encoding="utf-8") as file:
                file.write(before)
        self.addCleanup(restore)

    def drop_in(self, text):
        """Another unit, for the test; the service is started anew."""
        with open(self.machine.path(DROP_IN), "w", encoding="ascii") as file:
            file.write("[Service]\n" + text)

        def restore():
            os.unlink(self.machine.path(DROP_IN))
            self.good("systemctl", "daemon-reload")
            self.good("systemctl", "restart", "perceptd")
        self.addCleanup(restore)
        self.good("systemctl", "daemon-reload")
        self.good("systemctl", "restart", "perceptd")

    def property(self, name, path=PATH, interface=NAME + ".Manager"):
        return self.good("busctl", "get-property", NAME, path, interface, name).strip()

    def embed(self):
        return self.inside("busctl", "--timeout=60", "call", NAME, PATH, NAME + ".Manager", "EmbedText",
                           "asa{sv}", "1", "hello", "0")

    def need_model(self):
        if not MODEL:
            self.skipTest("no model")

    def eventually(self, condition, seconds=30):
        end = time.monotonic() + seconds
        while not condition():
            self.assertLess(time.monotonic(), end, "it did not happen")
            time.sleep(0.1)

    def begin_long(self, seconds):
        """LONG at work; its end tells how it went."""
        work = subprocess.Popen(["nsenter", "-t", self.machine.leader, "-a", "/usr/bin/python3",
                                 "/srv/long.py", str(seconds)], stdout=subprocess.PIPE, text=True)
        self.addCleanup(work.stdout.close)
        self.addCleanup(work.wait)
        self.addCleanup(work.kill)
        self.assertEqual(work.stdout.readline(), "asked\n")
        return work

    def test_7_activation_to_first_answer(self):
        """What a program waits for that calls the service first of all, weights included."""
        self.need_model()
        self.good("systemctl", "stop", "perceptd")
        begin = time.monotonic()
        found = self.embed()
        print(f"inactive to first vector: {(time.monotonic() - begin) * 1e3:.0f} ms", flush=True)
        self.assertEqual(found.returncode, 0, found)
        self.assertTrue(found.stdout.startswith("aaya{sv} 1 1024 "))
        self.assertEqual((self.show("ActiveState"), self.property("State")), ("active", 's "ready"'))

    def test_7_ready_waits_for_the_name_only(self):
        """READY without a model at all: who calls is told so at once, instead of waiting for a start that fails."""
        self.drop_in("ExecStart=\nExecStart=/usr/local/bin/perceptd --bus=system --model=nothing\n")
        self.assertEqual((self.show("ActiveState"), self.show("Type")), ("active", "notify"))
        self.assertIn("not installed", self.embed().stderr)
        self.assertIn("No model", self.show("StatusText"))

    def test_7_watchdog_kills_a_hung_worker(self):
        self.need_model()
        self.drop_in("WatchdogSec=2s\nEnvironment=LD_PRELOAD=/srv/hang.so\n")
        self.assertEqual(self.embed().returncode, 0, "it works as long as it is not told to hang")
        before, restarts = self.show("MainPID"), int(self.show("NRestarts"))
        self.good("touch", "/run/perceptd-hang")
        self.addCleanup(self.inside, "rm", "-f", "/run/perceptd-hang")
        begin = time.monotonic()
        self.assertNotEqual(self.embed().returncode, 0)
        print(f"a hung worker was killed after {time.monotonic() - begin:.1f} s of 2 s", flush=True)
        self.good("rm", "/run/perceptd-hang")
        self.eventually(lambda: self.show("ActiveState") == "active" and self.show("MainPID") != before)
        self.assertEqual(int(self.show("NRestarts")), restarts + 1)
        self.assertIn("Watchdog timeout", self.good("journalctl", "-u", "perceptd", "-o", "cat"))
        self.assertTrue(self.good("journalctl", f"MESSAGE_ID={MESSAGE_HUNG}", "-o", "cat").strip())
        self.assertEqual(self.embed().returncode, 0)

    def test_7_watchdog_lets_long_answers_be(self):
        self.need_model()
        self.drop_in("WatchdogSec=2s\n")
        before, restarts = self.show("MainPID"), self.show("NRestarts")
        work = self.begin_long(6)
        self.assertGreater(float(work.communicate(timeout=120)[0].split("\n")[-2]), 6)
        self.assertEqual((self.show("MainPID"), self.show("NRestarts")), (before, restarts))

    def test_7_stop_drains(self):
        """Sixteen answers in hand, more in line: all are told, well within the unit's limit."""
        self.need_model()
        self.activate()
        work = self.begin_long(60)
        begin = time.monotonic()
        self.good("systemctl", "stop", "perceptd")
        seconds = time.monotonic() - begin
        print(f"SIGTERM to the end, sixteen answers in hand: {seconds * 1e3:.0f} ms", flush=True)
        self.assertLess(seconds, 5)
        self.assertEqual(self.show("TimeoutStopUSec"), "30s")
        self.assertEqual(self.show("Result"), "success")
        self.assertEqual(work.communicate(timeout=30)[0].split("\n")[-2], "Cancelled")

    def test_7_reload_keeps_old_settings(self):
        self.activate()
        def level():
            return self.good("systemctl", "service-log-level", "perceptd").strip()
        self.config("[Log]\nLevel=notice\n")
        self.good("systemctl", "reload", "perceptd")
        self.assertEqual(level(), "notice")
        before = self.show("MainPID")
        with open(self.machine.path(CONFIG), "a", encoding="ascii") as file:
            file.write("Level=loud\n")
        self.good("systemctl", "reload", "perceptd")
        self.assertEqual((level(), self.show("MainPID")), ("notice", before))
        self.assertIn("line 3: Level must be", self.property("DegradedReason"))
        found = self.good("journalctl", f"MESSAGE_ID={MESSAGE_REFUSED}", "-o", "verbose")
        self.assertIn("PRIORITY=3", found)

    def test_7_log_control(self):
        self.activate()
        self.good("systemctl", "service-log-level", "perceptd", "debug")
        self.assertEqual(self.good("systemctl", "service-log-level", "perceptd"), "debug\n")
        self.assertEqual(self.good("systemctl", "service-log-target", "perceptd"), "journal\n")
        self.good("systemctl", "reload", "perceptd")
        self.assertEqual(self.good("systemctl", "service-log-level", "perceptd"), "info\n")

    def test_7_who_administers(self):
        """Root, and members of the group that sysusers made; nobody else."""
        self.activate()
        group = self.good("getent", "group", "perceptd").split(":")[2]
        for groups, allowed in (["--clear-groups"], False), ([f"--groups={group}"], True):
            found = self.inside("setpriv", "--reuid=65534", "--regid=65534", *groups, "busctl", "call",
                                NAME, PATH, NAME + ".Manager", "Reload")
            self.assertEqual(found.returncode == 0, allowed, found)

    def test_7_credentials(self):
        """The configuration as a credential, from the unit and from a file that the service itself cannot read."""
        self.config("[Log]\nLevel=debug\n")
        self.drop_in("SetCredential=perceptd.conf:[Log]\\nLevel=warning\\n\n")
        self.assertEqual(self.good("systemctl", "service-log-level", "perceptd"), "warning\n")
        secret = self.machine.path("/srv/secret.conf")
        with open(secret, "w", encoding="ascii") as file:
            file.write("[Log]\nLevel=error\n")
        os.chmod(secret, 0o600)
        with open(self.machine.path(DROP_IN), "w", encoding="ascii") as file:
            file.write("[Service]\nLoadCredential=perceptd.conf:/srv/secret.conf\n")
        self.good("systemctl", "daemon-reload")
        self.good("systemctl", "restart", "perceptd")
        self.assertEqual(self.good("systemctl", "service-log-level", "perceptd"), "err\n")

    def test_7_catalogue(self):
        self.need_model()
        self.good("journalctl", "--update-catalog")
        self.activate()
        self.embed()
        found = self.good("journalctl", "-x", f"MESSAGE_ID={MESSAGE_LOADED}")
        self.assertIn("Subject: The model percept-spark is loaded", found)
        self.assertRegex(found, r"Loading took \d+ microseconds")

    def test_7_idle_weights_leave(self):
        self.need_model()
        self.config("[Model]\nIdleUnloadSec=2\n")
        self.activate()
        self.good("systemctl", "reload", "perceptd")
        self.embed()
        loaded, begin = self.resident(), time.monotonic()
        self.eventually(lambda: self.property("State") == 's "unloaded"')
        seconds, left = time.monotonic() - begin, self.resident()
        print(f"idle for 2 s: weights left after {seconds:.1f} s, {loaded >> 10} MiB before, {left >> 10} MiB after",
              flush=True)
        self.assertGreater(seconds, 1)
        self.assertLess(left, loaded - 1024)

    def resident(self):
        """KiB"""
        found = self.good("grep", "VmRSS", f"/proc/{self.show('MainPID')}/status")
        return int(found.split()[1])

    def test_7_limits(self):
        self.activate()
        found = self.good("cat", f"/proc/{self.show('MainPID')}/limits")
        self.assertRegex(found, r"Max open files +8192 +8192")
        self.assertEqual(self.show("MemoryMax"), str(4 << 30))
        if not self.show("MemoryCurrent").isdigit():
            self.skipTest("no memory controller in this container: MemoryMax is set, and cannot be enforced here")
        group = "/sys/fs/cgroup" + self.show("ControlGroup")
        self.assertEqual(self.good("cat", f"{group}/memory.max").strip(), str(4 << 30))

    def test_7_restart_keeps_collections(self):
        """What Sync has acknowledged is there after a clean restart and after a crash, and is its user's alone."""
        self.need_model()
        self.activate()
        path = self.good("busctl", "call", NAME, PATH, NAME + ".Manager", "OpenCollection", "sa{sv}",
                         "notes", "0").split('"')[1]

        def call(member, *args):
            return self.good("busctl", "call", NAME, path, NAME + ".Collection", member, *args)
        call("AddText", "a(ssa{sv})", "1", "first", "a red circle", "0")
        call("Sync")
        before = call("Search", "sa{sv}", "a red circle", "0")
        self.assertIn('"first"', before)
        self.good("systemctl", "restart", "perceptd")
        restarts = int(self.show("NRestarts"))
        for again in range(2):
            self.good("busctl", "call", NAME, PATH, NAME + ".Manager", "OpenCollection", "sa{sv}",
                      "notes", "0")
            self.assertEqual(call("Get", "as", "1", "first").count('"first"'), 1)
            self.assertIn('"first"', call("Search", "sa{sv}", "a red circle", "0"))
            if not again:
                self.good("kill", "-KILL", self.show("MainPID"))
                self.eventually(lambda: int(self.show("NRestarts")) > restarts
                                and self.show("ActiveState") == "active")
        found = self.inside("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "busctl",
                            "call", NAME, path, NAME + ".Collection", "Get", "as", "1", "first")
        self.assertNotEqual(found.returncode, 0)
        self.assertNotIn("red", found.stdout)
        self.assertEqual(self.good("stat", "-L", "-c", "%a %U", "/var/lib/perceptd").strip(),
                         "700 perceptd")


if __name__ == "__main__":
    HANG, BUILD, FIXTURES, *rest = map(os.path.abspath, sys.argv[1:])
    MODEL = rest[0] if rest else os.environ.get("PERCEPT_MODEL")
    del sys.argv[1:]
    if os.geteuid() != 0:
        skip("booting a container wants root")
    if not shutil.which("systemd-nspawn") or not os.path.exists("/lib/systemd/system/dbus.service"):
        skip("systemd-container and dbus are not installed")
    unittest.main(verbosity=2)
