"""A private bus, a service on it, and clients: what the tests of this folder share."""

import os
import shutil
import signal
import socket
import struct
import subprocess
import tempfile
import time
import unittest

import dbus
import dbus.bus
import dbus.lowlevel

NAME = "org.perceptd.Percept1"
PATH = "/org/perceptd/Percept1"
MANAGER = NAME + ".Manager"
REQUEST = NAME + ".Request"
SESSION = NAME + ".Session"
COLLECTION = NAME + ".Collection"
ERROR = NAME + ".Error."
STANDARD = "org.freedesktop.DBus.Error."
PROPERTIES = "org.freedesktop.DBus.Properties"
INTROSPECTABLE = "org.freedesktop.DBus.Introspectable"

DELTA, SOURCE, PROGRESS, END, STREAM_ERROR = 0, 1, 2, 3, 4

# What the service runs under, such as valgrind, and how much longer everything may take then.
WRAPPER = os.environ.get("TEST_WRAPPER", "").split()
SLOW = int(os.environ.get("TEST_SLOW", "1"))


class Bus:
    """A dbus-daemon of our own, of the session's kind."""

    def __init__(self):
        self.folder = tempfile.mkdtemp(prefix="perceptd-test-")
        self.daemon = subprocess.Popen(
            ["dbus-daemon", "--session", "--nofork", "--nopidfile", "--print-address=1",
             f"--address=unix:dir={self.folder}"], stdout=subprocess.PIPE, text=True)
        self.address = self.daemon.stdout.readline().strip()

    def close(self):
        self.daemon.terminate()
        self.daemon.wait()
        self.daemon.stdout.close()
        shutil.rmtree(self.folder)

    def connect(self):
        return dbus.bus.BusConnection(self.address)


class Client:
    """One connection."""

    def __init__(self, bus):
        self.connection = bus.connect()
        self.name = self.connection.get_unique_name()

    def close(self):
        self.connection.close()

    def call(self, member, signature, *args, path=PATH, interface=MANAGER, timeout=30):
        return self.connection.call_blocking(NAME, path, interface, member, signature, args,
                                             timeout=timeout * SLOW)

    def property(self, name, path=PATH, interface=MANAGER):
        return self.call("Get", "ss", interface, name, path=path, interface=PROPERTIES)

    def embed(self, *texts, **options):
        return self.call("EmbedText", "asa{sv}", texts, options)

    def bulk(self, fd, **options):
        """EmbedBulk; returns the descriptor of the vectors and the info."""
        vectors, info = self.call("EmbedBulk", "ha{sv}", dbus.types.UnixFd(fd), options)
        return vectors.take(), info

    def bulk_begin(self, fd):
        """Sends the call and takes no reply."""
        message = dbus.lowlevel.MethodCallMessage(NAME, PATH, MANAGER, "EmbedBulk")
        message.append(dbus.types.UnixFd(fd), {}, signature="ha{sv}")
        self.connection.send_message(message)
        self.connection.flush()

    def open_collection(self, name="test"):
        return Collection(self, self.call("OpenCollection", "sa{sv}", name, {}))

    def collections(self):
        """{name: (path, properties)}"""
        return {str(name): (path, properties)
                for name, path, properties in self.call("ListCollections", "")}

    def open_session(self):
        return Session(self, self.call("OpenSession", "a{sv}", {}))

    def ask(self, question, media=(), timeout=30, path=PATH, interface=MANAGER, **options):
        media = [(dbus.types.UnixFd(fd), hint) for fd, hint in media]
        request = self.call("Ask", "sa(hs)a{sv}", question, media, options, path=path,
                            interface=interface, timeout=timeout)
        return Request(self, request)


class Session:
    def __init__(self, client, path):
        self.client, self.path = client, path

    def ask(self, question, media=(), **options):
        return self.client.ask(question, media, path=self.path, interface=SESSION, **options)

    def close(self):
        self.client.call("Close", "", path=self.path, interface=SESSION)


def model_path(name):
    return PATH + "/models/" + "".join(c if c.isalnum() else f"_{ord(c):02x}" for c in name)


def words(metadata):
    return dbus.Dictionary(metadata, signature="ss")


def item_options(metadata, **options):
    if metadata:
        options["metadata"] = words(metadata)
    return dbus.Dictionary(options, signature="sv")


