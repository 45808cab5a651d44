#!/usr/bin/python3
"""What strangers send: each gets its typed error, and the service serves the next call.

usage: test_bad_input.py PERCEPTD HELPER FIXTURES [MODEL]
"""

import os
import shutil
import signal
import struct
import tempfile
import unittest
import zlib

import dbus
import dbus.lowlevel

from fixture import ERROR, MANAGER, NAME, PATH, SEALS, STREAM_ERROR, memfd
from service import DaemonTest, Paths, fixture

UNSUPPORTED, DAMAGED, TOO_LARGE, BAD_DESCRIPTOR = 37, 38, 35, 39


def content(name):
    with open(fixture(name), "rb") as file:
        return file.read()


def png(width, height):
    header = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    data = b"IDAT" + zlib.compress(b"\0" * 100)
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(chunk) - 4) + chunk + struct.pack(">I", zlib.crc32(chunk))
        for chunk in (header, data, b"IEND"))


def wav(samples, claimed):
    data = struct.pack(f"<{len(samples)}h", *samples)
    size = (2 * claimed) & 0xffffffff
    return (b"RIFF" + struct.pack("<I", (36 + size) & 0xffffffff) + b"WAVEfmt "
            + struct.pack("<IHHIIHH", 16, 1, 1, 16000, 32000, 2, 16) + b"data"
            + struct.pack("<I", size) + data)


BAD = {
    "text": (b"This is no picture at all.\n" * 50, UNSUPPORTED, "UnsupportedMedia"),
    "nothing": (b"", DAMAGED, "DecodeFailed"),
    "one byte": (b"\xff", UNSUPPORTED, "UnsupportedMedia"),
    "truncated JPEG": (lambda: content("shapes.jpg")[:1500], DAMAGED, "DecodeFailed"),
    "JPEG header only": (lambda: content("shapes.jpg")[:3], DAMAGED, "DecodeFailed"),
    "truncated PNG": (lambda: content("emoji.png")[:-700], DAMAGED, "DecodeFailed"),
    "truncated WebP": (lambda: content("word.webp")[:-200], DAMAGED, "DecodeFailed"),
    "truncated WAV": (lambda: content("sound.wav")[:-3000], DAMAGED, "DecodeFailed"),
    "truncated FLAC": (lambda: content("speech.flac")[:400], DAMAGED, "DecodeFailed"),
    "60,000 x 60,000 PNG": (png(60000, 60000), TOO_LARGE, "TooLarge"),
    "WAV of 2^31 samples": (wav([0] * 100, 1 << 31), None, None),
    "WAV of 2^30 samples": (wav([0] * 100, 1 << 30), None, None),
    "WAV of one sample": (wav([1000], 1), DAMAGED, "DecodeFailed"),
    "WAV of no sample": (wav([], 0), DAMAGED, "DecodeFailed"),
    "a minute of WAV": (wav([0] * 960000, 960000), TOO_LARGE, "TooLarge"),
}


