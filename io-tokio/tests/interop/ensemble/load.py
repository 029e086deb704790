"""Clients that write without end, go to another member when one fails them, and know what was acknowledged.

Each keeps one session with an ephemeral node, and checks what an ensemble promises: an acknowledged write stays, an
unacknowledged one happens at most once, a session lives while its client is heard of, and of two changes that expect
the same version one wins, also when each is made on another side of a broken ensemble. Reads and changes of the node
that all share go into a history, which must be one that a single server could have made.
"""

import collections
import itertools
import struct
import threading
import time

from harness import wire
from harness.history import History, Read, Write

from .cluster import wait_for

COUNTER = "/load/counter"
# Of a writer's nodes all but one in so many are deleted, that many writes later.
_KEPT, _LATER = 10, 30
# Every so many of the shared node's reads follow a sync.
_SYNCED = 4
# A client that hears nothing for so long goes elsewhere.
_SILENCE_SECONDS = 4
_PAUSE_SECONDS = 0.004

Lost = collections.namedtuple("Lost", "writer silent_seconds timeout_seconds")


class Writer:
    """One session. Below its folder it creates nodes by number and deletes them again; every fifth write changes the
    counter that all share, if nobody else has changed it meanwhile."""

    def __init__(self, load, number, timeout_ms):
        self.load = load
        self.folder = f"/load/{number}"
        self.created, self.deleted, self.unknown = {}, set(), set()
        # How often it changed the counter.
        self.counted = 0
        self.lost = []
        self.refused = []
        self._timeout_ms = timeout_ms
        self._ports = itertools.cycle(load.ports[number % len(load.ports):] + load.ports[:number % len(load.ports)])
        self._client = None
        self._session = None
        # Whether the session has what it begins with.
        self.begun = False
        self._zxid = 0
        self._heard = time.monotonic()
        self._number = 0
        self.thread = threading.Thread(target=self._run, daemon=True)

    @property
    def acknowledged(self):
        """How many writes."""
        return len(self.created) + len(self.deleted) + self.counted

    def _run(self):
        while not self.load.stopped.is_set():
            try:
                if self._client is None:
                    self._connect()
                self._step()
                time.sleep(_PAUSE_SECONDS)
            except (OSError, wire.Refused, struct.error):
                self._disconnect()
                time.sleep(0.1)
        self._disconnect()

    def _disconnect(self):
        if self._client is not None:
            self._client.sock.close()
        self._client = None

    def _connect(self):
        client = wire.Client(next(self._ports), timeout=_SILENCE_SECONDS)
        try:
            client.connect(timeout_ms=self._timeout_ms, session=self._session, last_zxid=self._zxid)
        except wire.Refused:
            silent = time.monotonic() - self._heard
            self.lost.append(Lost(self.folder, silent, self._timeout_ms / 1000))
            self._session, self.begun = None, False
            client.sock.close()
            raise
        except OSError:
            client.sock.close()
            raise
        self._client, self._session = client, client.session
        self._heard = time.monotonic()
        if not self.begun:
            self._begin()

    def _begin(self):
        """A new session's folder and ephemeral node."""
        for path in ("/load", COUNTER, self.folder):
            self._write(wire.create_request(path, b""), may_fail=wire.NODE_EXISTS)
        # Of the session before, if that one was lost.
        self._write(wire.delete_request(f"{self.folder}/ephemeral"), may_fail=wire.NO_NODE)
        self._write(wire.create_request(f"{self.folder}/ephemeral", b"", kind=wire.EPHEMERAL),
                    may_fail=wire.NODE_EXISTS)
        self.begun = True

    def _step(self):
        number = self._number
        self._number += 1
        path = f"{self.folder}/{number}"
        self.unknown.add(path)
        self._write(wire.create_request(path, b"%d" % number))
        self.created[path] = b"%d" % number
        self.unknown.discard(path)
        old = number - _LATER
        if old % self.load.kept and f"{self.folder}/{old}" in self.created:
            self._delete(f"{self.folder}/{old}")
        if number % 5 == 0:
            self._count(number)

    def _delete(self, path):
        self.unknown.add(path)
        self._write(wire.delete_request(path))
        self.deleted.add(path)
        self.unknown.discard(path)

    def _count(self, number):
        """Changes the counter from what it was to a value that nobody writes again, and remembers all it was told."""
        history, synced = self.load.history, number // 5 % _SYNCED == 0
        begin = time.monotonic()
        if synced:
            self._call((wire.SYNC, wire.string(COUNTER)))
        reply = self._call((wire.GET, wire.string(COUNTER) + b"\0"))
        value, stat = reply.body.buffer().decode(), reply.body.stat()
        history.read(Read(begin, self.folder, COUNTER, reply.zxid, stat.version, value, synced))
        new = f"{self.folder}:{number}"
        history.sent(COUNTER, new)
        begin = time.monotonic()
        reply = self._write(wire.set_request(COUNTER, new.encode(), stat.version), may_fail=wire.BAD_VERSION)
        if reply.error:
            history.refused(COUNTER, new)
            return
        version = reply.body.stat().version
        history.wrote(Write(begin, self._heard, self.folder, COUNTER, reply.zxid, version, new))
        self.counted += 1

    def _write(self, request, may_fail=0):
        reply = self._call(request, may_fail)
        self.load.acknowledgement(self._heard)
        return reply

    def _call(self, request, may_fail=0):
        sent = self._client.send(*request)
        reply = self._client.receive()
        if reply.xid != sent:
            raise ConnectionError(f"reply to {reply.xid} where {sent} was due")
        if reply.error and reply.error != may_fail:
            self.refused.append((request, reply.error))
            raise ConnectionError(f"error {reply.error}")
        self._zxid = max(self._zxid, reply.zxid)
        self._heard = time.monotonic()
        return reply

    @property
    def session(self):
        """The session it has now, if any."""
        return self._session


