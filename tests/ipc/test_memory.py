#!/usr/bin/python3
"""What one user may have decoded at a time, and that no more of it is kept than is counted.

usage: test_memory.py PERCEPTD HELPER FIXTURES [MODEL]
"""

import os
import struct
import unittest
import zlib

import dbus
import dbus.lowlevel

from fixture import MANAGER, NAME, PATH, SEALS, memfd
from service import DaemonTest, Paths

SIDE = 6000  # decoded 108 MB: two go into the quota of 256 MiB, three do not
QUOTA_EXCEEDED, TOO_LARGE = 33, 35


def white_png(width, height):
    """One bit a pixel: a small file, three bytes a pixel when decoded."""
    row = b"\0" + b"\xff" * ((width + 7) // 8)
    packer = zlib.compressobj(1)
    data = b"".join([*(packer.compress(row) for _ in range(height)), packer.flush()])
    header = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(chunk) - 4) + chunk + struct.pack(">I", zlib.crc32(chunk))
        for chunk in (b"IHDR" + header, b"IDAT" + data, b"IEND"))


class Memory(DaemonTest):
    def mapped(self):
        """Bytes of decoded media that the service has."""
        total = 0
        with open(f"/proc/{self.service.pid}/maps", encoding="utf-8") as file:
            for line in file:
                if "memfd:percept-media" in line:
                    begin, end = (int(part, 16) for part in line.split()[0].split("-"))
                    total += end - begin
        return total

    def begin(self, fds):
        message = dbus.lowlevel.MethodCallMessage(NAME, PATH, MANAGER, "EmbedMedia")
        media = [(dbus.types.UnixFd(fd), "image/png") for fd in fds]
        message.append(media, {}, signature="a(hs)a{sv}")
        self.client.connection.send_message(message)
        self.client.connection.flush()

    def test_what_is_not_counted_is_not_kept(self):
        """The last medium is a pipe that stays open, so that those before it are held."""
        fd = memfd(white_png(SIDE, SIDE), SEALS)
        size = 3 * SIDE * SIDE
        reader, writer = os.pipe()
        threads = len(os.listdir(f"/proc/{self.service.pid}/task"))
        self.begin([fd] * 3 + [reader])
        os.close(reader)
        # A thread reads the pipe when those before it are through.
        self.eventually(lambda: len(os.listdir(f"/proc/{self.service.pid}/task")) > threads, 60)
        self.assertEqual(self.mapped() // size, 2)
        other = self.another_client()
        items, _ = self.embed_media(fd, client=other)
        self.assertEqual(items, [(QUOTA_EXCEEDED, b"")], "of the user, whatever the connection")
        os.close(writer)
        self.eventually(lambda: self.mapped() == 0)
        items, _ = self.embed_media(fd, fd)
        self.assertEqual([status for status, _ in items], [0, 0], "it is given back")
        self.eventually(lambda: self.mapped() == 0)
        os.close(fd)

    def test_larger_than_the_quota(self):
        fd = memfd(white_png(9600, 9600), SEALS)  # 276 MB decoded, under 100 million pixels
        items, _ = self.embed_media(fd)
        self.assertEqual(items, [(TOO_LARGE, b"")])
        self.assertEqual(self.mapped(), 0)
        os.close(fd)


if __name__ == "__main__":
    Paths.take()
    unittest.main(verbosity=2)