class Media(DaemonTest):
    def bytes_of(self, name):
        data = BAD[name][0]
        return data() if callable(data) else data

    def test_in_a_batch(self):
        """A good picture between bad ones is embedded all the same."""
        good, _ = self.embed_media("emoji.png")
        for name, (_, status, _) in BAD.items():
            with self.subTest(name=name):
                fd = memfd(self.bytes_of(name))
                items, _ = self.embed_media(fd, "emoji.png", fd)
                os.close(fd)
                found = {items[0][0], items[2][0]}
                # What the header lies about is damage or too large: either way it is refused.
                self.assertEqual(len(found), 1)
                self.assertLessEqual(found, {status} if status else {DAMAGED, TOO_LARGE})
                self.assertEqual((items[0][1], items[2][1]), (b"", b""))
                self.assertEqual(items[1], good[0])

    def test_in_a_question(self):
        for name, (_, _, error) in BAD.items():
            with self.subTest(name=name):
                fd = memfd(self.bytes_of(name))
                request = self.client.ask("What is it?", [(fd, "")])
                os.close(fd)
                frames = request.stream().frames()
                self.assertEqual(frames[-1][0], STREAM_ERROR)
                found = frames[-1][1].split()[0].replace(ERROR, "")
                self.assertIn(found, (error,) if error else ("DecodeFailed", "TooLarge"))
                self.refused(found, request.wait)
                request.release()

    def test_in_classify(self):
        for name in "text", "truncated PNG", "60,000 x 60,000 PNG":
            fd = memfd(self.bytes_of(name))
            self.refused(BAD[name][2], self.client.call, "Classify", "hsasa{sv}",
                         dbus.types.UnixFd(fd), "", ["a"], {})
            os.close(fd)

    def test_hint_is_a_promise(self):
        sound, picture = self.open("sound.wav"), self.open("emoji.png")
        for fd, hint in (sound, "image/jpeg"), (picture, "audio/wav"):
            self.refused("UnsupportedMedia", self.client.ask("What?", [(fd, hint)]).wait)
        self.client.ask("What?", [(picture, "image/jpeg")], max_tokens=dbus.UInt32(1)).wait()

    def test_descriptors(self):
        folder = os.open("/", os.O_RDONLY)
        items, _ = self.embed_media(folder, "emoji.png")
        self.assertEqual([status for status, _ in items], [BAD_DESCRIPTOR, 0])
        os.close(folder)
        zero = os.open("/dev/zero", os.O_RDONLY)
        self.refused("BadDescriptor", self.client.ask("What?", [(zero, "")]).wait)
        os.close(zero)

    def test_truncation_of_sound(self):
        minute = memfd(self.bytes_of("a minute of WAV"))
        items, info = self.embed_media(minute, "sound.wav", truncate="head")
        self.assertEqual([status for status, _ in items], [0, 0])
        self.assertEqual(list(info["truncated"]), [True, False])
        self.refused("NotSupported", self.embed_media, minute, truncate="tail")
        os.close(minute)


class Calls(DaemonTest):
    def test_wrong_signature(self):
        for member in "EmbedText", "EmbedMedia", "Classify", "Ask":
            self.refused("InvalidArgs", self.client.call, member, "s", "x")

    def test_unknown_option(self):
        self.refused("InvalidArgs", self.client.ask, "What?", colour="red")
        self.refused("InvalidArgs", self.client.embed, "x", colour="red")

    def test_questions(self):
        self.refused("InvalidArgs", self.client.ask, "")
        self.refused("InvalidArgs", self.client.ask, " \n\t ")
        self.refused("TooLarge", self.client.ask, "a" * (10 << 20))
        self.refused("TooLarge", self.client.ask("a b " * 16000).wait)

    def test_strange_texts(self):
        """Every character there is has a token; none of them may end the daemon."""
        texts = ["\x01\x7f\u0080", "\ufeff\u200b\u202e", "\U0010fffd" * 20, "<bos><eos><image>",
                 "e\u0301" * 50, "\r\n\v\f x"]
        vectors, _ = self.client.embed(*texts)
        self.assertEqual(len(vectors), len(texts))
        for text in texts:
            self.client.ask(text, max_tokens=dbus.UInt32(2)).wait()

    def test_client_leaves(self):
        """In every state of its answer."""
        for delay in 0, 0.001, 0.005, 0.02:
            other = self.another_client()
            for _ in range(4):
                other.ask("Tell me all.", [(self.open("shapes.jpg"), "")],
                          max_tokens=dbus.UInt32(1000))
            signal.sigtimedwait([], delay)
            other.close()
        self.eventually(lambda: self.client.property("QueueDepth") == 0)

    def test_client_leaves_its_stream(self):
        request = self.client.ask("Tell me all.", max_tokens=dbus.UInt32(1000), temperature=100.0,
                                  seed=dbus.UInt64(5))
        stream = request.stream()
        self.assertTrue(stream.frame())
        stream.close()
        try:
            request.wait()  # it may have been done already
        except dbus.DBusException as error:
            self.assertEqual(error.get_dbus_name(), ERROR + "Cancelled")

    def test_deadline(self):
        request = self.client.ask("Tell me all.", [(self.open("shapes-large.jpg"), "")],
                                  max_tokens=dbus.UInt32(1000), deadline_ms=dbus.UInt32(1))
        self.refused("Timeout", request.wait)


