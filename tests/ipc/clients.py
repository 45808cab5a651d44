"""The programs and libraries that people call a service with, behind one call() each.

call() takes plain Python values by signature, with Value for a variant and an int for a descriptor, and returns the reply's
values as plain Python again, or raises Refused with the name of the error.
"""

import asyncio
import json
import os
import re
import subprocess

import dbus
import dbus.lowlevel
import dbus_next
import dbus_next.aio
import jeepney
import jeepney.io.blocking
from gi.repository import GLib

from fixture import NAME

TIMEOUT = 60


class Refused(Exception):
    """The name of a D-Bus error."""


class Value:
    """A variant to send."""

    def __init__(self, signature, value):
        self.signature, self.value = signature, value


def parts(signature):
    """The complete types of a signature."""
    return [str(part) for part in dbus.Signature(signature)]


def map_value(signature, value, variant):
    """The same structure with every Value and dictionary passed through variant(signature, value)."""
    if isinstance(value, Value):
        return variant(value.signature, map_value(value.signature, value.value, variant))
    if signature.startswith("a{"):
        inner = parts(signature[2:-1])[1]
        return {key: map_value(inner, item, variant) for key, item in value.items()}
    if signature == "ay":
        return bytes(value)
    if signature[0] == "a":
        return [map_value(signature[1:], item, variant) for item in value]
    if signature[0] == "(":
        return tuple(map_value(part, item, variant) for part, item in zip(parts(signature[1:-1]), value))
    return value


def map_arguments(signature, arguments, variant):
    return [map_value(part, argument, variant) for part, argument in zip(parts(signature), arguments)]


def run(command, **kwargs):
    return subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT, check=False, **kwargs)


class Client:
    """options: whether it can send a{sv}; descriptors: whether it can send one, alone or inside of other arguments; checks:
    it looks at the introspection data first, and sends nothing that is not there."""

    program, options, descriptors, checks = True, True, ("alone", "inside"), False

    def __init__(self, bus):
        self.bus = bus

    def can(self, signature, descriptor):
        return (self.options or "{" not in signature) and (not descriptor or descriptor in self.descriptors)

    def close(self):
        pass


class PythonDbus(Client):
    name, program = "python-dbus", False

    def __init__(self, bus):
        super().__init__(bus)
        self.connection = bus.connect()

    def close(self):
        self.connection.close()

    @staticmethod
    def typed(signature, value):
        kinds = {"s": dbus.String, "u": dbus.UInt32, "t": dbus.UInt64, "d": dbus.Double, "b": dbus.Boolean,
                 "o": dbus.ObjectPath}
        if signature in kinds:
            return kinds[signature](value, variant_level=1)
        return dbus.Array(value, signature=signature[1:], variant_level=1)

    def call(self, path, interface, member, signature, arguments):
        arguments = map_arguments(signature, arguments, self.typed)
        try:
            reply = self.connection.call_blocking(NAME, path, interface, member, signature, arguments,
                                                  timeout=TIMEOUT)
        except dbus.DBusException as error:
            raise Refused(error.get_dbus_name()) from error
        if reply is None:
            return []
        return list(reply) if isinstance(reply, tuple) and not isinstance(reply, dbus.Struct) else [reply]


class DbusNext(Client):
    name, program = "dbus-next", False

    def plain(self, value):
        if isinstance(value, dbus_next.Variant):
            return self.plain(value.value)
        if isinstance(value, dict):
            return {key: self.plain(item) for key, item in value.items()}
        return [self.plain(item) for item in value] if isinstance(value, list) else value

    def call(self, path, interface, member, signature, arguments):
        arguments = map_arguments(signature, arguments, lambda part, value: dbus_next.Variant(part, lists(value)))
        return asyncio.run(self.ask(path, interface, member, signature, arguments))

    async def ask(self, path, interface, member, signature, arguments):
        descriptors = []
        if "h" in signature:
            arguments = self.number(signature, arguments, descriptors)
        bus = await dbus_next.aio.MessageBus(bus_address=self.bus.address, negotiate_unix_fd=True).connect()
        reply = await asyncio.wait_for(bus.call(dbus_next.Message(
            destination=NAME, path=path, interface=interface, member=member, signature=signature, body=lists(arguments),
            unix_fds=descriptors)), TIMEOUT)
        bus.disconnect()
        await bus.wait_for_disconnect()
        if reply.message_type == dbus_next.MessageType.ERROR:
            raise Refused(reply.error_name)
        return self.plain(reply.body)

    def number(self, signature, arguments, descriptors):
        """Descriptors as places in a list beside the message."""
        def place(part, value):
            if part == "h":
                descriptors.append(value)
                return len(descriptors) - 1
            if part == "a(hs)":
                return [(place("h", fd), hint) for fd, hint in value]
            return value
        return [place(part, argument) for part, argument in zip(parts(signature), arguments)]


