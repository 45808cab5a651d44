#!/usr/bin/python3
"""Signals of requests: only for those who asked for them, and only to them. Against the service without a model.

usage: test_signals.py FAKE
"""

import sys
import time
import unittest

import dbus
import dbus.bus
from dbus.mainloop.glib import DBusGMainLoop
from gi.repository import GLib

from fixture import ERROR, NAME, PATH, REQUEST, Client, ServiceTest


class Listener(Client):
    """A connection that hears every signal that the bus lets it hear."""

    def __init__(self, bus):
        self.connection = dbus.bus.BusConnection(bus.address, mainloop=DBusGMainLoop())
        self.name = self.connection.get_unique_name()
        self.told = []
        self.connection.add_message_filter(self.hear)
        self.connection.add_match_string(f"type='signal',sender='{NAME}'")

    def hear(self, _, message):
        if message.get_interface() == REQUEST:
            self.told.append((message.get_path(), message.get_member(),
                              *map(self.plain, message.get_args_list())))
        return 1  # DBUS_HANDLER_RESULT_NOT_YET_HANDLED

    @staticmethod
    def plain(value):
        return str(value) if isinstance(value, str) else float(value)

    def until(self, member):
        """Everything up to the first signal of this name."""
        end = time.monotonic() + 10
        while not any(signal[1] == member for signal in self.told):
            assert time.monotonic() < end, self.told
            GLib.MainContext.default().iteration(False)
        return self.told


class Signals(ServiceTest):
    @classmethod
    def command(cls, bus):
        return [FAKE, bus.address]

    def setUp(self):
        super().setUp()
        self.mine, self.others = Listener(self.bus), Listener(self.bus)
        self.addCleanup(self.mine.close)
        self.addCleanup(self.others.close)

    def nothing(self, listener):
        """A round trip: whatever was on its way has come."""
        listener.property("State")
        while GLib.MainContext.default().iteration(False):
            pass
        self.assertEqual(listener.told, [])

    def test_told_to_the_caller_alone(self):
        text = "Grüße, 世界!"
        request = self.mine.ask("say " + text, signals=True)
        told = self.mine.until("Done")
        self.assertEqual({path for path, *_ in told}, {request.path})
        self.assertEqual("".join(args[0] for _, member, *args in told if member == "Text"), text)
        self.assertGreater(sum(member == "Text" for _, member, *_ in told), 2, "while it is made")
        self.assertEqual([args for _, member, *args in told if member == "Advanced"],
                         [["decode", 0.5]])
        self.assertEqual(told[-1][1:], ("Done", ""))
        self.assertEqual(request.text(), text)
        self.nothing(self.others)

    def test_only_when_asked_for(self):
        for options in {}, {"signals": False}:
            self.mine.ask("say hello", **options).wait()
            self.nothing(self.mine)
        self.nothing(self.others)
        self.refused("InvalidArgs", self.mine.ask, "say hello", signals="yes")
        self.refused("InvalidArgs", self.mine.embed, "hello", signals=True)

    def test_failures(self):
        request = self.mine.ask("fail", signals=True)
        self.assertEqual(self.mine.until("Done")[-1],
                         (request.path, "Done", ERROR + "DecodeFailed"))
        self.mine.told.clear()
        request = self.mine.ask("hang", signals=True)
        request.cancel()
        self.assertEqual(self.mine.until("Done")[-1][2], ERROR + "Cancelled")

    def test_unsound_tail(self):
        self.mine.ask("raw 41e282", signals=True)
        told = self.mine.until("Done")
        self.assertEqual("".join(s[2] for s in told if s[1] == "Text"), "A\ufffd")

    def test_released(self):
        request = self.mine.ask("flood", signals=True)
        self.mine.until("Text")
        request.release()
        self.mine.property("State")
        while GLib.MainContext.default().iteration(False):
            pass
        self.mine.told.clear()
        self.nothing(self.mine)

    def test_left(self):
        self.mine.ask("flood", signals=True)
        self.mine.until("Text")
        self.mine.close()
        self.eventually(lambda: self.client.property("QueueDepth") == 0)
        self.nothing(self.others)
        self.assertEqual(self.client.property("State", PATH), "ready")


if __name__ == "__main__":
    FAKE = sys.argv.pop(1)
    unittest.main(verbosity=2)
