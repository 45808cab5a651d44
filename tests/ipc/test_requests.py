#!/usr/bin/python3
"""Requests, streams, descriptors and quotas, against the service without a model.

usage: test_requests.py FAKE
"""

import os
import socket
import sys
import tempfile
import threading
import time
import unittest

import dbus
import dbus.lowlevel

from fixture import (DELTA, END, ERROR, PATH, PROGRESS, REQUEST, SEALS, STANDARD, STREAM_ERROR, Request,
                     ServiceTest, deltas, memfd)


class FakeTest(ServiceTest):
    @classmethod
    def command(cls, bus):
        return [FAKE, bus.address]

    def counts(self):
        words = str(self.client.property("DegradedReason")).split()
        return int(words[1]), int(words[3])


class Answers(FakeTest):
    def test_wait(self):
        text = "Grüße, 世界 \U0001f30d!"
        request = self.client.ask("say " + text)
        result = request.wait()
        self.assertEqual(result["text"], text)
        self.assertEqual(result["finish"], "stop")
        self.assertEqual(result["info"]["model"], "fake")
        self.assertEqual(request.wait(), result, "a result is kept")
        self.assertEqual(request.client.property("Stage", request.path, REQUEST), "done")

    def test_unsound_text(self):
        for raw, text in (("ff41", "\ufffdA"), ("e282", "\ufffd"), ("00", "\ufffd"),
                          ("c080", "\ufffd\ufffd"), ("eda080", "\ufffd\ufffd\ufffd"),
                          ("f09f8c8d", "\U0001f30d"), ("e24182ac", "\ufffdA\ufffd\ufffd"), ("", "")):
            with self.subTest(raw=raw):
                request = self.client.ask("raw " + raw)
                frames = request.stream().frames()
                self.assertEqual(request.text(), text)
                self.assertEqual(deltas(frames), text)

    def test_failures(self):
        self.assertEqual(self.refused("ModelUnavailable", self.client.ask, "refuse"),
                         "No model is installed.")
        request = self.client.ask("fail")
        self.assertEqual(self.refused("DecodeFailed", request.wait),
                         "The picture is damaged: \ufffd.")
        self.assertEqual(request.stream().frames()[-1],
                         (STREAM_ERROR, ERROR + "DecodeFailed The picture is damaged: \ufffd."))

    def test_stream(self):
        text = "Grüße, 世界 \U0001f30d! " * 20
        request = self.client.ask("say " + text.strip())
        frames = request.stream().frames()
        self.assertEqual(deltas(frames), text.strip())
        self.assertGreater(len(frames), 20, "it came in pieces")
        self.assertEqual(frames[-1], (END, ""))
        self.refused("LimitsExceeded", request.stream)

    def test_stream_replays(self):
        request = self.client.ask("say " + "word " * 3000)
        text = request.text()
        frames = request.stream().frames()
        self.assertEqual(deltas(frames), text)
        self.assertEqual([kind for kind, _ in frames], [DELTA] * (len(frames) - 1) + [END])

    def test_cancel(self):
        request = self.client.ask("hang")
        stream = request.stream()
        before, _ = self.counts()
        request.cancel()
        self.refused("Cancelled", request.wait)
        self.assertTrue(stream.frames()[-1][1].startswith(ERROR + "Cancelled"))
        self.assertEqual(self.counts()[0], before + 1)
        request.cancel()

    def test_release(self):
        request = self.client.ask("hang")
        request.release()
        self.refused("UnknownObject", request.wait)
        request = self.client.ask("say ok", handle_token="again")
        request.wait()
        self.refused("InvalidArgs", self.client.ask, "say ok", handle_token="again")
        request.release()
        self.assertEqual(self.client.ask("say ok", handle_token="again").text(), "ok")

    def test_release_answers_those_who_wait(self):
        request = self.client.ask("hang")
        waiting = self.client.connection.send_message_with_reply
        replies = []
        message = dbus.lowlevel.MethodCallMessage(self.client.connection.get_name_owner(
            "org.perceptd.Percept1"), request.path, REQUEST, "Wait")
        pending = [waiting(message.copy(), replies.append, 30) for _ in range(5)]
        self.refused("LimitsExceeded", request.call, "Wait", timeout=5)
        request.release()
        self.assertEqual(len(pending), 5)

    def test_a_time_out_of_wait_cancels_nothing(self):
        request = self.client.ask("hang")
        self.refused("NoReply", request.wait, timeout=0.1)
        self.assertEqual(self.client.property("Stage", request.path, REQUEST), "decode")
        request.release()

    def test_deadline(self):
        request = self.client.ask("hang", deadline_ms=dbus.UInt32(50))
        self.refused("Timeout", request.wait)

    def test_calls_right_behind_the_first(self):
        """A new connection's calls wait for its uid, in order: the predictable path is there for the Wait."""
        client = self.another_client()
        sender = client.name[1:].replace(".", "_")
        send = client.connection.send_message
        ask = dbus.lowlevel.MethodCallMessage("org.perceptd.Percept1", PATH,
                                              "org.perceptd.Percept1.Manager", "Ask")
        ask.append("say first", [], {"handle_token": "one"}, signature="sa(hs)a{sv}")
        send(ask)
        request = Request(client, f"{PATH}/requests/{sender}/one")
        self.assertEqual(request.text(), "first")


