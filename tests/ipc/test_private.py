#!/usr/bin/python3
"""What one user must not learn of another, on a bus of the system's kind with the installed policy: requests, sessions,
collections, signals, logs. A monitor, as only root may be, sees every message.

usage: test_private.py PERCEPTD HELPER FIXTURES [MODEL]
"""

import contextlib
import json
import os
import subprocess
import unittest

import dbus

from fixture import COLLECTION, INTROSPECTABLE, NAME, PATH, PROPERTIES, REQUEST, SESSION
from service import Paths
from test_users import ALICE, BOB, UsersTest

SECRETS = ("aubergine", "quince", "gooseberry", "medlar", "damson", "rhubarb")
MODELS = PATH + "/models"
LONG = {"max_tokens": dbus.UInt32(1000), "temperature": 100.0}


def private_life(client):
    """Everything that a user does with words of its own: yields what others may try to reach, and what came of it."""
    collection = client.open_collection(SECRETS[0])
    assert collection.add_text({SECRETS[1]: f"a {SECRETS[2]} in a bowl"}, {"kind": SECRETS[3]}) == {SECRETS[1]: 0}
    assert collection.found(f"a {SECRETS[2]}") == [SECRETS[1]]
    collection.sync()
    client.embed(SECRETS[2])
    answer = collection.ask(f"Where is the {SECRETS[2]}?", max_tokens=dbus.UInt32(4), signals=True)
    answer.stream().frames()
    answer.release()
    session = client.open_session()
    request = session.ask(f"What is {SECRETS[4]}?", handle_token=SECRETS[5], signals=True, **LONG)
    yield {"name": client.name, "request": str(request.path), "session": str(session.path),
           "collection": str(collection.path)}
    yield "text" in request.wait() and collection.found(f"a {SECRETS[2]}") == [SECRETS[1]]


def reach(client, paths):
    """What comes of every call on the objects of another, and on some that never were."""
    calls = {
        "request": [("Wait", "", ()), ("OpenStream", "a{sv}", ({},)), ("Cancel", "", ()), ("Release", "", ())],
        "session": [("Ask", "sa(hs)a{sv}", ("What?", [], {})), ("Close", "", ())],
        "collection": [("Search", "sa{sv}", ("a", {})), ("Get", "as", ([SECRETS[1]],)), ("Sync", "", ()),
                       ("Remove", "as", ([SECRETS[1]],)), ("List", "su", ("", dbus.UInt32(9)))],
    }
    interfaces = {"request": REQUEST, "session": SESSION, "collection": COLLECTION}
    found = {}
    for kind, members in calls.items():
        common = [("GetAll", "s", (interfaces[kind],), PROPERTIES), ("Introspect", "", (), INTROSPECTABLE)]
        for member, signature, args, *interface in members + common:
            answers = []
            for path in paths[kind], paths[kind] + "x":
                try:
                    client.call(member, signature, *args, path=path, interface=(interface or [interfaces[kind]])[0])
                    answers.append(("let in",))
                except dbus.DBusException as error:
                    answers.append((error.get_dbus_name(), error.get_dbus_message()))
            found[kind, member] = answers
    return found


