#!/usr/bin/python3
"""Two users of one service, on a bus of the system's kind with the policy that is installed.

usage: test_users.py PERCEPTD HELPER FIXTURES [MODEL]
"""

import contextlib
import os
import pickle
import pwd
import shutil
import signal
import subprocess
import tempfile
import traceback
import unittest

import dbus

from fixture import PATH, Client, Collection, ServiceTest
from service import Paths, fixture

ALICE, BOB = (pwd.getpwnam(name).pw_uid for name in ("nobody", "daemon"))  # the bus must know them

CONFIG = os.path.join(os.path.dirname(os.path.abspath(__file__)), "system-bus.conf")


class SystemBus:
    """Of the system's kind; the policy's user is replaced by the one that runs this."""

    def __init__(self):
        self.folder = tempfile.mkdtemp(prefix="perceptd-users-")
        os.chmod(self.folder, 0o755)
        source = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "units")
        with open(os.path.join(source, "org.perceptd.Percept1.conf"), encoding="utf-8") as file:
            policy = file.read().replace('user="perceptd"', 'user="root"')
        with open(CONFIG, encoding="utf-8") as file:
            config = file.read().format(folder=self.folder, policy=self.write("policy.conf", policy))
        self.daemon = subprocess.Popen(
            ["dbus-daemon", f"--config-file={self.write('bus.conf', config)}", "--nofork",
             "--print-address=1"], stdout=subprocess.PIPE, text=True)
        self.address = self.daemon.stdout.readline().strip()

    def write(self, name, text):
        path = os.path.join(self.folder, name)
        with open(path, "w", encoding="utf-8") as file:
            file.write(text)
        return path

    def connect(self):
        return dbus.bus.BusConnection(self.address)

    def close(self):
        self.daemon.terminate()
        self.daemon.wait()
        self.daemon.stdout.close()
        shutil.rmtree(self.folder)


class UsersTest(ServiceTest):
    @classmethod
    def setUpClass(cls):
        cls.bus = SystemBus()
        cls.start()

    @classmethod
    def command(cls, bus):
        return [Paths.perceptd, f"--bus={bus.address}", f"--model={Paths.model}",
                f"--media-helper={Paths.helper}", "--config=/dev/null"]

    def run_as(self, uid, function):
        """function(client) in a process of that user; what it returns, or its failure, comes back."""
        reader, writer = os.pipe()
        pid = os.fork()
        if pid == 0:
            os.close(reader)
            try:
                os.setgroups([])
                os.setresgid(uid, uid, uid)
                os.setresuid(uid, uid, uid)
                client = Client(self.bus)
                found = (function(client), None)
                client.close()
            except BaseException:  # pylint: disable=broad-except
                found = (None, traceback.format_exc())
            with open(writer, "wb") as file:
                pickle.dump(found, file)
            os._exit(0)
        os.close(writer)
        with open(reader, "rb") as file:
            found, failure = pickle.load(file)
        os.waitpid(pid, 0)
        self.assertIsNone(failure, failure)
        return found

    @contextlib.contextmanager
    def held(self, uid, function):
        """The generator function(client) in a process of that user: what it yields first, and, when the block ends, whether
        it yields something true."""
        reader, writer = os.pipe()
        stay, go = os.pipe()
        pid = os.fork()
        if pid == 0:
            os.close(go)
            os.setgroups([])
            os.setresgid(uid, uid, uid)
            os.setresuid(uid, uid, uid)
            steps = function(Client(self.bus))
            with open(writer, "wb") as file:
                pickle.dump(next(steps), file)
            os.read(stay, 1)
            os._exit(0 if next(steps) else 1)
        os.close(writer)
        os.close(stay)
        try:
            with open(reader, "rb") as file:
                yield pickle.load(file)
        finally:
            os.close(go)
            _, status = os.waitpid(pid, 0)
        self.assertEqual(status, 0, "it went on undisturbed")

    def children(self):
        with open(f"/proc/{self.service.pid}/task/{self.service.pid}/children",
                  encoding="ascii") as file:
            return [int(pid) for pid in file.read().split()]


def embed_picture(client):
    with open(fixture("emoji.png"), "rb") as file:
        inline = dbus.Array([(dbus.ByteArray(file.read()), "image/png")], signature="(ays)")
    items, info = client.call("EmbedMedia", "a(hs)a{sv}", [], {"inline": inline})
    return int(items[0][0]), bytes(items[0][1]), float(info["computed_ms"]), int(info["weight_bytes"])


def weights_read(client):
    """Of a text, and of the same picture as always."""
    return int(client.embed("a secret word")[1]["weight_bytes"]), embed_picture(client)[3]


class Cache(UsersTest):
    def test_nobody_sees_what_another_has_asked(self):
        """A vector that was kept for one user is computed again for the next: neither its price nor its time tells."""
        text, picture = self.run_as(ALICE, weights_read)
        self.assertGreater(min(text, picture), 0)
        self.assertEqual(self.run_as(ALICE, weights_read), (0, 0))
        self.assertEqual(self.run_as(BOB, weights_read), (text, picture))
        self.assertEqual(self.run_as(BOB, weights_read), (0, 0))
        self.assertEqual(self.run_as(ALICE, weights_read), (0, 0))


