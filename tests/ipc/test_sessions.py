#!/usr/bin/python3
"""Conversations: what they keep, whose they are, how they end.

usage: test_sessions.py PERCEPTD HELPER FIXTURES [MODEL]
"""

import os
import unittest

import dbus

from fixture import SESSION
from service import DaemonTest, Paths


LONG = {"temperature": 100.0, "max_tokens": dbus.UInt32(1000)}  # hardly ever stops by itself


class Sessions(DaemonTest):
    def talk(self, *questions, **options):
        """The answers of one conversation, in order."""
        session = self.client.open_session()
        answers = [self.finish(session.ask(q, **{"max_tokens": dbus.UInt32(8), **options}))
                   for q in questions]
        session.close()
        return answers

    def finish(self, request):
        text = request.text()
        request.release()
        return text

    def test_only_what_is_new_is_computed(self):
        session = self.client.open_session()
        one = dbus.UInt32(1)
        infos = [session.ask("How many red circles are there?", max_tokens=one).wait()["info"]
                 for _ in range(4)]
        # Each further question adds the last answer's end and itself, and reads all that came before.
        self.assertLess(infos[3]["tokens"], infos[0]["tokens"] + 3)
        reads = [int(info["kv_bytes"]) for info in infos]
        self.assertEqual(reads, sorted(set(reads)), "more every time")
        self.assertGreater(reads[3], 2 * reads[0])
        session.close()

    def test_media(self):
        session = self.client.open_session()
        media = [(self.open("shapes.jpg"), "image/jpeg")]
        first = session.ask("What is in the picture?", media, max_tokens=dbus.UInt32(8)).wait()
        alone = self.client.ask("What is in the picture?", media, max_tokens=dbus.UInt32(8)).wait()
        self.assertEqual(first["text"], alone["text"])
        again = session.ask("And its colour?", max_tokens=dbus.UInt32(8)).wait()
        self.assertLess(again["info"]["tokens"], 32, "the picture is not read again")
        session.close()

    def test_several_at_once(self):
        talks = [[f"Count to {n}.", "And then?", "What came first?"] for n in range(4)]
        alone = [self.talk(*questions) for questions in talks]
        sessions = [self.client.open_session() for _ in talks]
        answers = [[] for _ in talks]
        for turn in range(3):
            requests = [session.ask(questions[turn], max_tokens=dbus.UInt32(8))
                        for session, questions in zip(sessions, talks)]
            for found, request in zip(answers, requests):
                found.append(self.finish(request))
        self.assertEqual(answers, alone)
        for session in sessions:
            session.close()

    def test_a_question_that_fails_leaves_no_trace(self):
        expected = self.talk("Count to 3.", "And then?")
        session = self.client.open_session()
        self.refused("InvalidArgs", session.ask, "Count to 3.", colour="red")
        self.refused("TooLarge", session.ask("word " * 5000).wait)
        request = session.ask("Tell me more.", **LONG)
        request.cancel()
        self.refused("Cancelled", request.wait)
        self.assertEqual(session.ask("Count to 3.", max_tokens=dbus.UInt32(8)).text(), expected[0])
        stream = session.ask("Tell me more.", **LONG).stream()
        stream.frame()
        stream.close()
        with open("/dev/null", "rb") as null:
            self.eventually(lambda: self.client.property("QueueDepth") == 0)
            self.refused("BadDescriptor", session.ask("What?", [(null.fileno(), "")]).wait)
        self.refused("InvalidArgs", session.ask("And then?", system="Be brief.").wait)
        self.assertEqual(session.ask("And then?", max_tokens=dbus.UInt32(8)).text(), expected[1])
        session.close()

    def test_beyond_the_context(self):
        session = self.client.open_session()
        message = None
        for _ in range(12):
            request = session.ask("word " * 250, max_tokens=dbus.UInt32(1))
            try:
                request.wait()
            except dbus.DBusException as e:
                self.assertTrue(e.get_dbus_name().endswith(".TooLarge"), e)
                message = e.get_dbus_message()
                break
            finally:
                request.release()
        self.assertIn("open a new session", message)
        self.assertIsInstance(session.ask("Hm?", max_tokens=dbus.UInt32(1)).text(), str)
        session.close()

    def test_one_question_at_a_time(self):
        session = self.client.open_session()
        request = session.ask("Tell me more.", **LONG)
        self.refused("Busy", session.ask, "What?")
        session.close()
        self.refused("Cancelled", request.wait)

    def test_by_option(self):
        """Ask of the manager with the option is Ask of the session."""
        expected = self.talk("Count to 3.", "And then?")
        session, another = self.client.open_session(), self.client.open_session()
        option = {"session": dbus.ObjectPath(session.path), "max_tokens": dbus.UInt32(8)}
        self.assertEqual(self.finish(self.client.ask("Count to 3.", **option)), expected[0])
        self.assertEqual(self.finish(session.ask("And then?", **option)), expected[1])
        self.refused("InvalidArgs", another.ask, "And then?", **option)
        self.refused("InvalidArgs", self.client.ask, "x", session=str(session.path))
        request = self.client.ask("Tell me more.", session=option["session"], **LONG)
        self.refused("Busy", self.client.ask, "And then?", **option)
        self.refused("Busy", session.ask, "And then?")
        request.release()
        self.refused("UnknownObject", self.another_client().ask, "And then?", **option)
        session.close()
        self.refused("UnknownObject", self.client.ask, "And then?", **option)
        another.close()

    def test_of_its_connection_only(self):
        session = self.client.open_session()
        other = self.another_client()
        for member, signature, args in (("Ask", "sa(hs)a{sv}", ("x", [], {})), ("Close", "", ())):
            self.refused("AccessDenied", other.call, member, signature, *args, path=session.path,
                         interface=SESSION)
        session.close()
        self.refused("UnknownObject", session.ask, "x")
        self.refused("UnknownObject", session.close)
        self.refused("InvalidArgs", self.client.call, "OpenSession", "a{sv}", {"colour": "red"})

    def test_quotas_and_leaving(self):
        clients = [self.another_client() for _ in range(3)]
        for client in clients[:2]:
            for _ in range(4):
                client.open_session().ask("Tell me more.", **LONG)
            self.refused("QuotaExceeded", client.open_session)
        message = self.refused("QuotaExceeded", clients[2].open_session)
        self.assertIn("This user has 8", message)
        clients[0].close()
        self.eventually(lambda: self.client.property("QueueDepth") <= 4)
        clients[2].open_session()
        for client in clients[1:]:
            client.close()
        self.eventually(lambda: self.client.property("QueueDepth") == 0)
        folder = f"/proc/{self.service.pid}/fd"
        before = len(os.listdir(folder))
        for _ in range(30):
            client = self.another_client()
            client.open_session().ask("What?", max_tokens=dbus.UInt32(1)).wait()
            client.close()
        self.assertLessEqual(len(os.listdir(folder)), before + 1)


if __name__ == "__main__":
    Paths.take()
    unittest.main(verbosity=2)
