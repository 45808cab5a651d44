#!/usr/bin/python3
"""perceptctl index, watch, search and purge, on real files and the real service.

usage: test_index.py PERCEPTCTL PERCEPTD HELPER FIXTURES [MODEL]
"""

import fcntl
import json
import os
import pty
import re
import select
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import termios
import time
import unittest

from service import DaemonTest, Paths, fixture

LONG = "x" * 240 + ".jpg"
NASTY = b"bad\xff\x1b]0;owned\x07 \n%.jpg"


class Case(DaemonTest):
    def setUp(self):
        super().setUp()
        self.folder = os.path.realpath(tempfile.mkdtemp(prefix="perceptctl-files-"))
        self.addCleanup(shutil.rmtree, self.folder)
        # A collection of its own for each test.
        self.collection = self.id().rsplit(".", 1)[1]

    def path(self, *names):
        return os.path.join(self.folder, *names)

    def copy(self, name, *to):
        path = self.path(*to) if to else self.path(name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        shutil.copyfile(fixture(name), path)
        return path

    def ctl_command(self, *args):
        return [CTL, f"--address={self.bus.address}", f"--collection={self.collection}", *args]

    def ctl(self, *args, status=0):
        run = subprocess.run(self.ctl_command(*args), capture_output=True, text=True, timeout=60,
                             check=False, errors="surrogateescape")
        self.assertEqual(run.returncode, status, run)
        return run.stdout, run.stderr

    def index(self, *args, status=0):
        """(added, unchanged, removed, failed)"""
        found = json.loads(self.ctl("index", "--json", *args, status=status)[0])
        return found["added"], found["unchanged"], found["removed"], len(found["failed"])

    def hits(self, *args):
        return json.loads(self.ctl("search", "--json", "--limit=1000", *args)[0])["hits"]

    def known(self):
        """URIs of all that the collection holds; none while there is no collection."""
        if self.collection not in self.client.collections():
            return set()
        return {hit["metadata"]["uri"] for hit in self.hits("a picture")}

    def uri(self, *names):
        return "file://" + self.path(*names)


class Index(Case):
    def test_skips_what_has_not_changed_and_removes_what_is_gone(self):
        self.copy("shapes.jpg")
        self.copy("window.png", "a", "b", "window.png")
        self.copy("speech.wav", "a", "speech.wav")
        self.assertEqual(self.index(self.folder), (3, 0, 0, 0))
        self.assertEqual(self.index(self.folder), (0, 3, 0, 0))
        shutil.copyfile(fixture("word.png"), self.path("shapes.jpg"))
        self.assertEqual(self.index(self.folder), (1, 2, 0, 0))
        shutil.rmtree(self.path("a", "b"))
        os.rename(self.path("a", "speech.wav"), self.path("a", "said.wav"))
        self.assertEqual(self.index(self.folder), (1, 1, 2, 0))
        self.assertEqual(self.known(), {self.uri("shapes.jpg"), self.uri("a", "said.wav")})
        self.assertEqual(self.ctl("index", self.folder)[0],
                         "0 added, 2 unchanged, 0 removed, 0 failed\n")

    def test_other_folders_are_left_alone(self):
        self.copy("shapes.jpg", "one", "a.jpg")
        self.copy("shapes.jpg", "one more", "a.jpg")
        self.index(self.folder)
        shutil.rmtree(self.path("one more"))
        self.assertEqual(self.index(self.path("one")), (0, 1, 0, 0))
        self.assertEqual(len(self.known()), 2)
        self.assertEqual(self.index(self.folder), (0, 1, 1, 0))

    def test_failures_are_told_and_do_not_stop_the_rest(self):
        for name in ("a.jpg", "c.jpg", "d.jpg"):
            self.copy("shapes.jpg", name)
        with open(self.path("b.jpg"), "wb") as file:
            file.write(b"no picture")
        with open(self.path("half.png"), "wb") as file, open(fixture("window.png"), "rb") as whole:
            file.write(whole.read(2000))
        text, errors = self.ctl("index", self.folder, status=1)
        self.assertEqual(text, "3 added, 0 unchanged, 0 removed, 2 failed\n")
        self.assertIn(f"{self.path('b.jpg')}: no picture or recording that can be read\n", errors)
        self.assertIn(f"{self.path('half.png')}: damaged\n", errors)
        self.assertEqual(self.index(self.folder, status=1), (0, 3, 0, 2))
        self.assertEqual(self.ctl("index", self.path("nowhere"), status=1)[0], "")

    def test_unreadable_folders_lose_nothing(self):
        if os.geteuid() == 0:
            self.skipTest("root reads everything")
        self.copy("shapes.jpg", "a", "b.jpg")
        self.index(self.folder)
        os.chmod(self.path("a"), 0)
        self.addCleanup(os.chmod, self.path("a"), 0o755)
        self.assertEqual(self.index(self.folder, status=1), (0, 0, 0, 1))
        self.assertEqual(len(self.known()), 1)

    def test_hostile_names(self):
        nasty = os.path.join(os.fsencode(self.folder), NASTY)
        shutil.copyfile(fixture("shapes.jpg"), nasty)
        os.makedirs(self.path("y" * 200))
        shutil.copyfile(fixture("shapes.jpg"), self.path("y" * 200, LONG))
        with open(os.path.join(os.fsencode(self.folder), b"\x1b[2J\xff.png"), "wb") as file:
            file.write(b"x")
        _, errors = self.ctl("index", self.folder, status=1)
        self.assertIn("/?[2J?.png: ", errors)
        self.assertNotIn("\x1b", errors)
        found = {hit["metadata"]["uri"]: hit for hit in self.hits("shapes")}
        uri = self.uri("bad%FF%1B%5D0%3Bowned%07%20%0A%25.jpg")
        self.assertEqual(found[uri]["path"], self.path("bad\ufffd\x1b]0;owned\x07 \n%.jpg"))
        long_hit = found[self.uri("y" * 200, LONG)]
        self.assertRegex(long_hit["id"], "^sha256:[0-9a-f]{64}$")
        self.assertEqual(long_hit["path"], self.path("y" * 200, LONG))
        shown = self.ctl("search", "shapes")[0]
        self.assertIn(f"  {self.folder}/bad??]0;owned? ?%.jpg\n", shown)
        self.assertEqual(len(shown.splitlines()), 2)
        failed = json.loads(self.ctl("index", "--json", self.folder, status=1)[0])["failed"]
        self.assertEqual(failed[0]["uri"], self.uri("%1B%5B2J%FF.png"))
        # What is gone goes, whichever way it is named.
        os.remove(nasty)
        shutil.rmtree(self.path("y" * 200))
        self.assertEqual(self.index(self.folder, status=1)[2], 2)
        self.assertEqual(self.known(), set())

    def test_what_is_left_out(self):
        self.copy("shapes.jpg", ".hidden.jpg")
        self.copy("shapes.jpg", ".cache", "a.jpg")
        self.copy("shapes.jpg", "private", "a.jpg")
        os.symlink(self.path("private"), self.path("link"))
        os.symlink(self.folder, self.path("round"))
        os.mkfifo(self.path("pipe.jpg"))
        with open(self.path("notes.txt"), "w", encoding="utf-8") as file:
            file.write("nothing to see")
        self.assertEqual(self.index(self.folder), (1, 0, 0, 0))
        with open(self.path("private", ".nomedia"), "w", encoding="utf-8"):
            pass
        self.assertEqual(self.index(self.folder), (0, 0, 1, 0))

    def test_a_file_may_be_named(self):
        path = self.copy("shapes.jpg")
        self.copy("word.png")
        self.assertEqual(self.index(path), (1, 0, 0, 0))
        self.assertEqual(self.known(), {self.uri("shapes.jpg")})
        with open(self.path("notes.txt"), "w", encoding="utf-8"):
            pass
        text, errors = self.ctl("index", self.path("notes.txt"), status=1)
        self.assertEqual(text, "0 added, 0 unchanged, 0 removed, 1 failed\n")
        self.assertIn("by its ending", errors)

    def test_goes_on_after_it_was_stopped(self):
        for i in range(400):
            self.copy("shapes.jpg", f"{i}.jpg")
        with subprocess.Popen(self.ctl_command("index", self.folder), stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE, text=True) as ctl:
            self.eventually(self.known, 30)
            ctl.send_signal(signal.SIGINT)
            text, errors = ctl.communicate()
        self.assertEqual(ctl.returncode, 1, errors)
        self.assertIn("stopped", errors)
        added = int(text.split()[0])
        self.assertLess(added, 400)
        self.assertEqual(self.index(self.folder), (400 - added, added, 0, 0))

    def test_killed_at_any_moment(self):
        for i in range(100):
            self.copy("shapes.jpg", f"{i}.jpg")
        for _ in range(3):
            with subprocess.Popen(self.ctl_command("index", self.folder)) as ctl:
                time.sleep(0.03)
                ctl.kill()
        added, unchanged, removed, failed = self.index(self.folder)
        self.assertEqual((added + unchanged, removed, failed), (100, 0, 0))
        self.assertEqual(len(self.known()), 100)

    def test_many_at_once(self):
        """Two runs on one collection end as one would have."""
        for i in range(60):
            self.copy("shapes.jpg", f"{i}.jpg")
        runs = [subprocess.Popen(self.ctl_command("index", self.folder), stdout=subprocess.DEVNULL)
                for _ in range(2)]
        self.assertEqual([run.wait(60) for run in runs], [0, 0])
        self.assertEqual(self.index(self.folder), (0, 60, 0, 0))


class Screen:
    """A program on a terminal of ours; answers what terminals are asked."""

    def __init__(self, arguments, answers, environment=None):
        self.seen = b""
        self.answers = dict(answers)
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            os.environ.update(environment or {"TERM": "xterm-256color"})
            os.execv(arguments[0], arguments)
        fcntl.ioctl(self.fd, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))

    def read(self, seconds=30, until=None):
        end = time.monotonic() + seconds
        while time.monotonic() < end and (until is None or until not in self.seen):
            if not select.select([self.fd], [], [], 0.1)[0]:
                continue
            try:
                data = os.read(self.fd, 65536)
            except OSError:
                break
            if not data:
                break
            self.seen += data
            for question in list(self.answers):
                if question in self.seen:
                    os.write(self.fd, self.answers.pop(question))
        return self.seen

    def type(self, text):
        os.write(self.fd, text)

    def echoes(self):
        return bool(termios.tcgetattr(self.fd)[3] & termios.ECHO)

    def close(self):
        os.close(self.fd)
        return os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])


