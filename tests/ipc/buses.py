"""Other buses than fixture.Bus: dbus-broker, and one of the system's kind with the policy that we install."""

import os
import shutil
import socket
import subprocess
import tempfile

import dbus.bus
from gi.repository import Gio, GLib

POLICY = "(a(u(bta(btbs)a(btssssuutt)a(btssssuutt)))a(buu(bta(btbs)a(btssssuutt)a(btssssuutt)))a(ss)bs)"
ANY_UID = (1 << 32) - 1


class Broker:
    """dbus-broker, which wants somebody to hand it a listening socket and a policy: everybody may do everything."""

    def __init__(self):
        self.folder = tempfile.mkdtemp(prefix="perceptd-broker-")
        path = os.path.join(self.folder, "bus")
        self.address = "unix:path=" + path
        self.listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.listener.bind(path)
        self.listener.listen(64)
        self.listener.setblocking(False)  # it accepts until there is nobody left
        ours, theirs = socket.socketpair()
        self.daemon = subprocess.Popen(
            ["dbus-broker", "--controller", str(theirs.fileno()), "--machine-id", "0123456789abcdef" * 2],
            pass_fds=[theirs.fileno()])
        theirs.close()
        stream = Gio.Socket.new_from_fd(ours.detach()).connection_factory_create_connection()
        self.controller = Gio.DBusConnection.new_sync(
            stream, None, Gio.DBusConnectionFlags.AUTHENTICATION_CLIENT, None, None)
        self.add_listener()

    def add_listener(self):
        everything = (True, 1, "", "", "", "", 0, 0, 0, (1 << 64) - 1)
        batch = (True, 1, [(True, 1, True, "")], [everything], [everything])
        policy = GLib.Variant(POLICY, ([(ANY_UID, batch)], [], [], False, "session"))
        descriptors = Gio.UnixFDList.new()
        handle = descriptors.append(self.listener.fileno())
        self.controller.call_with_unix_fd_list_sync(
            None, "/org/bus1/DBus/Broker", "org.bus1.DBus.Broker", "AddListener",
            GLib.Variant("(ohv)", ("/org/bus1/DBus/Listener/0", handle, policy)), None, Gio.DBusCallFlags.NONE,
            10000, descriptors, None)

    def connect(self):
        return dbus.bus.BusConnection(self.address)

    def close(self):
        self.daemon.terminate()
        self.daemon.wait()
        self.listener.close()
        shutil.rmtree(self.folder)
