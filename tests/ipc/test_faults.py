#!/usr/bin/python3
"""A world that fails: no descriptors left, a full disk, one that cannot be written. Each call gets its typed error, what
was acknowledged stays, and the next call is served.

usage: test_faults.py PERCEPTD HELPER FIXTURES [MODEL]
"""

import os
import resource
import subprocess
import unittest

import dbus

from fixture import ERROR, SEALS, STANDARD, Stream, memfd, packed
from service import DaemonTest, Paths


def mount(*arguments):
    return subprocess.run(["mount", *arguments], capture_output=True, check=False).returncode == 0


class Descriptors(DaemonTest):
    """The limit falls, one by one, below what the service needs."""

    def setUp(self):
        super().setUp()
        self.picture = self.open("emoji.webp")
        self.texts = memfd(packed(b"one", b"two"), SEALS)
        self.addCleanup(os.close, self.texts)
        with open(f"/proc/self/fd/{self.picture}", "rb") as file:
            self.bytes = dbus.Array([(dbus.ByteArray(file.read()), "")], signature="(ays)")
        self.client.embed("load it")

    def bulk(self):
        os.close(self.client.bulk(self.texts)[0])

    def inline(self):
        items, _ = self.client.call("EmbedMedia", "a(hs)a{sv}", [], {"inline": self.bytes})
        self.statuses.add(int(items[0][0]))

    def media(self):
        items, _ = self.client.call("EmbedMedia", "a(hs)a{sv}", [(dbus.types.UnixFd(self.picture), "")], {})
        self.statuses.add(int(items[0][0]))

    def stream(self):
        request = self.client.ask("What?", max_tokens=dbus.UInt32(3))
        try:
            Stream(request.call("OpenStream", "a{sv}", {}).take()).frames()
        finally:
            request.release()

    def collection(self):
        self.number += 1
        self.client.open_collection(f"c{self.number}").add_text({"a": "a red circle"})
        self.client.call("DeleteCollection", "s", f"c{self.number}")

    def free(self, limit):
        """How many descriptors the service can open below a limit."""
        used = {int(name) for name in os.listdir(f"/proc/{self.service.pid}/fd")}
        return limit - len([fd for fd in used if fd < limit])

    def outcome(self, call, limit, needed):
        old = resource.prlimit(self.service.pid, resource.RLIMIT_NOFILE)
        if self.free(limit) < needed:
            return "not sent"
        resource.prlimit(self.service.pid, resource.RLIMIT_NOFILE, (limit, old[1]))
        try:
            call()
            return "answered"
        except dbus.DBusException as error:
            self.assertTrue(error.get_dbus_name().startswith((ERROR, STANDARD)), error)
            self.assertNotIn(error.get_dbus_name(), (STANDARD + "NoReply", STANDARD + "ServiceUnknown"))
            return error.get_dbus_name().rpartition(".")[2]
        finally:
            resource.prlimit(self.service.pid, resource.RLIMIT_NOFILE, old)

    def test_none_left(self):
        """Without room for the descriptors of a message itself the bus library gives up the connection: systemd starts
        the service again. Everything else is an error of the call."""
        self.statuses, self.number = set(), 0
        top = max(int(name) for name in os.listdir(f"/proc/{self.service.pid}/fd"))
        for name, needed in (("bulk", 1), ("inline", 0), ("media", 1), ("stream", 0), ("collection", 0)):
            call, outcomes = getattr(self, name), []
            for limit in range(3, top + 8):
                outcome = self.outcome(call, limit, needed)
                if outcomes[-1:] != [outcome]:
                    outcomes.append(outcome)
                self.assertEqual(len(self.client.embed("the next call")[0]), 1)
            print(f"{name}: {', '.join(outcomes)}", flush=True)
            self.assertEqual(outcomes[-1], "answered", name)
            self.assertGreater(len(outcomes), 1, "and it needs one")


class Disk(DaemonTest):
    """The state lies on a small file system of its own."""

    @classmethod
    def start(cls):
        cls.state = os.path.join(cls.bus.folder, "state")
        os.mkdir(cls.state, 0o700)
        cls.mounted = mount("-t", "tmpfs", "-o", "size=2m", "tmpfs", cls.state)
        super().start()

    @classmethod
    def start_again(cls, *options):
        """With the file system mounted anew in between, as nobody can while it is in use."""
        cls.stop()
        assert mount("-o", ",".join(("remount", "size=64m", *options)), cls.state)
        super().start()

    @classmethod
    def tearDownClass(cls):
        try:
            cls.stop()
        finally:
            if cls.mounted:
                subprocess.run(["umount", cls.state], check=True)
            cls.bus.close()

    def setUp(self):
        if not self.mounted:
            self.skipTest("mounting is not allowed here")
        super().setUp()

    def fill(self, collection):
        """Items until one is refused; returns those that were acknowledged, and what the refusal was."""
        kept = []
        for i in range(200):
            items = {f"{i} {k}": f"item {i} {k}: " + "a long text " * 40 for k in range(8)}
            try:
                statuses = collection.add_text(items, truncate="head")
            except dbus.DBusException as error:
                return kept, error.get_dbus_name()
            kept += [key for key, status in statuses.items() if status == 0]
            if len(kept) < 8 * (i + 1):
                return kept, sorted(set(statuses.values()))
        raise AssertionError("the disk did not fill")

    def test_full(self):
        collection = self.client.open_collection("full")
        kept, refusal = self.fill(collection)
        print(f"{len(kept)} items, then {refusal}", flush=True)
        self.assertGreater(len(kept), 8)
        self.assertIn(refusal, (STANDARD + "LimitsExceeded", [0, 8]))
        self.assertEqual(set(collection.get(*kept)), set(kept))
        self.assertEqual(len(collection.found("item 0 0", limit=dbus.UInt32(5))), 5)
        self.assertTrue(mount("-o", "remount,size=64m", self.state))
        self.assertEqual(collection.add_text({"more": "there is room again"}), {"more": 0})
        collection.sync()
        self.assertEqual(collection.found("there is room again", limit=dbus.UInt32(1)), ["more"])

    def test_read_only(self):
        self.start_again()
        self.assertEqual(self.client.open_collection("fixed").add_text({"first": "a red circle"}), {"first": 0})
        self.start_again("ro")
        for call in (lambda: self.client.open_collection("fixed").add_text({"second": "rain"}),
                     lambda: self.client.open_collection("another")):
            text = self.refused("Failed", call)
            print(text, flush=True)
            self.assertEqual(len(self.client.embed("the next call")[0]), 1)
        self.start_again("rw")
        collection = self.client.open_collection("fixed")
        self.assertEqual(collection.found("a circle"), ["first"])
        self.assertEqual(collection.add_text({"second": "rain"}), {"second": 0})
        collection.sync()


if __name__ == "__main__":
    Paths.take()
    unittest.main(verbosity=2)