class Strangers(FakeTest):
    def test_requests_are_their_senders(self):
        request = self.client.ask("hang", handle_token="mine")
        other = self.another_client()
        other.embed("known")
        for member, signature, args in (("Wait", "", ()), ("Cancel", "", ()), ("Release", "", ()),
                                        ("OpenStream", "a{sv}", ({},))):
            self.refused("AccessDenied", other.call, member, signature, *args, path=request.path,
                         interface=REQUEST)
        self.refused("AccessDenied", other.property, "Stage", request.path, REQUEST)
        self.assertEqual(self.client.property("Stage", request.path, REQUEST), "decode")
        request.release()

    def test_forged_leave(self):
        request = self.client.ask("hang")
        other = self.another_client()
        forged = dbus.lowlevel.SignalMessage("/org/freedesktop/DBus", "org.freedesktop.DBus",
                                             "NameOwnerChanged")
        forged.append(self.client.name, self.client.name, "", signature="sss")
        forged.set_destination("org.perceptd.Percept1")
        other.connection.send_message(forged)
        other.embed("behind it")
        self.assertEqual(self.client.property("Stage", request.path, REQUEST), "decode")
        request.release()


class Leaving(FakeTest):
    def test_client_leaves(self):
        before, _ = self.counts()
        other = self.another_client()
        for _ in range(3):
            other.ask("hang")
        mine = self.client.ask("say mine")
        other.close()
        self.eventually(lambda: self.counts()[0] == before + 3)
        self.assertEqual(mine.text(), "mine")

    def test_stream_is_closed(self):
        before, _ = self.counts()
        request = self.client.ask("flood")
        stream = request.stream()
        self.assertTrue(stream.frame())
        stream.close()
        self.refused("Cancelled", request.wait)
        self.assertEqual(self.counts()[0], before + 1)

    def test_slow_reader(self):
        """A full socket pauses that answer only, and it goes on when there is room."""
        _, before = self.counts()
        request = self.client.ask("flood")
        stream = request.stream()
        self.eventually(lambda: self.counts()[1] > before)
        self.assertEqual(self.another_client().ask("say fast").text(), "fast")
        paused = self.counts()[1]
        while self.counts()[1] == paused:
            stream.frame()
        request.cancel()
        kinds = [kind for kind, _ in stream.frames()]
        self.assertEqual(kinds[-1], STREAM_ERROR)

    def test_closed_when_done(self):
        before, _ = self.counts()
        request = self.client.ask("say ok")
        request.wait()
        stream = request.stream()
        stream.close()
        self.assertEqual(request.text(), "ok")
        self.assertEqual(self.counts()[0], before)


