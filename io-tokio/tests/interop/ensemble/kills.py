"""`kill -9` of members picked at random, at random moments, often the leader, sometimes several at once.

What the clients remember must be there afterwards, in an order that one server could have made: see `load` and
`harness.history`. Sessions come and go beside them, whose ephemeral nodes must go with them and not before.
"""

import itertools
import random
import struct
import threading
import time

from durability.load import random_pause
from harness import wire

from .cluster import Ensemble, wait_for
from .load import Load

# Snapshots now and then, so that kills hit them too, and old ones go.
_CONFIG = {"snapCount": 3000, "autopurge.purgeInterval": 1}
_WRITERS = 6
# One in so many of the load's nodes stays: every start writes all of them into a snapshot.
_KEPT = 200
# Everybody comes back and is compared with the history after so many kills.
_LOOK = 100
# The load must go on after so many, by at least so many writes.
_PROGRESS, _PROGRESS_WRITES = 10, 20
_PAUSE_SECONDS = 0.8
_VISIT_TIMEOUT_MS = 2000
_VISITS = "/visits"


def killed(kills, seed):
    """So many kills of the three members of an ensemble under test."""
    rng = random.Random(seed)
    with Ensemble(dict.fromkeys((1, 2, 3), "zabra"), config=_CONFIG) as ensemble:
        ensemble.start(leader=3)
        with wire.Client(ensemble.port(3)).connect() as client:
            client.create(_VISITS)
            client.close_session()
        with Load(ensemble, writers=_WRITERS, kept=_KEPT) as load, Visits(ensemble, rng.random()) as visits:
            count, hits, leaders = 0, 0, 0
            while count < kills:
                victims = _victims(ensemble, rng, kills - count)
                leaders += ensemble.mode(victims[0]) == "leader"
                _strike(ensemble, rng, victims)
                before, count, hits = count, count + len(victims), hits + (len(victims) > 1)
                if before // _PROGRESS != count // _PROGRESS:
                    ensemble.serving()
                    load.progress(_PROGRESS_WRITES)
                if before // _LOOK != count // _LOOK:
                    load.history.check()
                    print(f"     {count} kills, {load.acknowledged()} writes acknowledged", flush=True)
            ensemble.serving()
            load.progress(_PROGRESS_WRITES)
            visits.stop()
            load.stop()
            # First: it waits until the last of them have expired, and until then the tree changes.
            visits.check(ensemble)
            print(f"     {count} kills, {leaders} of them of a leader, {hits} of several at once; {load.finish()}, "
                  f"{len(load.history.reads)} reads, {visits.count} sessions came and went")
        ensemble.no_complaints()


def _victims(ensemble, rng, most):
    """Members that run, the leader in every third draw; one, at times two, seldom all."""
    running = [number for number in ensemble.members if ensemble.members[number].alive()]
    rng.shuffle(running)
    if rng.random() < 1 / 3:
        running.sort(key=lambda number: ensemble.mode(number) != "leader")
    draw = rng.random()
    return running[:min(most, 1 if draw < 0.8 else 2 if draw < 0.97 else 3)]


def _strike(ensemble, rng, victims):
    """Kills them, one right after the other, and starts them again in any order, each after a while."""
    time.sleep(random_pause(rng, _PAUSE_SECONDS))
    for number in victims:
        ensemble.members[number].kill()
        time.sleep(random_pause(rng, 0.05))
    for number in rng.sample(victims, len(victims)):
        time.sleep(random_pause(rng, _PAUSE_SECONDS))
        ensemble.members[number].launch()


class Visits:
    """Short sessions with an ephemeral node each: one half are closed, the others just fall silent."""

    def __init__(self, ensemble, seed):
        self.count = 0
        self._ports = [ensemble.port(number) for number in ensemble.members]
        self._rng = random.Random(seed)
        self._stopped = threading.Event()
        self._closed = []
        self.problem = None
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self.stop()

    def stop(self):
        """Ends the visits."""
        self._stopped.set()
        self._thread.join(60)

    def _run(self):
        for number in itertools.count():
            if self._stopped.is_set() or self.problem:
                return
            try:
                with wire.Client(self._rng.choice(self._ports), timeout=4) as client:
                    self._visit(client.connect(timeout_ms=_VISIT_TIMEOUT_MS), f"{_VISITS}/{number}", number % 2 == 0)
                self.count += 1
            except (OSError, wire.Refused, struct.error):
                time.sleep(0.05)

    def _visit(self, client, path, close):
        begin = time.monotonic()
        client.create(path, b"", kind=wire.EPHEMERAL)
        time.sleep(self._rng.random() * 0.2)
        found = client.exists(path)
        silent = time.monotonic() - begin
        if found is None and silent < client.session.timeout_ms / 1000:
            self.problem = f"{path} is gone {silent:.2f} s after its session was heard of"
        if close:
            client.close_session()
            self._closed.append(path)

    def check(self, ensemble):
        """Nodes of closed sessions are gone at once, those of silent ones when their time is over."""
        assert not self.problem, self.problem
        assert self.count > 0, "no session came and went"
        for number in ensemble.members:
            with wire.Client(ensemble.port(number)).connect() as client:
                client.call(wire.SYNC, wire.string("/"))
                left = set(client.children(_VISITS))
                back = [path for path in self._closed if path.rpartition("/")[2] in left]
                assert not back, f"{ensemble.name(number)}: {back[:3]} outlive their sessions"
                wait_for(f"{_VISITS} is empty at {ensemble.name(number)}", lambda: not client.children(_VISITS))
                client.close_session()
