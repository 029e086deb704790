"""The measurements of ensembles, of every kind of server in turn, with the same zoo.cfg."""

import statistics
from types import SimpleNamespace

from . import catch_up, failover
from .ensemble_bars import LOADS, SIZES, size_name
from .ensembles import Ensemble
from .measure import Measurements, say
from .servers import Unavailable
from harness.network import Network
from harness.report import Skip

# Silence is noticed after syncLimit ticks.
FAILOVER = {"tickTime": 500, "initLimit": 20, "syncLimit": 4, "maxSessionTimeout": 60_000}
# Time enough for a snapshot of everything, however slow.
CATCH_UP = {"tickTime": 2000, "initLimit": 100, "syncLimit": 20}
SIZED = {"tickTime": 2000, "initLimit": 20, "syncLimit": 10}
# Beyond what any server needs; a gap as long as this is a failure.
PATIENCE_S = 60


class EnsembleMeasurements(Measurements):
    """Takes samples from ensembles; `makers` are functions of a folder by the name of the kind."""

    def __init__(self, makers, load, scale, folder):
        super().__init__([], load, scale)
        self.makers = makers
        self.folder = folder

    def each_kind(self, take, *arguments, size=3, settings=(), hosts=None):
        """Takes a measurement of a fresh ensemble of every kind, one after the other."""
        for name, make in self.makers.items():
            try:
                with Ensemble(name, self.folder, make, size, settings, hosts) as ensemble:
                    take(ensemble.start(), *arguments)
            except (Unavailable, RuntimeError, OSError) as why:
                self.failed(SimpleNamespace(name=name), take.__name__.strip("_"), why)

    def kill(self):
        """The leader is killed."""
        self.each_kind(self._gaps, "kill", "killed", self.scale.tries, settings=FAILOVER)

    def hold(self):
        """The leader stands still for a while."""
        self.each_kind(self._gaps, "hold", "held", self.scale.tries_silent, settings=FAILOVER)

    def cut(self):
        """The leader is cut off from the other members, but not from its clients."""
        try:
            with Network([1, 2, 3]) as network:
                hosts = network.hosts
                self.each_kind(self._gaps, "cut", "cut off", self.scale.tries_silent, settings=FAILOVER, hosts=hosts)
        except Skip as why:
            say(f"left out: {why}")

    def _gaps(self, ensemble, fault, name, tries):
        found = []
        for gap in failover.gaps(ensemble, self.load, fault, tries, PATIENCE_S):
            found.append(gap * 1e3)
            self.add(f"leader {name}: gap", ensemble, found[-1], "ms")
        self.add(f"leader {name}: median gap", ensemble, statistics.median(found), "ms")
        self.add(f"leader {name}: longest gap", ensemble, max(found), "ms")

    def catch_up(self):
        """A member that missed much and one with an empty disk, in a large tree."""
        self.each_kind(self._catch_up, settings=CATCH_UP)

    def _catch_up(self, ensemble):
        znodes, writes = self.scale.znodes, self.scale.writes
        catch_up.prepare(ensemble, self.load, znodes)
        self._came_back(ensemble, "behind", catch_up.behind(ensemble, self.load, writes, znodes))
        self._came_back(ensemble, "empty", catch_up.empty(ensemble, self.load, znodes))

    def by_log(self):
        """A member that missed much, sent all of it from the leader's log however long that is."""
        self.each_kind(self._by_log, settings={**CATCH_UP, "snapshotSizeFactor": 0})

    def _by_log(self, ensemble):
        znodes, writes = self.scale.znodes, self.scale.writes
        catch_up.prepare(ensemble, self.load, znodes)
        self._came_back(ensemble, "behind, by log", catch_up.behind(ensemble, self.load, writes, znodes))

    def _came_back(self, ensemble, how, found):
        took, before, meanwhile = found
        self.add(f"{how}: back after", ensemble, took, "s")
        self.add(f"{how}: p99 before", ensemble, before, "µs")
        self.add(f"{how}: p99 meanwhile", ensemble, meanwhile, "µs")
        self.add(f"{how}: moves the leader's p99", ensemble, meanwhile / before, "×")

    def sizes(self):
        """Throughput through all members of ensembles of several sizes."""
        for size in SIZES:
            self.each_kind(self._throughput, size=size, settings=SIZED)
        for load in LOADS:
            three = self.medians(size_name(load, SIZES[0]))
            for size in SIZES[1:]:
                for name, value in self.medians(size_name(load, size)).items():
                    if name in three:
                        self.add(f"{load}: {size} servers over 3", SimpleNamespace(name=name), value / three[name], "×")

    def _throughput(self, ensemble):
        for _ in range(self.scale.rounds):
            for load in LOADS:
                name = size_name(load, len(ensemble.members))
                report = self.load.run(
                    ensemble.address(), load=load, connections=64, outstanding=16, secs=self.scale.seconds,
                    warm=self.scale.warm,
                )
                self.check(name, ensemble, report)
                self.add(name, ensemble, report["replies_per_second"], "ops/s")


SUITES = ("kill", "hold", "cut", "catch_up", "by_log", "sizes")