def lists(value):
    """Its structs are lists."""
    if isinstance(value, (list, tuple)):
        return [lists(item) for item in value]
    return value


class Jeepney(Client):
    name, program = "jeepney", False

    def plain(self, signature, value):
        if signature == "v":
            return self.plain(*value)
        if signature.startswith("a{"):
            inner = parts(signature[2:-1])[1]
            return {key: self.plain(inner, item) for key, item in value.items()}
        if signature[0] == "(":
            return [self.plain(part, item) for part, item in zip(parts(signature[1:-1]), value)]
        return [self.plain(signature[1:], item) for item in value] if signature[0] == "a" != signature else value

    def call(self, path, interface, member, signature, arguments):
        arguments = map_arguments(signature, arguments, lambda part, value: (part, value))
        address = jeepney.DBusAddress(path, bus_name=NAME, interface=interface)
        with jeepney.io.blocking.open_dbus_connection(bus=self.bus.address, enable_fds=True) as connection:
            message = jeepney.new_method_call(address, member, signature or None, tuple(arguments))
            reply = connection.send_and_get_reply(message, timeout=TIMEOUT)
        fields = reply.header.fields
        if reply.header.message_type == jeepney.MessageType.error:
            raise Refused(fields[jeepney.HeaderFields.error_name])
        signature = fields.get(jeepney.HeaderFields.signature, "")
        return [self.plain(part, value) for part, value in zip(parts(signature), reply.body)]


class Busctl(Client):
    """systemd's own; it cannot send a descriptor, and tells an error's name in its log only."""

    name, descriptors = "busctl", ()

    def words(self, signature, value):
        if isinstance(value, Value):
            return [value.signature, *self.words(value.signature, value.value)]
        if signature.startswith("a{"):
            key, inner = parts(signature[2:-1])
            return [str(len(value)), *sum(([*self.words(key, k), *self.words(inner, v)] for k, v in value.items()), [])]
        if signature[0] == "a":
            return [str(len(value)), *sum((self.words(signature[1:], item) for item in value), [])]
        if signature[0] == "(":
            return sum((self.words(part, item) for part, item in zip(parts(signature[1:-1]), value)), [])
        return [str(value)]

    def plain(self, signature, data):
        if signature == "v":
            return self.plain(data["type"], data["data"])
        if signature.startswith("a{"):
            inner = parts(signature[2:-1])[1]
            return {key: self.plain(inner, item) for key, item in data.items()}
        if signature[0] == "(":
            return [self.plain(part, item) for part, item in zip(parts(signature[1:-1]), data)]
        return [self.plain(signature[1:], item) for item in data] if signature[0] == "a" != signature else data

    def call(self, path, interface, member, signature, arguments):
        words = sum((self.words(part, value) for part, value in zip(parts(signature), arguments)), [])
        found = run(["busctl", f"--address={self.bus.address}", "--json=short", f"--timeout={TIMEOUT}", "call", NAME,
                     path, interface, member, signature, *words], env={**os.environ, "SYSTEMD_LOG_LEVEL": "debug"})
        if found.returncode != 0:
            raise Refused(re.findall(r"type=error .*error-name=(\S+)", found.stderr)[-1])
        if not found.stdout.strip():
            return []
        reply = json.loads(found.stdout)
        return [self.plain(part, value) for part, value in zip(parts(reply["type"]), reply["data"])]


def variant_words(signature, arguments):
    """Arguments as GLib prints them, types and all."""
    values = map_arguments(signature, arguments, GLib.Variant)
    return [GLib.Variant(part, value).print_(True) for part, value in zip(parts(signature), values)]


def variant_read(text):
    return [value for value in GLib.Variant.parse(None, text, None, None).unpack()]


class Gdbus(Client):
    """GLib's program; the only descriptor that it can send is its standard input, as an argument of its own."""

    name, descriptors = "gdbus", ("alone",)

    def call(self, path, interface, member, signature, arguments):
        stdin, arguments = take_descriptor(signature, arguments)
        found = run(["gdbus", "call", "--address", self.bus.address, "--dest", NAME, "--object-path", path, "--method",
                     f"{interface}.{member}", "--timeout", str(TIMEOUT), *variant_words(signature, arguments)],
                    stdin=subprocess.DEVNULL if stdin is None else stdin)
        if found.returncode != 0:
            raise Refused(re.search(r"GDBus\.Error:(\S+?): ", found.stderr).group(1))
        return variant_read(found.stdout)


def take_descriptor(signature, arguments):
    """The one among the arguments or None, and the arguments with 0 for it."""
    if signature.startswith("h"):
        return arguments[0], [0, *arguments[1:]]
    if signature.startswith("a(hs)") and arguments[0]:
        (descriptor, hint), = arguments[0]
        return descriptor, [[(0, hint)], *arguments[1:]]
    return None, arguments


