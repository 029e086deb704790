"""How long nobody can write when the leader fails: killed, held, or cut off from the others.

Probing clients write to one node through every member, again and again; the gap is the longest time in which none of
them got an acknowledgement. What they were told goes into one history, and what they find at the end must fit it: no two
sides ever acknowledged, nothing acknowledged is gone.
"""

import itertools
import random
import signal
import struct
import threading
import time

from .ensembles import wire
from harness.history import Broken, History, Write

PROBES_PER_MEMBER = 2
PROBE_PAUSE_S = 0.001
NODE = "/failover"
# Beside the probes: writes due each second through all members.
LOAD_RATE = 2000
# Between the start of the load and the fault, at most half a second more.
BEFORE_S = 1.0
AFTER_S = 0.5
# Probes that wait for so long wait for more than their turn.
STOP_S = 0.2


class Probe:
    """One client of one member; when the connection breaks it comes back."""

    def __init__(self, probes, name, endpoint):
        self.probes = probes
        self.name = name
        self.endpoint = endpoint
        self.thread = threading.Thread(target=self._run, daemon=True)

    def _run(self):
        values = itertools.count()
        while not self.probes.stopped.is_set():
            try:
                with wire.Client(self.endpoint, timeout=0.5) as client:
                    client.connect(timeout_ms=10_000)
                    client.sock.settimeout(5)
                    while not self.probes.stopped.is_set():
                        self._write(client, f"{self.name}:{next(values)}")
                        time.sleep(PROBE_PAUSE_S)
            except (OSError, wire.Refused, wire.ServerError, struct.error):
                time.sleep(0.002)

    def _write(self, client, value):
        history = self.probes.history
        history.sent(NODE, value)
        sent = time.monotonic()
        reply = client.call(*wire.set_request(NODE, value.encode()))
        acknowledged = time.monotonic()
        version = reply.body.stat().version
        history.wrote(Write(sent, acknowledged, self.name, NODE, reply.zxid, version, value))


class Probes:
    """Clients of all members, for use in a `with` block."""

    def __init__(self, ensemble):
        self.ensemble = ensemble
        self.history = History()
        self.stopped = threading.Event()
        self._probes = [
            Probe(self, f"{number}.{index}", ensemble.endpoint(number))
            for number in ensemble.members for index in range(PROBES_PER_MEMBER)
        ]

    def __enter__(self):
        with wire.Client(self.ensemble.endpoint(1)).connect() as client:
            client.create(NODE)
            client.close_session()
        for probe in self._probes:
            probe.thread.start()
        return self

    def __exit__(self, *_):
        self.stopped.set()
        for probe in self._probes:
            probe.thread.join(30)

    def writes_since(self, moment):
        """Moments of the acknowledgements after this one."""
        recent = itertools.takewhile(lambda write: write.acknowledged > moment - 1, reversed(list(self.history.writes)))
        return sorted(write.acknowledged for write in recent if write.acknowledged > moment)

    def wait_for_writes(self, moment, patience):
        """Waits until the writes go on without a stop."""
        while time.monotonic() < moment + patience:
            time.sleep(0.05)
            now = time.monotonic()
            times = [now - AFTER_S, *self.writes_since(now - AFTER_S), now]
            steady = all(after - before < STOP_S for before, after in zip(times, times[1:]))
            if steady and now > moment + 2 * AFTER_S:
                return

    def gap(self, moment):
        """The longest time without an acknowledgement that ended after this moment."""
        times = self.writes_since(moment - 1.0)
        return max((after - before for before, after in zip(times, times[1:]) if after > moment), default=float("inf"))

    def check(self):
        """Raises Broken unless every member's node fits what was acknowledged."""
        for number in self.ensemble.members:
            with wire.Client(self.ensemble.endpoint(number)).connect() as client:
                client.call(wire.SYNC, wire.string(NODE))
                value, stat = client.get(NODE)
                client.close_session()
            self.history.check(final={NODE: (stat.version, value.decode())})


class Faults:
    """What can befall a leader, and how it is undone."""

    def __init__(self, ensemble):
        self.ensemble = ensemble

    def kill(self, number):
        """Ends it at once."""
        self.ensemble.members[number].kill()
        return lambda: self.ensemble.launch(number)

    def hold(self, number):
        """Stops it where it is."""
        self.ensemble.members[number].process.send_signal(signal.SIGSTOP)
        return lambda: self.ensemble.members[number].process.send_signal(signal.SIGCONT)

    def cut(self, number):
        """Nothing passes between it and the other members; its clients stay."""
        host = self.ensemble.hosts[number]
        host.cut()
        return host.heal


def gaps(ensemble, load, kind, tries, patience):
    """The gap of each try, in seconds; raises RuntimeError if the history is not in order. `kind` names a fault."""
    fault = getattr(Faults(ensemble), kind)
    found = []
    with Probes(ensemble) as probes:
        for _ in range(tries):
            found.append(_gap(ensemble, load, probes, fault, patience))
            yield found[-1]
    try:
        probes.check()
    except Broken as why:
        raise RuntimeError(f"writes of two sides: {why}") from None


def _gap(ensemble, load, probes, fault, patience):
    leader = ensemble.leader()
    # It loses its sessions with the leader, so it lives for one try.
    loading = load.start(ensemble.address(), load="write", connections=12, rate=LOAD_RATE, secs=3600)
    try:
        time.sleep(BEFORE_S + random.random() / 2)
        if loading.poll() is not None:
            raise RuntimeError("the load ended before the fault")
        moment = time.monotonic()
        undo = fault(leader)
        probes.wait_for_writes(moment, patience)
        gap = probes.gap(moment)
    finally:
        loading.kill()
        loading.wait()
    undo()
    ensemble.wait()
    time.sleep(AFTER_S)
    return gap