class Load:
    """Several writers, spread over the members. Of what each creates one in `kept` nodes stays."""

    def __init__(self, ensemble, writers=4, timeout_ms=20_000, kept=_KEPT):
        self._ensemble = ensemble
        self.ports = [ensemble.port(number) for number in ensemble.members]
        self.kept = kept
        self.history = History()
        # ZooKeeper's leader answers a sync without asking whether it leads still.
        self._synced = all(member.kind == "zabra" for member in ensemble.members.values())
        self.stopped = threading.Event()
        self.longest_gap = 0.0
        self._lock = threading.Lock()
        self._last = None
        self._writers = [Writer(self, number, timeout_ms) for number in range(writers)]

    def __enter__(self):
        for writer in self._writers:
            writer.thread.start()
        return self

    def __exit__(self, *_):
        self.stop()

    def stop(self):
        """Ends the writers; their sessions go on."""
        self.stopped.set()
        for writer in self._writers:
            writer.thread.join(60)
            assert not writer.thread.is_alive(), "a writer does not end"

    def acknowledgement(self, now):
        """Some write was acknowledged."""
        with self._lock:
            if self._last is not None:
                self.longest_gap = max(self.longest_gap, now - self._last)
            self._last = now

    def acknowledged(self):
        """How many writes in all."""
        return sum(writer.acknowledged for writer in self._writers)

    def progress(self, writes=100):
        """Returns once so many more writes have been acknowledged."""
        before = self.acknowledged()
        wait_for("the load goes on", lambda: self.acknowledged() >= before + writes)

    def finish(self):
        """Ends the writers, checks what every member shows now, and returns the run in words."""
        self.stop()
        self.check(self._ensemble.same_tree())
        return (f"{self.acknowledged()} writes acknowledged, longest gap {self.longest_gap:.1f} s, "
                f"{self.lost_sessions()} sessions timed out")

    def check(self, nodes):
        """Compares what a member shows with what was acknowledged. The sessions must not have ended yet."""
        found = collections.defaultdict(set)
        for path in nodes:
            found[path.rpartition("/")[0]].add(path)
        for writer in self._writers:
            assert not writer.refused, f"{writer.folder}: {writer.refused[:3]}"
            self._check_nodes(writer, nodes, found[writer.folder])
            early = [lost for lost in writer.lost if lost.silent_seconds < lost.timeout_seconds]
            assert not early, f"a session was lost before its time: {early}"
            if writer.begun:
                ephemeral = nodes.get(f"{writer.folder}/ephemeral")
                assert ephemeral, f"{writer.folder}/ephemeral is gone, but its session is not"
                assert ephemeral.stat.owner == writer.session.id, f"{writer.folder}/ephemeral is another session's"
        counter = nodes[COUNTER]
        self.history.check({COUNTER: (counter.stat.version, counter.data.decode())}, self._synced)

    @staticmethod
    def _check_nodes(writer, nodes, found):
        for path, data in writer.created.items():
            if path in writer.unknown:
                continue
            if path in writer.deleted:
                assert path not in nodes, f"acknowledged deletion of {path} is lost"
            else:
                assert path in nodes, f"acknowledged {path} is lost"
                assert nodes[path].data == data, f"acknowledged {path} has other data"
        strangers = found - writer.created.keys() - writer.unknown - {f"{writer.folder}/ephemeral"}
        assert not strangers, f"nobody wrote {sorted(strangers)[:5]}"

    def lost_sessions(self):
        """Sessions that were lost, all of them after their time."""
        return sum(len(writer.lost) for writer in self._writers)