GJS = """
const {Gio, GLib} = imports.gi;
const [address, path, name, member, signature, descriptor, ...words] = ARGV;
const flags = Gio.DBusConnectionFlags;
const bus = Gio.DBusConnection.new_for_address_sync(
    address, flags.AUTHENTICATION_CLIENT | flags.MESSAGE_BUS_CONNECTION, null, null);
const body = words.length ? GLib.Variant.parse(new GLib.VariantType('(' + signature + ')'), words[0], null, null) : null;
const dot = name.lastIndexOf('.');
try {
    const list = new Gio.UnixFDList();
    if (descriptor >= 0)
        list.append(Number(descriptor));
    const [reply] = bus.call_with_unix_fd_list_sync('org.perceptd.Percept1', path, name, member, body, null,
                                                    Gio.DBusCallFlags.NONE, 60000, list, null);
    print(reply.print(true));
} catch (error) {
    print('refused ' + Gio.DBusError.get_remote_error(error));
}
"""


class Gjs(Client):
    """What GNOME's own programs are written in."""

    name = "gjs"

    def call(self, path, interface, member, signature, arguments):
        descriptor, arguments = take_descriptor(signature, arguments)
        words = variant_words(signature, arguments)
        body = [f"({', '.join(words)}{',' if len(words) == 1 else ''})"] if words else []
        sent = [] if descriptor is None else [descriptor]
        found = run(["gjs", "-c", GJS, self.bus.address, path, interface, member, signature,
                     *(map(str, sent or [-1])), *body], pass_fds=sent)
        if found.returncode != 0:
            raise AssertionError(found)
        if found.stdout.startswith("refused "):
            raise Refused(found.stdout.split()[1])
        return variant_read(found.stdout)


class DbusSend(Client):
    """libdbus's program: arguments of basic types, and arrays of them; no a{sv}."""

    name, options = "dbus-send", False
    kinds = {"s": "string", "u": "uint32", "o": "objpath", "as": "array:string"}

    def call(self, path, interface, member, signature, arguments):
        words = []
        for part, value in zip(parts(signature), arguments):
            if isinstance(value, Value):
                words.append(f"variant:{self.kinds[value.signature]}:{value.value}")
            else:
                words.append(f"{self.kinds[part]}:{','.join(value) if part == 'as' else value}")
        found = run(["dbus-send", f"--bus={self.bus.address}", f"--reply-timeout={TIMEOUT * 1000}", "--print-reply",
                     f"--dest={NAME}", path, f"{interface}.{member}", *words])
        if found.returncode != 0:
            raise Refused(re.search(r"^Error (\S+?):", found.stderr).group(1))
        self.text = found.stdout.partition("\n")[2].strip()
        values = []
        while self.text:
            values.append(self.take())
        return values

    def take(self):
        """One value off the text that it prints."""
        for pattern, read in (
                (r'string "((?:.|\n)*?)"\n?(?=\s*(?:$|string|array|variant|dict|\)|\]|uint32|boolean))', str),
                (r'object path "([^"]*)"', str), (r"(?:u?int\d+|byte) (\d+)", int), (r"double (\S+)", float),
                (r"boolean (\w+)", lambda word: word == "true")):
            found = re.match(r"\s*" + pattern, self.text)
            if found:
                self.text = self.text[found.end():].lstrip()
                return read(found.group(1))
        opening = re.match(r"(variant|array \[|dict entry\(|struct \{)\s*", self.text)
        self.text = self.text[opening.end():]
        if opening.group(1) == "variant":
            return self.take()
        items = []
        while self.text[0] not in ")]}":
            items.append(self.take())
        self.text = self.text[1:].lstrip()
        pairs = opening.group(1) == "array [" and items and isinstance(items[0], Pair)
        return Pair(items) if opening.group(1) == "dict entry(" else dict(items) if pairs else items


class Pair(tuple):
    """A dictionary's entry."""


class Qdbus(Client):
    """Qt's program: words, and lists of them."""

    name, options, checks = "qdbus", False, True

    def call(self, path, interface, member, signature, arguments):
        words = []
        for value in arguments:
            words += ["(", *value, ")"] if isinstance(value, list) else [
                str(value.value if isinstance(value, Value) else value)]
        found = run(["qdbus", "--bus", self.bus.address, NAME, path, f"{interface}.{member}", *words],
                    env={**os.environ, "QT_SELECT": "5", "LC_ALL": "C.UTF-8"})
        if found.returncode != 0:
            name = re.search(r"^Error: (\S+)", found.stdout + found.stderr, re.M)
            raise Refused(name.group(1) if name else (found.stdout + found.stderr).strip())
        if member == "GetAll":
            return [dict(line.partition(": ")[::2] for line in found.stdout.splitlines())]
        return [found.stdout.rstrip("\n")] if found.stdout.strip() else []


ALL = [Busctl, Gdbus, Gjs, DbusSend, PythonDbus, DbusNext, Jeepney, Qdbus]
