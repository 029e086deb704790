#!/usr/bin/env python3
"""Kills the server under load, again and again on one data directory, and looks for every acknowledged write.

`run.py [--cycles N] [--seed S]`; the seed decides the moments, not what the machine makes of them.
"""

import argparse
import os
import pathlib
import random
import signal
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))

from durability.full_disk import full_disk  # noqa: E402
from durability.load import random_pause, writers  # noqa: E402
from harness import wire  # noqa: E402
from harness.report import Report  # noqa: E402
from harness.server import Server  # noqa: E402

# Writers of older cycles that are compared again in every cycle, besides all of them in the last.
_RECENT = 12


class Kills:
    """One data directory through many kills."""

    def __init__(self, rng):
        self.rng = rng
        # Snapshots now and then, so that kills hit them too.
        self.server = Server(properties=["zookeeper.snapCount=5000"])
        self.load = []
        self.unacknowledged = 0

    def cycle(self, number):
        """Start, compare, load, kill."""
        if number % 7 == 6:
            self._kill_while_starting()
        self.server.start()
        self.verify(self.load[-_RECENT:])
        load = writers(self.server.port, f"cycle{number}")
        self.load += load
        time.sleep(random_pause(self.rng, 0.8))
        if number % 4 == 3:
            self.server.signal(signal.SIGSTOP)
            time.sleep(random_pause(self.rng, 0.5))
            if number % 8 == 3:
                self.server.signal(signal.SIGCONT)
                time.sleep(random_pause(self.rng, 0.3))
        self.server.kill()
        for writer in load:
            writer.join()
            assert writer.refused is None, f"error {writer.refused} under load"

    def verify(self, load):
        """Compares what the writers wrote with what the server has."""
        with wire.Client(self.server.port).connect(timeout_ms=8000) as client:
            for writer in load:
                self.unacknowledged += writer.verify(client)
            client.close_session()

    def _kill_while_starting(self):
        self.server.launch()
        time.sleep(random_pause(self.rng, 0.3))
        self.server.kill()


def kill_cycles(cycles, seed):
    """The kills, and at the end a comparison of everything."""
    kills = Kills(random.Random(seed))
    try:
        for number in range(cycles):
            kills.cycle(number)
        kills.server.start()
        kills.verify(kills.load)
        acknowledged = sum(writer.acknowledged for writer in kills.load)
        assert acknowledged > 0, "nothing was written"
        print(f"     {cycles} kills, {acknowledged} writes found, {kills.unacknowledged} of them not acknowledged")
    finally:
        kills.server.destroy()


def main():
    """Runs the kills and the full disk."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--cycles", type=int, default=int(os.environ.get("DURABILITY_CYCLES", "10")))
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(1 << 32))
    options = parser.parse_args()
    report = Report("durability")
    report.run(f"SIGKILL under load, {options.cycles} times, seed {options.seed}", kill_cycles, options.cycles,
               options.seed)
    report.run("full disk", full_disk)
    report.finish()


if __name__ == "__main__":
    main()