class Impatient(FakeTest):
    """A service that keeps a finished request for half a second only, and waits for a reader as long."""

    @classmethod
    def command(cls, bus):
        return [*super().command(bus), "500", "500"]

    def test_a_finished_request_expires(self):
        requests = [self.client.ask("say ok") for _ in range(16)]
        for request in requests:
            self.assertEqual(request.text(), "ok")
        ended = time.monotonic()
        self.refused("QuotaExceeded", self.client.embed, "a")
        self.eventually(lambda: self.is_gone(requests[-1]))
        self.assertGreater(time.monotonic() - ended, 0.4)
        for request in requests:
            self.refused("UnknownObject", request.wait)
        self.client.embed("a")

    def is_gone(self, request):
        try:
            self.client.property("Stage", request.path, REQUEST)
            return False
        except dbus.DBusException as error:
            self.assertEqual(error.get_dbus_name(), STANDARD + "UnknownObject")
            return True

    def test_what_runs_does_not_expire(self):
        request = self.client.ask("hang")
        done = self.client.ask("say ok")
        self.eventually(lambda: self.is_gone(done))
        self.assertEqual(self.client.property("Stage", request.path, REQUEST), "decode")
        request.release()

    def test_nobody_reads(self):
        request = self.client.ask("flood")
        stream = request.stream()
        self.assertIn("stream", self.refused("Timeout", request.wait))
        self.assertEqual(self.client.property("Stage", request.path, REQUEST), "done")
        stream.close()

    def test_a_slow_reader_is_waited_for(self):
        request = self.client.ask("flood")
        stream = request.stream()
        end = time.monotonic() + 1.5
        while time.monotonic() < end:
            for _ in range(50):
                self.assertIn(stream.frame()[0], (DELTA, PROGRESS))
            time.sleep(0.05)
        self.assertEqual(self.client.property("Stage", request.path, REQUEST), "decode")
        request.release()
        stream.close()


class Quotas(FakeTest):
    def test_connection(self):
        requests = [self.client.ask("hang") for _ in range(15)] + [self.client.ask("say done")]
        requests[-1].wait()
        self.assertIn("16", self.refused("QuotaExceeded", self.client.ask, "hang"))
        self.refused("QuotaExceeded", self.client.embed, "a")
        self.assertEqual(requests[-1].text(), "done", "what is running goes on")
        requests.pop().release()
        self.client.embed("a")
        requests.append(self.client.ask("hang"))
        for request in requests:
            request.release()

    def test_uid(self):
        others = [self.another_client() for _ in range(2)]
        for other in others:
            for _ in range(16):
                other.ask("hang")
        self.assertIn("user", self.refused("QuotaExceeded", self.client.ask, "hang"))
        self.assertEqual(self.client.property("QueueDepth"), 32, "properties are free")
        others[0].close()
        self.eventually(lambda: self.client.property("QueueDepth") == 16)
        self.client.ask("hang").release()
        others[1].close()
        self.eventually(lambda: self.client.property("QueueDepth") == 0)

    def test_burst_before_the_uid_is_known(self):
        client = self.another_client()
        message = dbus.lowlevel.MethodCallMessage("org.perceptd.Percept1", PATH,
                                                  "org.perceptd.Percept1.Manager", "EmbedText")
        message.append(["a"], {}, signature="asa{sv}")
        for _ in range(200):
            client.connection.send_message(message.copy())
        # Those above the quota are refused at once, and so may be this one; then there is room again.
        self.eventually(lambda: self.served(client))

    def served(self, client):
        try:
            return len(client.embed("after it")[0]) == 1
        except dbus.DBusException as error:
            self.assertEqual(error.get_dbus_name(), ERROR + "QuotaExceeded")
            return False