DEVICE = b"\x1b[c"
KITTY = b"\x1b_Gi=31"


class Terminal(Case):
    def screen(self, *args, answers=(), **environment):
        return Screen(self.ctl_command(*args), answers, {"TERM": "xterm-256color", **environment})

    def test_progress_bar(self):
        for i in range(1000):
            os.link(self.copy("shapes.jpg") if i == 0 else self.path("shapes.jpg"),
                    self.path(f"{i:03}.jpg"))
        os.remove(self.path("shapes.jpg"))
        with open(self.path("100b.jpg"), "wb") as file:
            file.write(b"x")
        screen = self.screen("index", self.folder)
        seen = screen.read()
        self.assertEqual(screen.close(), 1)
        self.assertRegex(seen, rb"\r\x1b\[K\[#+\.+\] \d+/1001 +\d+%  [0-9.]+/s  \d:\d\d left")
        self.assertTrue(seen.endswith(b"1000 added, 0 unchanged, 0 removed, 1 failed\r\n"), seen[-200:])
        # A line for the failure, on a line of its own.
        self.assertRegex(seen, rb"\r\x1b\[Kperceptctl: \S+/100b.jpg: no picture")
        _, errors = self.ctl("index", self.folder, status=1)
        self.assertNotIn("\x1b", errors)

    def search(self, answers, **environment):
        screen = self.screen("search", "-i", fixture("shapes.jpg"), answers=answers, **environment)
        seen = screen.read()
        self.assertEqual(screen.close(), 0)
        return seen

    def test_pictures(self):
        self.copy("shapes.jpg")
        self.copy("speech.wav")
        self.index(self.folder)
        seen = self.search({DEVICE: b"\x1b[?62;4c"})
        self.assertRegex(seen, rb"(?s)shapes.jpg\r\n\x1bP0;1;0q\"1;1;(\d+);120#0;2;.*-\x1b\\")
        self.assertEqual(seen.count(b"\x1bP"), 1)
        seen = self.search({DEVICE: b"\x1b_Gi=31;OK\x1b\\\x1b[?62;4c"})
        self.assertRegex(seen, rb"shapes.jpg\r\n\x1b_Ga=T,q=2,f=24,s=\d+,v=120,m=1;[A-Za-z0-9+/]{4096}")
        for answer in (b"\x1b[?62;22c", b"\x1b_Gi=31;ENOTSUP\x1b\\\x1b[?6c"):
            seen = self.search({DEVICE: answer})
            self.assertNotIn(b"\x1bP", seen)
            self.assertNotIn(b"\x1b_Ga=T", seen)

    def test_terminals_that_do_not_answer_or_should_not_be_asked(self):
        self.copy("shapes.jpg")
        self.index(self.folder)
        begin = time.monotonic()
        self.assertIn(b"shapes.jpg", self.search({}))
        self.assertLess(time.monotonic() - begin, 5)
        for term in ("dumb", "linux", ""):
            self.assertNotIn(DEVICE, self.search({}, TERM=term))
        self.assertNotIn(KITTY, self.search({DEVICE: b"\x1b[?62;4c"}, TERM="tmux-256color"))
        shown, _ = self.ctl("search", "-i", fixture("shapes.jpg"))
        self.assertNotIn("\x1b", shown, "not a terminal")

    def test_terminal_is_left_as_it_was(self):
        self.copy("shapes.jpg")
        self.index(self.folder)
        screen = self.screen("search", "--prompt", answers={DEVICE: b"\x1b[?62;22c"})
        screen.read(until=b"search: ")
        self.assertTrue(screen.echoes())
        screen.type(b"shapes\n")
        screen.read(until=b"shapes.jpg\r\nsearch: ")
        screen.type(b"\x04")
        seen = screen.read()
        self.assertEqual(screen.close(), 0)
        self.assertTrue(seen.endswith(b"search: \r\n"), seen)


