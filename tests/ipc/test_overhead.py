#!/usr/bin/python3
"""What a call on the bus costs besides the engine's own time.

usage: test_overhead.py BENCH PERCEPTD HELPER FIXTURES [MODEL]
"""

import subprocess
import sys
import unittest

from service import DaemonTest, Paths

MOST_USEC = 300
ROUNDS = 8


class Overhead(DaemonTest):
    configuration = "[Model]\nCache=no\n"  # the few words of the client come again and again

    def test_one_word(self):
        """The best of some rounds counts: others use the machine, too."""
        best = None
        for _ in range(ROUNDS):
            found = subprocess.run([BENCH, self.bus.address, "300"], capture_output=True, text=True,
                                   check=True).stdout
            ping, wall, computed, more = map(float, found.split())
            print(f"ping {ping:.0f} us, EmbedText of one word {wall:.0f} us, computed {computed:.0f} us, "
                  f"the rest {more:.0f} us", flush=True)
            best = more if best is None else min(best, more)
            if best <= MOST_USEC:
                break
        self.assertLessEqual(best, MOST_USEC)


if __name__ == "__main__":
    BENCH = sys.argv.pop(1)
    Paths.take()
    unittest.main(verbosity=2)