class Monitor:
    """Every message on the bus while it is there."""

    def __init__(self, bus):
        self.process = subprocess.Popen(["busctl", f"--address={bus.address}", "--json=short", "monitor"],
                                        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        assert "Monitoring" in self.process.stderr.readline()
        self.process.stderr.close()

    def messages(self):
        self.process.terminate()
        text, _ = self.process.communicate()
        return [json.loads(line) for line in text.splitlines() if line.endswith("}")]


class Private(UsersTest):
    @classmethod
    def command(cls, bus):
        cls.log = os.path.join(bus.folder, "log")
        return ["sh", "-c", 'exec "$@" 2>"$0"', cls.log, *super().command(bus)]

    def owner(self):
        return str(self.client.connection.get_name_owner(NAME))

    def test_objects(self):
        """Nothing lets another in, or tells what is there from what is not."""
        with self.held(ALICE, private_life) as paths:
            found = self.run_as(BOB, lambda client: reach(client, paths))
            for call, (of_alice, of_nobody) in found.items():
                self.assertTrue(of_alice[0].endswith(".AccessDenied"), (call, of_alice))
                self.assertEqual(of_alice, of_nobody, call)
            shown = self.run_as(BOB, lambda client: (
                str(client.call("GetManagedObjects", "", interface="org.freedesktop.DBus.ObjectManager"))
                + str(client.call("Introspect", "", interface=INTROSPECTABLE))
                + str(client.call("GetAll", "s", NAME + ".Manager", interface=PROPERTIES))
                + str(client.collections())))
            self.check_nothing_private(shown, paths)
        self.eventually(lambda: self.client.property("QueueDepth") == 0)

    def check_nothing_private(self, text, paths):
        for word in (*SECRETS, paths["request"], paths["session"], paths["collection"], f"u{ALICE}"):
            self.assertNotIn(word, text)

    def test_broadcasts(self):
        """A message without a destination is for everybody; what is for one has that one's name on it."""
        monitor = Monitor(self.bus)
        with self.held(ALICE, private_life) as paths:
            model = self.client.embed("mine")[1]["model"]
        self.eventually(lambda: self.client.property("QueueDepth") == 0)
        self.client.call("UnloadModel", "s", model)
        self.client.embed("so that there is a change to tell")
        owner = self.owner()
        messages = [m for m in monitor.messages() if m.get("sender") == owner]
        signals = [m for m in messages if m["type"] == "signal"]
        broadcast = [m for m in signals if not m.get("destination")]
        unicast = [m for m in signals if m.get("destination")]
        print(f"{len(messages)} messages of the service: {len(broadcast)} broadcast, {len(unicast)} signals to one",
              flush=True)
        self.assertTrue(broadcast and unicast, "the monitor has seen both kinds")
        for message in broadcast:
            self.assertTrue(message["path"] == PATH or message["path"].startswith(MODELS), message["path"])
            self.check_nothing_private(json.dumps(message), paths)
        self.assertEqual({m["destination"] for m in unicast}, {paths["name"]})
        private = [m for m in messages if any(word in json.dumps(m.get("payload")) for word in SECRETS)]
        self.assertTrue(private, "the monitor would have seen it")
        self.assertEqual({m["destination"] for m in private}, {paths["name"]})

    def test_only_root_listens(self):
        """A user cannot become a monitor."""
        def listen(client):
            try:
                client.connection.call_blocking("org.freedesktop.DBus", "/org/freedesktop/DBus",
                                                "org.freedesktop.DBus.Monitoring", "BecomeMonitor", "asu", ([], 0))
                return "let in"
            except dbus.DBusException as error:
                return error.get_dbus_name()
        self.assertTrue(self.run_as(BOB, listen).endswith(".AccessDenied"))

    def test_log(self):
        """Neither words nor names reach the log; damaged media and quotas do, without them."""
        def trouble(client):
            with contextlib.suppress(dbus.DBusException):
                client.embed(*[f"{SECRETS[0]}"] * 5000)
            with contextlib.suppress(dbus.DBusException):
                client.call("LoadModel", "sa{sv}", SECRETS[1], {})
            inline = dbus.Array([(dbus.ByteArray(SECRETS[2].encode() * 9), "")], signature="(ays)")
            client.call("EmbedMedia", "a(hs)a{sv}", [], {"inline": inline})
        with self.held(ALICE, private_life) as paths:
            self.run_as(BOB, trouble)
        with open(self.log, encoding="utf-8") as file:
            text = file.read()
        self.assertIn("is on the bus", text)
        self.check_nothing_private(text, paths)


if __name__ == "__main__":
    Paths.take(need_root=True)
    unittest.main(verbosity=2)