class Collection:
    def __init__(self, client, path):
        self.client, self.path = client, path

    def call(self, member, signature, *args, **kwargs):
        return self.client.call(member, signature, *args, path=self.path, interface=COLLECTION,
                                **kwargs)

    def add_text(self, texts, metadata=None, **options):
        """{identifier: text}; returns {identifier: status}."""
        items = [(key, text, item_options(metadata, **options)) for key, text in texts.items()]
        return {str(key): int(status) for key, status in self.call("AddText", "a(ssa{sv})", items)}

    def add_media(self, media, metadata=None, **options):
        """{identifier: descriptor}"""
        items = [(key, dbus.types.UnixFd(fd), "", item_options(metadata, **options))
                 for key, fd in media.items()]
        return {str(key): int(status)
                for key, status in self.call("AddMedia", "a(shsa{sv})", items)}

    def add_vectors(self, fd, **options):
        return int(self.call("AddVectors", "ha{sv}", dbus.types.UnixFd(fd), options))

    def remove(self, *keys):
        return int(self.call("Remove", "as", keys))

    def get(self, *keys):
        return {str(key): properties for key, properties in self.call("Get", "as", keys)}

    def list(self, after="", limit=4096):
        return [str(key) for key in self.call("List", "su", after, limit)]

    def sync(self):
        self.call("Sync", "")

    def search(self, text, **options):
        """[(identifier, score, properties)], info"""
        return self.call("Search", "sa{sv}", text, options)

    def found(self, text, **options):
        return [str(key) for key, _, _ in self.search(text, **options)[0]]

    def search_vector(self, vector, **options):
        return self.call("SearchVector", "aya{sv}", dbus.ByteArray(vector), options)

    def search_media(self, fd, **options):
        return self.call("SearchMedia", "hsa{sv}", dbus.types.UnixFd(fd), "", options)

    def ask(self, question, media=(), **options):
        return self.client.ask(question, media, path=self.path, interface=COLLECTION, **options)


class Request:
    def __init__(self, client, path):
        self.client, self.path = client, path

    def call(self, member, signature="", *args, **kwargs):
        return self.client.call(member, signature, *args, path=self.path, interface=REQUEST,
                                **kwargs)

    def wait(self, timeout=30):
        return self.call("Wait", timeout=timeout)

    def text(self):
        return str(self.wait()["text"])

    def cancel(self):
        self.call("Cancel")

    def release(self):
        self.call("Release")

    def stream(self):
        return Stream(self.call("OpenStream", "a{sv}", {}).take())


class Stream:
    """Frames of one answer as (kind, text); checks what every frame must have."""

    def __init__(self, fd):
        self.socket = socket.socket(fileno=fd)
        self.socket.settimeout(30 * SLOW)
        self.sequence = 0

    def frame(self):
        packet = self.socket.recv(1 << 16)
        if not packet:
            return None
        sequence, kind, zero = struct.unpack_from("<IB3s", packet)
        assert sequence == self.sequence, (sequence, self.sequence)
        assert zero == b"\0\0\0"
        self.sequence += 1
        return kind, packet[8:].decode()

    def frames(self):
        """All that are left; the stream is closed then."""
        found = list(iter(self.frame, None))
        self.close()
        return found

    def close(self):
        self.socket.close()


def packed(*texts, count=None, magic=b"percept1", zero=0):
    """What EmbedBulk takes."""
    header = struct.pack("<8sII", magic, len(texts) if count is None else count, zero)
    return header + b"".join(text + b"\0" for text in texts)


def deltas(frames):
    return "".join(text for kind, text in frames if kind == DELTA)


class ServiceTest(unittest.TestCase):
    """Starts command(bus) for the class; after each test the service must serve the next call."""

    bus_type = Bus

    @classmethod
    def command(cls, bus):
        raise NotImplementedError

    @classmethod
    def start(cls):
        os.environ["STATE_DIRECTORY"] = os.path.join(cls.bus.folder, "state")
        cls.service = subprocess.Popen(WRAPPER + cls.command(cls.bus), stdout=subprocess.PIPE, text=True)
        for _ in range(500 * SLOW):
            client = Client(cls.bus)
            owned = client.connection.name_has_owner(NAME)
            client.close()
            if owned:
                return
            if cls.service.poll() is not None:
                break
            time.sleep(0.02)
        raise AssertionError("the service did not start")

    @classmethod
    def setUpClass(cls):
        cls.bus = cls.bus_type()
        cls.start()

    @classmethod
    def tearDownClass(cls):
        try:
            cls.stop()
        finally:
            cls.bus.close()

    @classmethod
    def stop(cls):
        """A clean end: whatever a sanitizer or an assertion found shows in the status."""
        cls.service.send_signal(signal.SIGTERM)
        status = cls.service.wait(60 * SLOW)
        cls.service.stdout.close()
        assert status == 0, f"the service ended with {status}"

    def setUp(self):
        self.client = Client(self.bus)
        self.addCleanup(self.check_alive)

    def check_alive(self):
        self.assertIsNone(self.service.poll(), "the service died")
        client = Client(self.bus)
        self.assertEqual(len(client.embed("still there")[0]), 1)
        client.close()
        self.client.close()

    def another_client(self):
        client = Client(self.bus)
        self.addCleanup(client.close)
        return client

    def refused(self, name, function, *args, **kwargs):
        """Calls and returns the error's text; the error must have this name."""
        with self.assertRaises(dbus.DBusException) as caught:
            function(*args, **kwargs)
        self.assertEqual(caught.exception.get_dbus_name().replace(ERROR, "").replace(STANDARD, ""),
                         name)
        return caught.exception.get_dbus_message()

    def eventually(self, condition, seconds=10):
        end = time.monotonic() + seconds * SLOW
        while not condition():
            self.assertLess(time.monotonic(), end, "it did not happen")
            time.sleep(0.01)


def memfd(data=b"", seals=0):
    fd = os.memfd_create("test", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    os.write(fd, data)
    if seals:
        import fcntl
        fcntl.fcntl(fd, 1033, seals)  # F_ADD_SEALS
    return fd


SEALS = 0x1 | 0x2 | 0x4 | 0x8  # SEAL, SHRINK, GROW, WRITE
