"""What clients asked and were told, with the moments of both, and whether one order of all writes explains it.

The rules are those an ensemble promises: every acknowledged write has a zxid of its own; a write that was acknowledged
before another was sent comes before it; nobody's reads go back, nor behind what the same client wrote; a read after a
sync shows all that was acknowledged before. All moments are of one clock, that of the process that runs the clients.
"""

import collections
import threading

Write = collections.namedtuple("Write", "sent acknowledged client path zxid version value")
Read = collections.namedtuple("Read", "sent client path zxid version value synced")


class Broken(AssertionError):
    """No order of the writes explains what the clients were told."""


class History:
    """Writes and reads of any number of clients. Every value written to a node must be unlike all others."""

    def __init__(self):
        self.writes = []
        self.reads = []
        # Values whose writes were sent and not acknowledged, by path: each may have happened, once.
        self.unknown = collections.defaultdict(set)
        self._lock = threading.Lock()

    def sent(self, path, value):
        """A write is about to be sent: until it is acknowledged it may have happened."""
        with self._lock:
            self.unknown[path].add(value)

    def wrote(self, write):
        """A write was acknowledged."""
        with self._lock:
            self.unknown[write.path].discard(write.value)
            self.writes.append(write)

    def refused(self, path, value):
        """A write was answered by an error: it never happened."""
        with self._lock:
            self.unknown[path].discard(value)

    def read(self, read):
        """A read was answered."""
        with self._lock:
            self.reads.append(read)

    def check(self, final=None, synced=True):
        """Raises Broken unless the history is in order. `final` is what is left, (version, value) by path; `synced`:
        reads behind a sync count, which ZooKeeper does not promise of a leader that was deposed and has not heard."""
        with self._lock:
            writes, reads = list(self.writes), list(self.reads)
            unknown = {path: set(values) for path, values in self.unknown.items()}
        _one_order(writes)
        by_path = collections.defaultdict(list)
        for write in writes:
            by_path[write.path].append(write)
        for path in by_path.keys() | {read.path for read in reads} | (final or {}).keys():
            of_path = [read for read in reads if read.path == path]
            left = [final[path]] if final and path in final else []
            _Register(path, by_path[path], unknown.get(path, set())).check(of_path, left, synced)


def _one_order(writes):
    """Zxids are unique, and follow real time."""
    seen = {}
    for write in writes:
        other = seen.setdefault(write.zxid, write)
        if other is not write:
            raise Broken(f"two writes with one zxid: {other} and {write}")
    finished = _Finished(writes, lambda write: write.zxid)
    for write in sorted(writes, key=lambda write: write.sent):
        newest = finished.before(write.sent)
        if newest and newest.zxid > write.zxid:
            raise Broken(f"{newest} was acknowledged before {write} was sent, and comes after it")


class _Finished:
    """The latest in some order of the writes that were acknowledged before a moment; moments are asked in order."""

    def __init__(self, writes, order):
        self._waiting = collections.deque(sorted(writes, key=lambda write: write.acknowledged))
        self._order = order
        self._latest = None

    def before(self, moment):
        while self._waiting and self._waiting[0].acknowledged < moment:
            write = self._waiting.popleft()
            if self._latest is None or self._order(write) > self._order(self._latest):
                self._latest = write
        return self._latest


class _Register:
    """One node that is set again and again, each time to another value."""

    def __init__(self, path, writes, unknown):
        self.path = path
        self.unknown = unknown
        self.writes = sorted(writes, key=lambda write: write.zxid)
        # The value of each version, as far as somebody was told.
        self.values = {}
        for write in self.writes:
            self._tell(write.version, write.value, write)
        for before, after in zip(self.writes, self.writes[1:]):
            if before.version >= after.version:
                raise Broken(f"{before} comes before {after}, but not by its version")

    def _tell(self, version, value, who):
        told = self.values.setdefault(version, value)
        if told != value:
            raise Broken(f"{self.path}: version {version} is {told!r} and {value!r}, by {who}")

    def check(self, reads, final, synced):
        """Compares what was read, and what is left, with what was written."""
        written = {write.value for write in self.writes} | self.unknown
        for version, value in [(read.version, read.value) for read in reads] + final:
            # Version 0 is the node's creation, which is nobody's write.
            if version > 0 and value not in written:
                raise Broken(f"{self.path}: version {version} is {value!r}, which nobody wrote")
            self._tell(version, value, "a read")
        versions = collections.Counter(value for version, value in self.values.items() if version > 0)
        twice = [value for value, count in versions.items() if count > 1]
        if twice:
            raise Broken(f"{self.path}: written once, there twice: {twice[:3]}")
        for version, _ in final:
            if self.writes and version < self.writes[-1].version:
                raise Broken(f"{self.path}: {self.writes[-1]} was acknowledged, but version {version} is what is left")
        self._clients(reads)
        if synced:
            self._synced([read for read in reads if read.synced])

    def _clients(self, reads):
        """What one client is told never goes back."""
        told = collections.defaultdict(list)
        for event in [*self.writes, *reads]:
            told[event.client].append(event)
        for events in told.values():
            events.sort(key=lambda event: event.sent)
            for before, after in zip(events, events[1:]):
                if after.version < before.version:
                    raise Broken(f"the client goes back: {before}, then {after}")

    def _synced(self, reads):
        finished = _Finished(self.writes, lambda write: write.version)
        for read in sorted(reads, key=lambda read: read.sent):
            newest = finished.before(read.sent)
            if newest and read.version < newest.version:
                raise Broken(f"{read} follows a sync and does not show {newest}")
