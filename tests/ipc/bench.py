#!/usr/bin/python3
"""Times the service on this machine, over a private bus, from a Python client.

usage: bench.py PERCEPTD HELPER FIXTURES [MODEL]. Medians of many runs; the client's own time is in them.
"""

import os
import socket
import statistics
import subprocess
import tempfile
import time

import dbus

from fixture import DELTA, Bus, Client
from service import Paths, fixture


def median_ms(function, runs):
    times = []
    for _ in range(runs):
        begin = time.monotonic()
        function()
        times.append((time.monotonic() - begin) * 1e3)
    return statistics.median(times), max(times)


def show(what, times):
    print(f"{what:58} {times[0]:8.2f} ms   (slowest {times[1]:.2f})", flush=True)


def command(bus):
    return [Paths.perceptd, f"--bus={bus.address}", f"--model={Paths.model}",
            f"--media-helper={Paths.helper}", "--config=/dev/null"]


def start_and_stop(bus):
    """From exec until READY=1 has arrived."""
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "notify")
        notify = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        notify.bind(path)
        begin = time.monotonic()
        daemon = subprocess.Popen(command(bus), env={**os.environ, "NOTIFY_SOCKET": path},
                                  stderr=subprocess.DEVNULL)
        while b"READY=1" not in notify.recv(4096):
            pass
        ready = time.monotonic() - begin
        notify.close()
    daemon.terminate()
    daemon.wait()
    return ready * 1e3


def first_token(client, name, **options):
    fd = os.open(fixture(name), os.O_RDONLY)
    request = client.ask("What is in the picture?", [(fd, "")], max_tokens=dbus.UInt32(4), **options)
    stream = request.stream()
    while stream.frame()[0] != DELTA:
        pass
    os.close(fd)
    stream.frames()
    request.release()


def beside_long_questions(bus, client):
    """Prompts are read in chunks, so nobody waits for a whole one."""
    other = Client(bus)
    long = "red circle and blue square and " * 280
    requests = [other.ask(long, max_tokens=dbus.UInt32(1)) for _ in range(4)]
    found = median_ms(lambda: client.embed("a sentence in between"), 8)
    for request in requests:
        request.wait()
    other.close()
    return found


def main():
    bus = Bus()
    starts = [start_and_stop(bus) for _ in range(20)]
    show("exec to READY", (statistics.median(starts), max(starts)))
    daemon = subprocess.Popen(command(bus), stderr=subprocess.DEVNULL)
    client = Client(bus)
    while not client.connection.name_has_owner("org.perceptd.Percept1"):
        time.sleep(0.01)
    show("first EmbedText, which loads the model", median_ms(lambda: client.embed("warm"), 1))
    show("EmbedText of one sentence",
         median_ms(lambda: client.embed("Two red circles lie to the left of a blue square."), 300))
    texts = [f"{n} red circles lie to the left of a blue square." for n in range(100)]
    show("EmbedText of a hundred sentences", median_ms(lambda: client.embed(*texts), 10))
    for name, options in (("shapes.jpg", {}), ("shapes-large.jpg", {}),
                          ("shapes-large.jpg", {"detail": "high"}), ("sound.wav", {})):
        first_token(client, name, **options)
        label = f"first token of a question, {name}" + (", detail high" if options else "")
        show(label, median_ms(lambda n=name, o=options: first_token(client, n, **o), 20))
    show("EmbedText of one sentence beside four long questions", beside_long_questions(bus, client))
    client.close()
    daemon.terminate()
    daemon.wait()
    bus.close()


if __name__ == "__main__":
    Paths.take()
    main()
