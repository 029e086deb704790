"""The measurements. Each yields samples: a measure's name, the server, a value, and its unit.

Rounds of throughput are interleaved: every server has its turn before any has its second, and the order rotates, so that
whatever else the machine does falls on all alike. All servers of a round are up; the ones that wait cost nothing. Memory,
sessions and restarts are taken from one server at a time.
"""

import statistics
import sys
import time

from .servers import Unavailable

CELLS = [(load, shape) for load in ("read", "write", "mix50") for shape in ((1, 1), (16, 1), (16, 16), (64, 16))]
KEYS_WATCHED = 10_000
SNAPSHOTS_NEVER = 2_000_000_000


def cell_name(load, shape):
    return f"{load} {shape[0]}×{shape[1]}"


def say(text):
    print(text, file=sys.stderr, flush=True)


class Measurements:
    """Takes samples from a set of servers."""

    def __init__(self, servers, load, scale):
        self.servers = servers
        self.load = load
        self.scale = scale
        self.samples = []
        self.broken = []

    def add(self, measure, server, value, unit):
        self.samples.append({"measure": measure, "server": server.name, "value": value, "unit": unit})
        say(f"  {measure:<28} {server.name:<6} {value:,.3f} {unit}")

    def failed(self, server, measure, why):
        self.broken.append(f"{server.name}, {measure}: {why}")
        say(f"  FAILED: {self.broken[-1]}")

    def check(self, measure, server, report):
        if not report["clean"]:
            self.failed(server, measure, report)

    def medians(self, measure):
        """The median by server."""
        values = {}
        for sample in self.samples:
            if sample["measure"] == measure:
                values.setdefault(sample["server"], []).append(sample["value"])
        return {server: statistics.median(found) for server, found in values.items()}

    def in_turns(self, rounds):
        """Every server, `rounds` times, each round beginning with the next one."""
        for turn in range(rounds):
            for index in range(len(self.servers)):
                yield self.servers[(turn + index) % len(self.servers)]

    def start_all(self, **settings):
        for server in list(self.servers):
            try:
                server.start(fresh=True, **settings)
            except Unavailable as why:
                say(f"left out: {why}")
                self.servers.remove(server)

    def stop_all(self):
        for server in self.servers:
            server.stop()
            server.remove()

    def each_alone(self, take, with_null=False):
        """Takes a measurement of every server on a fresh folder, alone. One that fails does not stop the others."""
        for server in [s for s in self.servers if with_null or s.name != "null"]:
            try:
                server.start(fresh=True)
                take(server)
            except (Unavailable, RuntimeError, OSError) as why:
                self.failed(server, take.__name__.strip("_"), why)
            finally:
                server.stop()
                server.remove()

    def matrix(self):
        """Throughput and latency of reads and writes, from one request at a time to many."""
        self.start_all()
        scale = self.scale
        for load, shape in CELLS:
            name = cell_name(load, shape)
            for server in self.in_turns(scale.rounds):
                report = self.load.run(
                    server.address, load=load, connections=shape[0], outstanding=shape[1], secs=scale.seconds,
                    warm=scale.warm,
                )
                self.check(name, server, report)
                self.add(name, server, report["replies_per_second"], "ops/s")
                for kind in ("read", "write"):
                    if report[kind]:
                        self.add(f"{name} {kind} p50", server, report[kind]["p50"], "µs")
                        self.add(f"{name} {kind} p99", server, report[kind]["p99"], "µs")
        self.stop_all()

    def create(self):
        """New znodes under new names."""
        self.start_all()
        for server in self.in_turns(self.scale.rounds):
            report = self.load.run(
                server.address, load="create", connections=16, outstanding=32, total=self.scale.creates
            )
            self.check("create 16×32", server, report)
            self.add("create 16×32", server, report["replies_per_second"], "ops/s")
        self.stop_all()

    def sessions(self):
        """Many sessions at once. A server that does not open all in time counts with all of it."""
        self.each_alone(self._sessions, with_null=True)

    def _sessions(self, server):
        for _ in range(self.scale.rounds):
            report = self.load.run(
                server.address, phase="sessions", connections=self.scale.sessions,
                patience=self.scale.sessions_patience,
            )
            self.add("sessions at once", server, report["seconds"], "s")
            self.add("sessions up in time", server, report["sessions"], "sessions")
            if not report["ready"]:
                return

    def tree(self):
        """A large tree: its memory, the restart with it, and a snapshot of it under load."""
        self.each_alone(self._tree)

    def _tree(self, server):
        report = self.load.run(
            server.address, fill=self.scale.znodes, connections=16, outstanding=64, size=100, patience=120
        )
        self.check("filling", server, report)
        time.sleep(2)
        self.add("memory of the tree", server, server.memory() / 1e6, "MB")
        self.add("live memory of the tree", server, server.needed() / 1e6, "MB")
        for _ in range(self.scale.restarts):
            server.kill()
            self.add("restart after a kill", server, server.start(), "s")
        self.snapshot(server)

    def snapshot(self, server):
        """Write latency with the whole tree in memory, without and with snapshots, in turns."""
        without, during = "write p99 without snapshots", "write p99 during snapshots"
        snap_count = 0
        for _ in range(self.scale.restarts):
            report, _ = self.write_load(server, SNAPSHOTS_NEVER)
            self.add(without, server, report["write"]["p99"], "µs")
            # Two or more in the run that follows, wherever the server begins to count.
            snap_count = snap_count or max(1_000, int(report["replies"] / 3))
            report, taken = self.write_load(server, snap_count)
            self.add("snapshots taken", server, taken, "snapshots")
            if taken == 0:
                say("  no snapshot fell into the measurement: the ratio says nothing and is left out")
                return
            self.add(during, server, report["write"]["p99"], "µs")
        moved = self.medians(during)[server.name] / self.medians(without)[server.name]
        self.add("snapshot moves write p99", server, moved, "×")

    def write_load(self, server, snap_count):
        """A run of writes after a restart with the given snapCount: its report, and the snapshots taken meanwhile."""
        server.stop()
        server.start(snapCount=snap_count)
        before = server.snapshots()
        report = self.load.run(
            server.address, load="write", connections=64, outstanding=16, secs=max(self.scale.seconds, 3) * 2,
            warm=self.scale.warm,
        )
        self.check(f"write with snapCount={snap_count}", server, report)
        return report, len(server.snapshots() - before)

    def idle(self):
        """Memory of sessions that do nothing but ping."""
        self.each_alone(self._idle)

    def _idle(self, server):
        before, needed_before = server.memory(), server.needed()
        with self.load.hold(
            server.address, phase="idle", connections=self.scale.sessions, opening=32, patience=300
        ) as report:
            self.check("idle sessions", server, {**report, "clean": report["ready"]})
            time.sleep(1)
            self.add("memory of idle sessions", server, (server.memory() - before) / 1e6, "MB")
            self.add("live memory of idle sessions", server, (server.needed() - needed_before) / 1e6, "MB")

    def watches(self):
        """Memory of watches, beyond the sessions that hold them."""
        self.each_alone(self._watches)

    def _watches(self, server):
        scale = self.scale
        self.load.run(server.address, fill=KEYS_WATCHED)
        arguments = {"connections": scale.watchers, "opening": 32, "patience": 120}
        with self.load.hold(server.address, phase="idle", **arguments):
            before, needed_before = server.memory(), server.needed()
        with self.load.hold(
            server.address, phase="watches", watches=scale.watches, keys=KEYS_WATCHED, no_prepare=True, **arguments
        ) as report:
            self.check("watches", server, {**report, "clean": report["ready"]})
            time.sleep(1)
            self.add("memory of watches", server, (server.memory() - before) / 1e6, "MB")
            self.add("live memory of watches", server, (server.needed() - needed_before) / 1e6, "MB")
            self.add("setting the watches", server, report["seconds"], "s")


SUITES = ("matrix", "create", "sessions", "tree", "idle", "watches")
