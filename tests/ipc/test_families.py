#!/usr/bin/env python3
"""Published model families over the bus: they answer what percept-run answers.

usage: test_families.py PERCEPT_RUN FAMILIES PERCEPTD HELPER FIXTURES [MODEL]
"""

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
import threading

import dbus

from fixture import NAME, PROPERTIES, deltas, model_path
from service import DaemonTest, Paths

RUN, FAMILIES = sys.argv[1:3]
del sys.argv[1:3]
sys.path.insert(0, FAMILIES)

import tiny  # noqa: E402, of the fixtures

MODEL = NAME + ".Model"
TEXT = "qwen3moe", "olmoe", "chat", "folder"  # "folder" holds the weights of "chat"


def u(n):
    return dbus.UInt32(n)


class FamiliesTest(DaemonTest):
    """percept-spark is configured, by its path; the others lie in a folder of the user's."""

    @classmethod
    def command(cls, bus):
        cls.folder = tempfile.mkdtemp(prefix="perceptd-families-")
        cls.models = os.path.join(cls.folder, "perceptd", "models")
        os.makedirs(cls.models)
        for name in "qwen3moe", "olmoe", "tied":
            shutil.copy(os.path.join(FAMILIES, name + ".gguf"), cls.models)
        cls.tiny = tiny.Tiny(os.path.join(FAMILIES, "qwen2.gguf"))
        cls.tiny.write_file(cls.path("chat"))
        cls.tiny.write_folder(cls.path("folder"))
        cls.spark = os.path.basename(Paths.model).removesuffix(".gguf")
        return ["env", f"XDG_DATA_HOME={cls.folder}"] + super().command(bus)

    @classmethod
    def tearDownClass(cls):
        super().tearDownClass()
        shutil.rmtree(cls.folder)

    @classmethod
    def path(cls, name):
        return os.path.join(cls.models, name if name == "folder" else name + ".gguf")

    def of_model(self, name):
        return self.client.call("GetAll", "s", MODEL, path=model_path(name), interface=PROPERTIES)

    def state(self, name):
        return str(self.of_model(name)["State"])

    def listed(self, name):
        try:
            return self.of_model(name)["State"] in ("installed", "failed")
        except dbus.DBusException:
            return False

    def ready(self):
        return {name for name in (*TEXT, "tied", self.spark) if self.state(name) == "ready"}

    def load(self, name, **options):
        self.client.call("LoadModel", "sa{sv}", name, options)

    def run_model(self, name, question, *args):
        """What percept-run says, which ends with a line's end of its own; but for NULs, which D-Bus cannot carry."""
        p = subprocess.run([RUN, self.path(name), "generate", *args, question], capture_output=True,
                           timeout=60, check=True)
        return p.stdout.decode().removesuffix("\n").replace("\0", "\ufffd")

    def ask(self, question, client=None, **options):
        request = (client or self.client).ask(question, **options)
        try:
            return str(request.wait()["text"])
        finally:
            request.release()