def ask_and_stay(client):
    """As many requests as one connection may have; it goes when the test has ended this process."""
    for n in range(16):
        client.ask("What?", max_tokens=dbus.UInt32(1), handle_token=f"r{n}")


class Quota(UsersTest):
    def stay_as(self, uid):
        """A process of that user with one connection, and the requests of a whole connection open."""
        reader, writer = os.pipe()
        pid = os.fork()
        if pid == 0:
            os.close(reader)
            os.setgroups([])
            os.setresgid(uid, uid, uid)
            os.setresuid(uid, uid, uid)
            client = Client(self.bus)
            ask_and_stay(client)
            os.write(writer, b"x")
            signal.pause()
        os.close(writer)
        self.addCleanup(os.waitpid, pid, 0)
        self.addCleanup(os.kill, pid, signal.SIGKILL)
        self.assertEqual(os.read(reader, 1), b"x")
        os.close(reader)
        return pid

    def check_alive(self):
        """After everybody has left, which the cleanups before this one see to."""
        self.eventually(lambda: self.run_as(ALICE, self.served))
        self.client.close()

    @staticmethod
    def served(client):
        try:
            return len(client.embed("one more")[0]) == 1
        except dbus.DBusException as error:
            return error.get_dbus_name()

    def test_all_together(self):
        """32 calls and requests a user, 256 of all: who comes then is told to come later, root like anybody."""
        users = [entry.pw_uid for entry in pwd.getpwall() if entry.pw_uid not in (0, ALICE)][:8]
        if len(users) < 8:
            self.skipTest("there are too few users")
        pids = [self.stay_as(uid) for uid in users for _ in range(2)]
        self.assertTrue(self.run_as(users[0], self.served).endswith("QuotaExceeded"))
        self.assertTrue(self.run_as(ALICE, self.served).endswith("Busy"))
        self.assertTrue(self.served(self.client).endswith("Busy"))
        os.kill(pids[0], signal.SIGKILL)
        self.eventually(lambda: self.run_as(ALICE, self.served) is True)
        self.assertTrue(self.run_as(users[0], self.served))


class Media(UsersTest):
    def test_no_helper_sees_two_users(self):
        """What a file of one user has made of the decoder must not meet a file of another."""
        self.run_as(ALICE, embed_picture)
        of_alice = self.children()
        self.assertEqual(len(of_alice), 1)
        self.assertEqual(self.run_as(ALICE, embed_picture)[0], 0)
        self.assertEqual(self.children(), of_alice, "the same user keeps it")
        self.assertEqual(self.run_as(BOB, embed_picture)[:2],
                         self.run_as(ALICE, embed_picture)[:2])
        self.eventually(lambda: len(self.children()) == 1)
        self.assertNotIn(of_alice[0], self.children())
        for uid in (ALICE, BOB) * 10:
            self.assertEqual(self.run_as(uid, embed_picture)[0], 0)
        self.eventually(lambda: len(self.children()) == 1)

    def test_killed_helper_leaves_no_zombie(self):
        self.run_as(ALICE, embed_picture)
        os.kill(self.children()[0], signal.SIGKILL)
        self.assertEqual(self.run_as(ALICE, embed_picture)[0], 0)
        self.eventually(lambda: len(self.children()) == 1)


def own_collection(client):
    """What a user has, finds, and gets when it reaches for another's."""
    mine = client.open_collection()
    mine.add_text({f"of {os.getuid()}": "a secret"})
    refused = []
    for uid in ALICE, BOB, 0:
        for name in "test", "none":
            theirs = Collection(client, f"{PATH}/collections/u{uid}/{name}")
            for call in (theirs.sync, lambda path=theirs.path: client.property("x", path=path)):
                try:
                    call()
                    refused.append((uid, name, "let in"))
                except dbus.DBusException as error:
                    refused.append((uid, name, error.get_dbus_name(), error.get_dbus_message()))
    return str(mine.path), mine.found("a secret"), sorted(client.collections()), refused


class Collections(UsersTest):
    def test_to_each_its_own(self):
        """Another's collection can neither be used nor told from one that is not there."""
        for uid in ALICE, BOB:
            path, found, names, refused = self.run_as(uid, own_collection)
            self.assertEqual(path, f"{PATH}/collections/u{uid}/test")
            self.assertEqual((found, names), ([f"of {uid}"], ["test"]))
            others = {answer[2:] for answer in refused if answer[0] != uid}
            self.assertEqual(len(others), 1, others)
            self.assertTrue(others.pop()[0].endswith("AccessDenied"))
        root = self.client
        self.assertEqual(root.collections(), {})
        self.assertEqual(Collection(root, path).found("a secret"), [f"of {BOB}"])
        state = os.path.join(self.bus.folder, "state")
        self.assertEqual(sorted(os.listdir(state)), sorted(f"u{uid}" for uid in (ALICE, BOB)))
        for folder in state, os.path.join(state, f"u{ALICE}"):
            self.assertEqual(os.stat(folder).st_mode & 0o777, 0o700)


if __name__ == "__main__":
    Paths.take(need_root=True)
    unittest.main(verbosity=2)
