#!/usr/bin/python3
"""What a client of the service waits for, on a private bus: start, short calls, the first words of an answer.

usage: bus.py PERCEPTD MODEL PICTURE [RUNS]. Each figure is the median of RUNS (default 30), then the lowest and the
highest. The client is this Python program, whose own share of a round trip is in the figures.
"""

import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "ipc"))

import dbus  # noqa: E402
from fixture import DELTA, Bus, Client  # noqa: E402

SENTENCE = "a red circle to the left of two blue squares"
QUESTION = "How many shapes are there?"


def report(name, values):
    values = [value * 1000 for value in values]
    print(f"{name:42} {statistics.median(values):8.2f} ms   {min(values):.2f} … {max(values):.2f}", flush=True)


def timed(call):
    before = time.perf_counter()
    call()
    return time.perf_counter() - before


class Service:
    """perceptd, started with a socket of ours to say READY on; `start` is how long that took."""

    def __init__(self, program, model, address):
        with tempfile.TemporaryDirectory() as folder, \
                socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as ready:
            path = os.path.join(folder, "notify")
            ready.bind(path)
            ready.settimeout(30)
            before = time.perf_counter()
            # The same sentence again is to be computed again.
            config = os.path.join(folder, "perceptd.conf")
            with open(config, "w", encoding="ascii") as file:
                file.write("[Model]\nCache=no\n")
            self.process = subprocess.Popen([program, f"--bus={address}", f"--model={model}",
                                             f"--config={config}"],
                                            env={**os.environ, "NOTIFY_SOCKET": path},
                                            stderr=subprocess.DEVNULL)
            while b"READY=1" not in ready.recv(4096):
                pass
            self.start = time.perf_counter() - before

    def close(self):
        self.process.terminate()
        self.process.wait()


def first_words(client, picture, seconds):
    """Adds the time from the question to the first piece of the answer, and to its end."""
    with open(picture, "rb") as file:
        before = time.perf_counter()
        request = client.ask(QUESTION, [(file.fileno(), "")],
                             max_tokens=dbus.UInt32(32))
        stream = request.stream()
        while (frame := stream.frame()) is not None:
            if frame[0] == DELTA:
                seconds.append(time.perf_counter() - before)
                break
        request.wait()
        stream.close()
        request.release()


def main(program, model, picture, runs=30):
    bus = Bus()
    try:
        starts = []
        for _ in range(runs):
            service = Service(program, model, bus.address)
            starts.append(service.start)
            service.close()
        report("start to READY", starts)

        service = Service(program, model, bus.address)
        client = Client(bus)
        report("first EmbedText, which loads the model", [timed(lambda: client.embed(SENTENCE))])
        report("property", [timed(lambda: client.property("State")) for _ in range(runs)])
        report("EmbedText of a sentence", [timed(lambda: client.embed(SENTENCE)) for _ in range(runs)])
        first = []
        first_words(client, picture, first)  # the media helper starts
        first.clear()
        for _ in range(runs):
            first_words(client, picture, first)
        report(f"Ask to first words, {os.path.basename(picture)}", first)
        client.close()
        service.close()
    finally:
        bus.close()


if __name__ == "__main__":
    if len(sys.argv) not in (4, 5):
        sys.exit(__doc__)
    main(*sys.argv[1:4], *map(int, sys.argv[4:]))