class Families(FamiliesTest):
    def test_properties(self):
        for name in TEXT:
            before = self.of_model(name)
            self.assertEqual(before["Name"], name)
            if before["State"] == "installed" and not before["Digest"]:
                self.assertEqual((before["Family"], before["Modalities"], before["Memory"]), ("", [], 0))
            self.load(name, beside=True)
            found = self.of_model(name)
            self.assertEqual((found["State"], found["Selected"]), ("ready", False))
            self.assertEqual(found["Family"], "olmoe" if name == "olmoe" else "qwen3moe")
            self.assertEqual(found["Modalities"], ["text"])
            self.assertEqual((found["ContextLength"], found["Dimension"]), (512, 0))
            self.assertEqual(found["Digest"], self.digest(self.path(name)))
            self.assertEqual(found["Bytes"], self.size(self.path(name)))
            self.assertGreater(found["Memory"], found["Bytes"])
        spark = self.of_model(self.spark)
        self.assertTrue(spark["Selected"])
        self.assertEqual(self.client.embed("x")[1]["model"], self.spark)

    @staticmethod
    def digest(path):
        def of_file(name):
            with open(name, "rb") as file:
                return hashlib.sha256(file.read()).hexdigest()
        if not os.path.isdir(path):
            return of_file(path)
        lines = "".join(f"{of_file(os.path.join(path, n))}  {n}\n" for n in sorted(os.listdir(path)))
        return hashlib.sha256(lines.encode()).hexdigest()

    @staticmethod
    def size(path):
        if not os.path.isdir(path):
            return os.path.getsize(path)
        return sum(os.path.getsize(os.path.join(path, n)) for n in os.listdir(path))

    def test_answers(self):
        """The same prompt, seed and options: the same words."""
        for name in TEXT:
            chat = name in ("chat", "folder")
            think = ["--think", "off"]
            for question, args, options in (
                    ("Why?", [], {}),
                    ("a b  c\n", ["--max-tokens", "100"], {"max_tokens": u(100)}),
                    ("Why not? " * 12, ["--temperature", "2", "--seed", "7"], {"temperature": 2.0, "seed": dbus.UInt64(7)}),
                    ("Hm", ["--temperature", "5", "--top-p", "0.5", "--seed", "8"],
                     {"temperature": 5.0, "top_p": 0.5, "seed": dbus.UInt64(8)})):
                if "max_tokens" not in options:
                    args, options = [*args, "--max-tokens", "40"], {**options, "max_tokens": u(40)}
                expected = self.run_model(name, question, *think, *args)
                self.assertTrue(expected)
                self.assertEqual(self.ask(question, model=name, **options), expected, (name, question))
            if chat:
                args, options = ["--system", "Be brief.", "--max-tokens", "30"], {"system": "Be brief.", "max_tokens": u(30)}
                plain = self.ask("Why?", model=name, max_tokens=u(30))
                thoughtful = self.run_model(name, "Why?", *args)
                self.assertEqual(self.ask("Why?", model=name, think=True, **options), thoughtful)
                self.assertEqual(self.ask("Why?", model=name, **options), self.run_model(name, "Why?", *think, *args))
                self.assertNotEqual(thoughtful, plain)

    def test_folder_is_file(self):
        for question in "Why?", "<|im_end|>", "é漢 🇩🇪":
            self.assertEqual(self.ask(question, model="folder", max_tokens=u(50)),
                             self.ask(question, model="chat", max_tokens=u(50)))

    def test_stream(self):
        """Whole characters, and all of them; an answer that stops says so."""
        finishes = set()
        for seed in range(12):
            options = {"temperature": 100.0, "seed": dbus.UInt64(seed), "max_tokens": u(100)}
            for name in "chat", "olmoe":
                request = self.client.ask("Why?", model=name, **options)
                text = deltas(request.stream().frames())  # decodes each frame
                result = request.wait()
                request.release()
                self.assertEqual(text, result["text"])
                self.assertEqual(text, self.run_model(name, "Why?", "--think", "off", "--temperature", "100",
                                                      "--seed", str(seed), "--max-tokens", "100"))
                self.assertEqual((result["info"]["model"], result["info"]["digest"]),
                                 (name, self.of_model(name)["Digest"]))
                finishes.add(str(result["finish"]))
        self.assertEqual(finishes, {"stop", "length"})

    def test_session(self):
        """The second question is read behind the first and its answer."""
        def whole(*turns):
            text = "".join(f"<|im_start|>{role}\n{words}<|im_end|>\n" for role, words in turns)
            return text + "<|im_start|>assistant\n<think>\n\n</think>\n\n"

        # One token's text may be spelt by other tokens as well: those sessions tell nothing here.
        same = 0
        for seed in range(8):
            path = self.client.call("OpenSession", "a{sv}", {"model": "chat"})
            options = {"seed": dbus.UInt64(seed), "temperature": 3.0}
            first = self.ask("Who?", session=path, system="Be brief.", max_tokens=u(1), **options)
            second = self.ask("And why?", session=path, max_tokens=u(30), **options)
            said = "<think>\n\n</think>\n\n" + first  # where it stood when it was said
            prompt = whole(("system", "Be brief."), ("user", "Who?"), ("assistant", said), ("user", "And why?"))
            args = ("--raw", "--max-tokens", "30", "--temperature", "3", "--seed", str(seed))
            same += second == self.run_model("chat", prompt, *args)
            self.assertNotEqual(second, self.run_model("chat", whole(("user", "And why?")), *args))
            self.client.call("Close", "", path=path, interface=NAME + ".Session")
        self.assertGreaterEqual(same, 4)

    def test_session_behind_a_stop(self):
        """The token that ended an answer is not read again. Here every character is a token."""
        found = 0
        for seed in range(12):
            session = self.client.call("OpenSession", "a{sv}", {"model": "qwen3moe"})
            first = self.client.ask("ab", session=session, temperature=100.0, seed=dbus.UInt64(seed)).wait()
            said = int(first["info"]["tokens"]) - len("^ ab")
            if first["finish"] == "stop" and said == len(first["text"]):
                second = self.ask("cd", session=session, max_tokens=u(20))
                self.assertEqual(second, self.run_model("qwen3moe", f"ab{first['text']} cd", "--raw", "--max-tokens", "20"))
                found += 1
            self.client.call("Close", "", path=session, interface=NAME + ".Session")
        self.assertGreater(found, 0)

    def test_session_outlives_its_model(self):
        def talk(between):
            session = self.client.call("OpenSession", "a{sv}", {"model": "chat"})
            found = []
            for question in "Who?", "And why?", "Tell me all.":
                between()
                found.append(self.ask(question, session=session, max_tokens=u(20)))
            self.client.call("Close", "", path=session, interface=NAME + ".Session")
            return found

        def leave():
            if self.state("chat") == "ready":
                self.client.call("UnloadModel", "s", "chat")
                self.eventually(lambda: self.state("chat") == "installed")

        self.assertEqual(talk(leave), talk(lambda: None))

    def test_session_keeps_its_model(self):
        session = self.client.call("OpenSession", "a{sv}", {"model": "chat"})
        self.assertIn("opened with", self.refused("InvalidArgs", self.client.ask, "Why?", session=session, model="olmoe"))
        request = self.client.ask("Why?", session=session, max_tokens=u(3))
        self.assertEqual(request.wait()["info"]["model"], "chat")
        other = self.client.open_session()
        other.ask("Who?", max_tokens=u(3)).wait()
        self.load("chat")
        self.addCleanup(self.client.call, "Reload", "")
        self.refused("ModelUnavailable", other.ask("And?").wait)
        self.client.call("Reload", "")
        other.ask("And?", max_tokens=u(3)).wait()
        other.close()
        self.client.call("Close", "", path=session, interface=NAME + ".Session")

    def test_two_at_once(self):
        """Two clients whose answers are in the making at one time, each by its model."""
        options = {"temperature": 100.0, "max_tokens": u(400)}
        names = "chat", "folder"
        expected = {n: self.run_model(n, f"{n}?", "--think", "off", "--temperature", "100", "--seed", "3",
                                      "--max-tokens", "400") for n in names}
        streams = {n: self.another_client().ask(f"{n}?", model=n, seed=dbus.UInt64(3), **options).stream()
                   for n in names}
        found, order = {n: [] for n in names}, []
        lock = threading.Lock()

        def read(name):
            for frame in iter(streams[name].frame, None):
                with lock:
                    found[name].append(frame)
                    order.append(name)

        threads = [threading.Thread(target=read, args=(n,)) for n in names]
        for thread in threads:
            thread.start()
        self.client.embed("beside them")
        for thread in threads:
            thread.join()
        for name in names:
            self.assertEqual(deltas(found[name]), expected[name])
            streams[name].close()
        first, last = ({n: at(n) for n in names} for at in (
            order.index, lambda n: len(order) - 1 - order[::-1].index(n)))
        self.assertLess(max(first.values()), min(last.values()), "one after the other")
        self.assertLessEqual({*names, self.spark}, self.ready())

    def test_most_loaded(self):
        """The one that was used longest ago makes room."""
        limit = int(self.client.property("Limits")["loaded_models"])
        names = [self.spark, "qwen3moe", "olmoe", "chat", "folder", "tied"]
        for name in names:
            self.ask("Why?", model=name, max_tokens=u(2))
        self.assertEqual(self.ready(), set(names[-limit:]))
        self.client.embed("x")
        self.assertEqual(self.ready(), set(names[-limit + 1:]) | {self.spark})

    def test_refused(self):
        with open(os.path.join(Paths.fixtures, "shapes.jpg"), "rb") as file:
            picture = file.fileno()
            for name in "qwen3moe", "folder":
                self.assertIn("option model", self.refused("NotSupported", self.client.embed, "x", model=name))
                self.assertIn("makes no vectors", self.refused(
                    "NotSupported", self.embed_media, "shapes.jpg", model=name))
                self.refused("NotSupported", self.client.call, "Classify", "hsasa{sv}", dbus.types.UnixFd(picture), "",
                             ["a", "b"], {"model": name})
                self.assertIn("media out", self.refused(
                    "NotSupported", self.client.ask("What?", [(picture, "")], model=name).wait))
            self.assertIn("effort", self.refused("NotSupported", self.client.ask("Hm?", model="chat", effort=0.5).wait))
            self.assertIn("system", self.refused("NotSupported", self.client.ask("Hm?", model="olmoe", system="x").wait))
        self.refused("ModelUnavailable", self.client.ask("Hm?", model="nothing-by-this-name").wait)
        for name in "", "a/b", "x" * 128:
            self.refused("InvalidArgs", self.client.ask, "Hm?", model=name)
            self.refused("InvalidArgs", self.client.call, "OpenSession", "a{sv}", {"model": name})
        self.refused("InvalidArgs", self.client.call, "OpenSession", "a{sv}", {"modle": "chat"})
        for name in "..", ".hidden":
            self.refused("ModelUnavailable", self.client.ask("Hm?", model=name).wait)

    def test_context(self):
        for name in TEXT:
            self.assertIn("too long", self.refused("TooLarge", self.client.ask("x y " * 600, model=name).wait))
            self.assertTrue(self.ask("x y " * 20, model=name, max_tokens=u(1)))
        request = self.client.ask("x y " * 100, model="chat", temperature=3.0, max_tokens=u(1024))
        result = request.wait()
        self.assertIn(result["finish"], ("length", "stop"))
        self.assertLessEqual(int(result["info"]["tokens"]), 512)
        session = self.client.call("OpenSession", "a{sv}", {"model": "chat"})
        for _ in range(40):
            request = self.client.ask("x y " * 30, session=session, max_tokens=u(1))
            try:
                request.wait()
            except dbus.DBusException as error:
                self.assertEqual(error.get_dbus_name(), NAME + ".Error.TooLarge")
                self.assertIn("open a new session", error.get_dbus_message())
                break
        else:
            self.fail("a conversation has no end")
        self.client.call("Close", "", path=session, interface=NAME + ".Session")

    def test_selected(self):
        self.load("chat")
        self.addCleanup(self.client.call, "Reload", "")
        self.assertTrue(self.of_model("chat")["Selected"])
        self.assertEqual(self.client.property("State"), "ready")
        self.assertEqual(self.ask("Why?", max_tokens=u(20)), self.ask("Why?", model="folder", max_tokens=u(20)))
        self.assertIn("LoadModel", self.refused("NotSupported", self.client.embed, "x"))
        # The configured one lies elsewhere, and is found no more by its name alone.
        self.load(self.spark)
        self.assertEqual(self.client.embed("x")[1]["model"], self.spark)

    def test_collection(self):
        """Searched by the model that made its vectors, answered by another, from texts alone."""
        c = self.client.open_collection("papers")
        c.add_text({"a": "The cat is called Tom.", "b": "It rains."})
        with open(os.path.join(Paths.fixtures, "shapes.jpg"), "rb") as file:
            c.add_media({"p": file.fileno()})
        request = c.ask("Who?", model="chat", limit=u(3), max_tokens=u(20))
        kinds = [text for kind, text in request.stream().frames() if kind == 1]
        result = request.wait()
        self.assertEqual(result["info"]["model"], "chat")
        self.assertEqual({str(i) for i, _, _ in result["sources"]}, {"a", "b"}, kinds)
        order = [str(i) for i, _, _ in result["sources"]]
        texts = {"a": "The cat is called Tom.\n", "b": "It rains.\n"}
        self.assertEqual(result["text"], self.ask("".join(texts[i] for i in order) + "Who?", model="chat", max_tokens=u(20)))

        # A picture's vector means something to the model that made it, and to no other that has encoders.
        self.assertIn("p", {str(i) for i, _, _ in c.ask("Who?", limit=u(3)).wait()["sources"]})
        with open(Paths.model, "rb") as file, open(self.path("another"), "wb") as copy:
            copy.write(file.read() + b"x")
        self.addCleanup(os.unlink, self.path("another"))
        result = c.ask("Who?", model="another", limit=u(3)).wait()
        self.assertEqual(result["info"]["model"], "another")
        self.assertEqual({str(i) for i, _, _ in result["sources"]}, {"a", "b"})
        self.client.call("DeleteCollection", "s", "papers")

    def test_digest_is_kept(self):
        """To load a model again does not read all of it: its files are known by size and time."""
        path = self.path("known")
        shutil.copy(self.path("qwen3moe"), path)
        self.addCleanup(os.unlink, path)

        def digest():
            found = str(self.client.ask("Why?", model="known", max_tokens=u(1)).wait()["info"]["digest"])
            self.client.call("UnloadModel", "s", "known")
            self.eventually(lambda: self.listed("known"))
            return found

        first, times = digest(), os.stat(path)
        self.assertEqual(first, self.digest(path))
        with open(path, "r+b") as file:  # as nobody does
            file.seek(-1, os.SEEK_END)
            file.write(b"\x55")
        os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
        self.assertEqual(digest(), first)
        os.utime(path)
        self.assertEqual(digest(), self.digest(path))
        self.assertNotEqual(self.digest(path), first)

    def test_pages_of_sessions(self):
        """More conversations than there is room for: those that rest give way, and go on."""
        clients = [self.another_client(), self.another_client()]
        question = "x y " * 85  # with its answer, most of a context

        def talk(client):
            session = client.call("OpenSession", "a{sv}", {"model": "chat"})
            return client, session, self.ask(question, client=client, session=session, max_tokens=u(60))

        talks = [talk(client) for client in clients for _ in range(4)]
        self.assertEqual({answer for _, _, answer in talks}, {talks[0][2]})
        again = {self.ask("y", client=client, session=session, max_tokens=u(5)) for client, session, _ in talks}
        self.assertEqual(len(again), 1)
        for client, session, _ in talks:
            client.call("Close", "", path=session, interface=NAME + ".Session")