class Model(DaemonTest):
    """A file that is no model of ours; then the right one takes its place."""

    @classmethod
    def command(cls, bus):
        cls.folder = tempfile.mkdtemp(prefix="perceptd-model-")
        cls.model = os.path.join(cls.folder, "model.gguf")
        return [Paths.perceptd, f"--bus={bus.address}", f"--model={cls.model}",
                f"--media-helper={Paths.helper}", "--config=/dev/null"]

    @classmethod
    def tearDownClass(cls):
        super().tearDownClass()
        shutil.rmtree(cls.folder)

    def check_alive(self):
        self.assertIsNone(self.service.poll(), "the service died")
        self.client.close()

    def replace(self, data):
        with open(self.model + ".new", "wb") as file:
            file.write(data)
        os.rename(self.model + ".new", self.model)

    def test_refused_and_replaced(self):
        with open(Paths.model, "rb") as file:
            whole = file.read()
        foreign = (b"GGUF" + struct.pack("<IQQ", 3, 0, 1)
                   + struct.pack("<Q", 20) + b"general.architecture"
                   + struct.pack("<IQ", 8, 5) + b"llama")
        self.refused("ModelUnavailable", self.client.embed, "no file at all")
        for name, data in (("empty", b""), ("text", b"no model\n" * 100), ("foreign", foreign),
                           ("head only", whole[:1000]), ("cut", whole[:len(whole) // 2]),
                           ("damaged", whole[:5000] + b"\xff" * 2000 + whole[7000:])):
            with self.subTest(name=name):
                self.replace(data)
                self.refused("ModelUnavailable", self.client.embed, "x")
                self.refused("ModelUnavailable", self.client.ask("What?").wait)
                fd = self.open("emoji.png")
                self.refused("ModelUnavailable", self.embed_media, fd)
                self.assertEqual(self.client.property("State"), "failed")
                reason = str(self.client.property("DegradedReason"))
                self.assertTrue(reason)
                self.assertNotIn(self.folder, reason)
        self.replace(whole)
        self.assertEqual(len(self.client.embed("here we are")[0]), 1)
        every = self.client.call("GetAll", "s", MANAGER, interface="org.freedesktop.DBus.Properties")
        self.assertEqual((every["State"], every["DegradedReason"]), ("ready", ""))


class Stop(DaemonTest):
    """A helper that hangs and can be started once only."""

    @classmethod
    def command(cls, bus):
        helper = os.path.join(bus.folder, "helper")
        with open(helper, "w", encoding="ascii") as file:
            file.write('#!/bin/sh\nrm -f "$0"\nexec sleep 60\n')
        os.chmod(helper, 0o700)
        cls.helper = helper
        return [Paths.perceptd, f"--bus={bus.address}", f"--model={Paths.model}",
                f"--media-helper={helper}", "--config=/dev/null"]

    def classify(self, fd):
        message = dbus.lowlevel.MethodCallMessage(NAME, PATH, MANAGER, "Classify")
        message.append(dbus.types.UnixFd(fd), "", ["a"], {}, signature="hsasa{sv}")
        self.client.connection.send_message(message)
        self.client.connection.flush()

    def check_alive(self):
        """The client stays until the daemon has ended."""
        type(self).kept = self.client

    @classmethod
    def tearDownClass(cls):
        super().tearDownClass()
        cls.kept.close()

    def threads(self):
        return len(os.listdir(f"/proc/{self.service.pid}/task"))

    def test_next_in_line_fails(self):
        """Cancelling the call that decodes hands the helper to the one that is cancelled next."""
        before = self.threads()
        reader, writer = os.pipe()
        self.classify(reader)
        os.close(reader)
        self.eventually(lambda: self.threads() > before)
        self.classify(memfd(content("emoji.png"), SEALS))
        self.eventually(lambda: not os.path.exists(self.helper))
        os.write(writer, content("word.png"))
        os.close(writer)
        self.eventually(lambda: self.threads() == before)
        self.client.property("State")  # and the loop has seen it


if __name__ == "__main__":
    Paths.take()
    unittest.main(verbosity=2)
