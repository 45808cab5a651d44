"""The real daemon with a real model, for the tests that need one."""

import os
import sys

from fixture import ServiceTest

SKIP = 77


class Paths:
    """Set from the command line: PERCEPTD HELPER FIXTURES [MODEL]."""
    perceptd = helper = fixtures = model = None

    @classmethod
    def take(cls, need_model=True, need_root=False):
        cls.perceptd, cls.helper, cls.fixtures, *rest = sys.argv[1:]
        del sys.argv[1:]
        cls.model = rest[0] if rest else os.environ.get("PERCEPT_MODEL")
        if need_model and not cls.model:
            print("there is no model: set PERCEPT_MODEL to a GGUF file")
            sys.exit(SKIP)
        if need_root and os.geteuid() != 0:
            print("being two users wants root")
            sys.exit(SKIP)


def another_model(to):
    """The same weights under another name inside the file: another digest."""
    with open(Paths.model, "rb") as file:
        data = file.read()
    at = data.index(b"general.name") + len(b"general.name") + 4 + 8
    with open(to, "wb") as file:
        file.write(data[:at] + bytes([data[at] ^ 1]) + data[at + 1:])


def fixture(name):
    return os.path.join(Paths.fixtures, name)


class DaemonTest(ServiceTest):
    configuration = ""  # defaults

    @classmethod
    def command(cls, bus):
        config = os.path.join(bus.folder, "perceptd.conf")
        with open(config, "w", encoding="utf-8") as file:
            file.write(cls.configuration)
        return [Paths.perceptd, f"--bus={bus.address}", f"--model={Paths.model}",
                f"--media-helper={Paths.helper}", f"--config={config}"]

    def open(self, name):
        fd = os.open(name if "/" in name else fixture(name), os.O_RDONLY | os.O_CLOEXEC)
        self.addCleanup(os.close, fd)
        return fd

    def embed_media(self, *names, client=None, **options):
        """Names of fixtures or descriptors; returns ([(status, vector)], info)."""
        import dbus
        media = [(dbus.types.UnixFd(self.open(n) if isinstance(n, str) else n), "") for n in names]
        items, info = (client or self.client).call("EmbedMedia", "a(hs)a{sv}", media, options)
        return [(int(status), bytes(vector)) for status, vector in items], info