class Damage(FamiliesTest):
    """A file that cannot be used is refused by what is wrong with it, and nothing else suffers."""

    def damaged(self, name, data):
        with open(self.path(name), "wb") as file:
            file.write(data)
        self.addCleanup(os.unlink, self.path(name))
        self.eventually(lambda: self.listed(name))

    def unavailable(self, name, mention):
        said = self.refused("ModelUnavailable", self.client.ask("Why?", model=name).wait)
        self.assertIn(mention, said)
        self.assertNotIn("/", said.replace("/tmp", "/"), "no paths")
        self.assertEqual(self.state(name), "failed")
        self.assertIn(mention, self.refused("ModelUnavailable", self.load, name, beside=True))
        self.assertEqual(self.client.property("State"), "ready")
        self.assertTrue(self.ask("Why?", model="chat", max_tokens=u(3)))

    def test_files(self):
        self.client.embed("x")
        with open(self.path("qwen3moe"), "rb") as file:
            data = file.read()
        at = data.index(b"qwen3moe.block_count") + len(b"qwen3moe.block_count") + 4
        self.damaged("layers", data[:at] + b"\3" + data[at + 1:])
        self.unavailable("layers", "blk.2.")
        self.damaged("absurd", data.replace(b"qwen3moe.context_length\x04\0\0\0\0\2\0\0", b"qwen3moe.context_length\x04\0\0\0\xff\xff\xff\xff"))
        self.unavailable("absurd", "qwen3moe.context_length")
        self.damaged("short", data[:-100])
        self.unavailable("short", ".weight")
        self.damaged("tiny", data.replace(b"qwen3moe.context_length\x04\0\0\0\0\2\0\0", b"qwen3moe.context_length\x04\0\0\0\x08\0\0\0"))
        self.unavailable("tiny", "too short for a question")
        self.damaged("other", data.replace(b"qwen3moe", b"qwen9moe"))
        self.unavailable("other", "qwen9moe")

    def test_folders(self):
        self.client.embed("x")
        for name, file, old, new, mention in (
                ("cut", "model.safetensors", b'"dtype": "F32"', b'"dtype": "F99"', "model."),
                ("config", "config.json", b'"head_dim": 32', b'"head_dim": 33', "attention.key_length"),
                ("words", "tokenizer.json", b'"BPE"', b'"WPE"', "model.type")):
            folder = os.path.join(self.models, name)
            shutil.copytree(self.path("folder"), folder)
            self.addCleanup(shutil.rmtree, folder)
            with open(os.path.join(folder, file), "rb") as f:
                data = f.read()
            self.assertIn(old, data)
            with open(os.path.join(folder, file), "wb") as f:
                f.write(data.replace(old, new, 1))
            self.eventually(lambda n=name: self.listed(n))
            self.unavailable(name, mention)

    def test_folder_comes_slowly(self):
        folder = os.path.join(self.models, "slow")
        self.addCleanup(shutil.rmtree, folder)
        os.mkdir(folder)
        for name in "tokenizer.json", "model.safetensors", "config.json":
            self.assertFalse(self.listed("slow"))
            shutil.copy(os.path.join(self.path("folder"), name), folder)
        self.eventually(lambda: self.listed("slow"))
        self.assertEqual(self.ask("Why?", model="slow", max_tokens=u(9)), self.ask("Why?", model="chat", max_tokens=u(9)))