class Descriptors(FakeTest):
    def read(self, fd, timeout=30):
        request = self.client.ask("read", [(fd, "")])
        try:
            return request.wait(timeout)["text"]
        finally:
            request.release()

    def test_regular_file(self):
        with tempfile.TemporaryFile() as file:
            file.write(b"x" * 700000)
            file.flush()
            self.assertEqual(file.tell(), 700000)
            self.assertEqual(self.read(file.fileno()), "700000 bytes", "the offset is ignored")
            self.assertEqual(file.tell(), 700000, "and left alone")

    def test_memfds(self):
        for seals in 0, SEALS, 0x2 | 0x8:
            fd = memfd(b"x" * 5000, seals)
            self.assertEqual(self.read(fd), "5000 bytes")
            os.close(fd)

    def test_pipe(self):
        for flags in 0, os.O_NONBLOCK:
            reader, writer = os.pipe2(os.O_CLOEXEC | flags)
            os.set_blocking(writer, True)
            thread = threading.Thread(target=lambda w=writer: (os.write(w, b"x" * 300000),
                                                               os.close(w)))
            thread.start()
            self.assertEqual(self.read(reader), "300000 bytes")
            thread.join()
            os.close(reader)

    def test_pipe_without_end(self):
        reader, writer = os.pipe()
        os.write(writer, b"x")
        start = time.monotonic()
        self.refused("Timeout", self.read, reader)
        self.assertLess(time.monotonic() - start, 5)
        os.close(reader)
        os.close(writer)

    def test_shared_pipe(self):
        """Someone else takes what the service saw coming: it must not hang on the read."""
        reader, writer = os.pipe()
        request = self.client.ask("read", [(reader, "")])
        os.write(writer, b"x")
        os.set_blocking(reader, False)
        try:
            os.read(reader, 10)
        except BlockingIOError:
            pass
        self.refused("Timeout", request.wait)
        os.close(reader)
        os.close(writer)

    def test_sockets(self):
        for kind in socket.SOCK_STREAM, socket.SOCK_SEQPACKET:
            ours, theirs = socket.socketpair(socket.AF_UNIX, kind)
            ours.send(b"x" * 1000)
            ours.shutdown(socket.SHUT_WR)
            self.assertEqual(self.read(theirs.fileno()), "1000 bytes")
            ours.close()
            theirs.close()

    def test_bad_ones(self):
        for path, flags in (("/", os.O_RDONLY), ("/dev/zero", os.O_RDONLY), ("/dev/null", os.O_RDONLY),
                            ("/etc/passwd", os.O_PATH), (tempfile.gettempdir(),
                                                         os.O_TMPFILE | os.O_WRONLY)):
            with self.subTest(path=path):
                fd = os.open(path, flags)
                self.refused("BadDescriptor", self.read, fd)
                os.close(fd)
        for fd in os.eventfd(0), os.pipe()[1]:
            self.refused("BadDescriptor", self.read, fd)
            os.close(fd)

    def test_too_large(self):
        for fd in os.open(tempfile.gettempdir(), os.O_TMPFILE | os.O_RDWR), memfd(), memfd():
            os.ftruncate(fd, (64 << 20) + 1)
            self.refused("TooLarge", self.read, fd)
            os.close(fd)

    def test_too_large_sealed(self):
        import fcntl
        fd = memfd()
        os.ftruncate(fd, (64 << 20) + 1)
        fcntl.fcntl(fd, 1033, SEALS)
        self.refused("TooLarge", self.read, fd)
        os.close(fd)

    def test_no_descriptor_is_left_open(self):
        folder = f"/proc/{self.service.pid}/fd"
        self.read(memfd(b"x"))
        before = len(os.listdir(folder))
        for _ in range(20):
            reader, writer = os.pipe()
            os.close(writer)
            self.read(reader)
            self.refused("InvalidArgs", self.client.ask, "read", [(reader, "")], colour="red")
            self.refused("UnsupportedMedia", self.client.ask, "read", [(reader, "text/plain")])
            os.close(reader)
        self.eventually(lambda: len(os.listdir(folder)) <= before)


if __name__ == "__main__":
    FAKE = sys.argv.pop(1)
    unittest.main(verbosity=2)