class Search(Case):
    def test_by_what_is_in_them(self):
        for name in ("shapes.jpg", "window.png", "word.png", "speech.wav", "sound.ogg"):
            self.copy(name)
        self.index(self.folder)
        for option, name in (("-i", "window.png"), ("-a", "speech.wav")):
            best = self.hits(option, fixture(name))[0]
            self.assertEqual(best["metadata"]["uri"], self.uri(name))
            self.assertAlmostEqual(best["score"], 1, 2)
            self.assertEqual(best["rank"], 1)
        found = json.loads(self.ctl("search", "--json", "--limit=2", "a", "red", "cross")[0])
        self.assertEqual(len(found["hits"]), 2)
        self.assertEqual(found["info"]["metric"], "cosine")
        lines = self.ctl("search", "a red cross")[0].splitlines()
        self.assertEqual(len(lines), 5)
        scores = [float(re.match(r"([+-][0-9.]+)  /", line)[1]) for line in lines]
        self.assertEqual(scores, sorted(scores, reverse=True))

    def test_nothing(self):
        self.assertIn("nothing is indexed yet", self.ctl("search", "anything", status=1)[1])
        self.assertNotIn(self.collection, self.client.collections(), "searching makes none")
        self.index(self.folder)
        self.assertEqual(self.ctl("search", "anything")[0], "nothing found\n")
        self.assertEqual(self.hits("anything"), [])
        self.assertIn("nothing to open", self.ctl("search", "--open", "anything", status=1)[1])
        for bad in (["search"], ["search", "-i", fixture("word.png"), "x"], ["index"],
                    ["search", "--limit=0", "x"], ["search", "--limit=1001", "x"],
                    ["search", "--limit=1.5", "x"], ["purge"], ["purge", "--uid=-1"],
                    ["purge", "--uid=4294967295"], ["purge", "--uid=1", "x"]):
            with self.subTest(bad):
                self.ctl(*bad, status=2)

    def test_open(self):
        self.copy("shapes.jpg", "it's; $(here) &.jpg")
        self.index(self.folder)
        os.mkdir(self.path("bin"))
        script, out = self.path("bin", "xdg-open"), self.path("opened")
        with open(script, "w", encoding="utf-8") as file:
            file.write(f'#!/bin/sh\nfor i; do echo "$i"; done > "{out}.new"; mv "{out}.new" "{out}"\n')
        os.chmod(script, 0o755)
        run = subprocess.run(self.ctl_command("search", "--open", "shapes"), check=True,
                             capture_output=True, text=True,
                             env={**os.environ, "PATH": self.path("bin") + ":" + os.environ["PATH"]})
        self.assertIn("it's", run.stdout)
        self.eventually(lambda: os.path.exists(out))
        with open(out, encoding="utf-8") as file:
            self.assertEqual(file.read(), self.uri("it's%3B%20$(here)%20&.jpg") + "\n")
        run = subprocess.run(self.ctl_command("search", "--open", "shapes"), check=False,
                             capture_output=True, text=True, env={**os.environ, "PATH": "/nowhere"})
        self.assertEqual(run.returncode, 1)
        self.assertIn("xdg-open is not installed", run.stderr)