class Idle(FamiliesTest):
    configuration = "[Model]\nIdleUnloadSec=1\n"

    def test_each_for_itself(self):
        self.ask("Why?", model="chat", max_tokens=u(2))
        self.client.embed("x")
        self.assertEqual(self.ready(), {"chat", self.spark})

        def chat_left():
            self.client.embed("y")
            return self.state("chat") == "installed"

        self.eventually(chat_left)
        self.assertEqual((self.of_model("chat")["Memory"], self.of_model("chat")["Family"]), (0, "qwen3moe"))
        self.assertEqual(self.state(self.spark), "ready")
        self.eventually(lambda: self.state(self.spark) == "installed")
        self.assertTrue(self.ask("Why?", model="chat", max_tokens=u(2)))


class Budget(FamiliesTest):
    """Room for percept-spark, and a little: not for two."""

    @classmethod
    def command(cls, bus):
        command = super().command(bus)
        cls.config = command[-1].removeprefix("--config=")
        return command

    def test_models_give_way(self):
        self.client.embed("x")
        whole = int(self.of_model(self.spark)["Bytes"])
        with open(self.config, "w", encoding="ascii") as file:
            file.write(f"[Engine]\nMemoryBudget={whole + 1000000}\n")
        self.client.call("Reload", "")
        self.client.embed("x")
        self.assertLessEqual(int(self.of_model(self.spark)["Memory"]), whole + 1000000)
        self.assertTrue(self.ask("Why?", model="chat", max_tokens=u(3)))
        self.assertEqual(self.ready(), {"chat"})
        self.client.embed("x")
        self.assertEqual(self.ready(), {self.spark})

        request = self.another_client().ask("Tell me all.", max_tokens=u(1000), temperature=100.0)
        self.assertIn("MemoryBudget=", self.refused("Busy", self.client.ask("Why?", model="chat").wait))
        request.cancel()

        with open(self.config, "w", encoding="ascii") as file:
            file.write("[Engine]\nMemoryBudget=1K\n")
        self.client.call("Reload", "")
        self.assertIn("at least", self.refused("ModelUnavailable", self.client.ask("Why?", model="chat").wait))
        os.truncate(self.config, 0)
        self.client.call("Reload", "")


class Context(FamiliesTest):
    configuration = "[Model]\nContext=64\n"

    def test_shorter_by_configuration(self):
        self.load("chat", beside=True)
        self.assertEqual(self.of_model("chat")["ContextLength"], 64)
        self.assertIn("too long", self.refused("TooLarge", self.client.ask("x y " * 60, model="chat").wait))
        result = self.client.ask("Why?", model="chat", max_tokens=u(1000)).wait()
        self.assertEqual((result["finish"], int(result["info"]["tokens"])), ("length", 64))


if __name__ == "__main__":
    import unittest
    Paths.take()
    unittest.main(verbosity=2)