class Watch(Case):
    def begin(self, *args):
        self.watch = subprocess.Popen(self.ctl_command("watch", *(args or [self.folder])),
                                      stderr=subprocess.PIPE, text=True)
        self.addCleanup(self.finish)

    def finish(self):
        self.watch.terminate()
        self.assertEqual(self.watch.wait(20), 0)
        self.watch.stderr.close()

    def become(self, *names):
        wanted = {self.uri(name) for name in names}
        self.eventually(lambda: self.known() == wanted, 20)

    def test_follows(self):
        self.copy("shapes.jpg")
        self.begin()
        self.become("shapes.jpg")
        self.copy("word.png")
        self.become("shapes.jpg", "word.png")
        os.rename(self.path("word.png"), self.path("other.png"))
        self.become("shapes.jpg", "other.png")
        os.remove(self.path("other.png"))
        self.become("shapes.jpg")
        with open(self.path("slow.jpg"), "wb") as file, open(fixture("shapes.jpg"), "rb") as whole:
            file.write(whole.read(100))
            file.flush()
            time.sleep(1.5)
            file.write(whole.read())
        self.become("shapes.jpg", "slow.jpg")

    def test_folders(self):
        self.copy("shapes.jpg", "new", "deep", "a.jpg")
        outside = tempfile.mkdtemp(prefix="perceptctl-outside-")
        self.addCleanup(shutil.rmtree, outside)
        self.begin()
        self.become("new/deep/a.jpg")
        os.makedirs(self.path("one", "two", "three"))
        self.copy("shapes.jpg", "one", "two", "three", "b.jpg")
        self.become("new/deep/a.jpg", "one/two/three/b.jpg")
        os.rename(self.path("one", "two"), self.path("moved"))
        self.become("new/deep/a.jpg", "moved/three/b.jpg")
        self.copy("shapes.jpg", "moved", "three", "c.jpg")
        self.become("new/deep/a.jpg", "moved/three/b.jpg", "moved/three/c.jpg")
        os.rename(self.path("moved"), os.path.join(outside, "moved"))
        self.become("new/deep/a.jpg")
        os.rename(os.path.join(outside, "moved"), self.path("back"))
        self.become("new/deep/a.jpg", "back/three/b.jpg", "back/three/c.jpg")
        shutil.rmtree(self.path("new"))
        self.become("back/three/b.jpg", "back/three/c.jpg")
        os.symlink(self.folder, self.path("back", "round"))
        self.copy("shapes.jpg", "back", "d.jpg")
        self.become("back/three/b.jpg", "back/three/c.jpg", "back/d.jpg")

    def test_overflow(self):
        """Stopped, so that the kernel's queue runs over; everything is looked at again."""
        self.copy("shapes.jpg", "old.jpg")
        self.begin()
        self.become("old.jpg")
        with open("/proc/sys/fs/inotify/max_queued_events", encoding="ascii") as file:
            limit = int(file.read())
        if limit > 100000:
            self.skipTest(f"the kernel keeps {limit} events")
        self.watch.send_signal(signal.SIGSTOP)
        for i in range(limit):
            with open(self.path(f"{i}.txt"), "wb"):
                pass
            os.remove(self.path(f"{i}.txt"))
        self.copy("shapes.jpg", "new.jpg")
        os.remove(self.path("old.jpg"))
        self.watch.send_signal(signal.SIGCONT)
        self.become("new.jpg")

    def test_default_folders(self):
        home = self.path("home")
        self.copy("shapes.jpg", "home", "Bilder", "a.jpg")
        self.copy("speech.wav", "home", "Music", "b.wav")
        self.copy("shapes.jpg", "home", "Documents", "c.jpg")
        os.makedirs(os.path.join(home, ".config"))
        with open(os.path.join(home, ".config", "user-dirs.dirs"), "w", encoding="utf-8") as file:
            file.write('# comment\nXDG_PICTURES_DIR="$HOME/Bilder"\n')
        environment = {**os.environ, "HOME": home}
        environment.pop("XDG_CONFIG_HOME", None)
        self.watch = subprocess.Popen(self.ctl_command("watch"), stderr=subprocess.PIPE, text=True,
                                      env=environment)
        self.addCleanup(self.finish)
        self.become("home/Bilder/a.jpg", "home/Music/b.wav")

    def test_names_stay_out_of_the_journal(self):
        with open(self.path("secret.jpg"), "wb") as file:
            file.write(b"x")
        self.copy("shapes.jpg")
        watch = subprocess.Popen(self.ctl_command("watch", self.folder), stderr=subprocess.PIPE,
                                 text=True, env={**os.environ, "JOURNAL_STREAM": "1:2"})
        try:
            self.become("shapes.jpg")
        finally:
            watch.terminate()
            _, errors = watch.communicate(timeout=20)
        self.assertEqual(errors, "")

    def test_ends_when_the_service_cannot_be_had(self):
        run = subprocess.run([CTL, "--address=unix:path=/nowhere", "watch", self.folder],
                             capture_output=True, text=True, check=False, timeout=20)
        self.assertEqual(run.returncode, 1)


class Purge(Case):
    def test_purge(self):
        self.copy("shapes.jpg")
        self.index(self.folder)
        self.assertEqual(len(self.known()), 1)
        folder = os.environ["STATE_DIRECTORY"]
        uid = os.geteuid()
        self.assertTrue(os.path.isdir(os.path.join(folder, f"u{uid}")), os.listdir(folder))
        shown, _ = self.ctl("purge", f"--uid={uid}", f"--state={folder}")
        self.assertEqual(shown, f"removed all that was indexed for user {uid}\n")
        self.assertFalse(os.path.exists(os.path.join(folder, f"u{uid}")))
        self.assertEqual(self.known(), set(), "the service has let go of it")
        self.assertEqual(self.index(self.folder), (1, 0, 0, 0))
        shown, _ = self.ctl("purge", "--uid=4000000000", f"--state={folder}")
        self.assertEqual(shown, "nothing was indexed for user 4000000000\n")


if __name__ == "__main__":
    CTL = os.path.abspath(sys.argv.pop(1))
    Paths.take()
    unittest.main(verbosity=2)
