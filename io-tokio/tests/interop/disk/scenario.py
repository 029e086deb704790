"""Write with one server, stop it in some way, read with others, compare with what the writer itself reads."""

import random
import shutil
import threading
import time

from harness import digests, wire
from harness.server import START_SECONDS, Server

from . import dump, rich_tree, txn_log

# Containers are left alone while tests run. Log files are many and get copied, so they grow in small steps (KB).
_PROPERTIES = ["znode.container.checkIntervalMs=3600000", "zookeeper.preAllocSize=64"]
# A few hundred writes give several snapshots; under load, snapshots still overlap with writes.
_FEW_WRITES, _MANY_WRITES = 60, 2000
_JAVA = ("java38", "java39")


def clean_stop(writer, readers, compression=""):
    """The writer is asked to end, then everybody reads."""
    with _writer(writer, compression=compression) as server:
        written = rich_tree.write(server.port)
        server.stop()
        _check_files(server, compression)
        if compression:
            _leave_newest_snapshot(server, compression)
        _compare(server, readers, written)


def killed(writer, readers):
    """The writer is killed while writes are in flight; also everything it acknowledged must be there."""
    with _writer(writer, _MANY_WRITES) as server:
        written = rich_tree.write(server.port)
        load = Load(server.port)
        time.sleep(random.uniform(0.1, 0.5))
        server.kill()
        load.join()
        _compare(server, readers, written, load.acknowledged)


def ping_pong(first, second):
    """Two servers take turns on one directory; each finds what both wrote."""
    with _writer(first) as server:
        written = rich_tree.write(server.port)
        server.stop()
        authors = Authors(server)
        for number, kind in enumerate((second, first, second)):
            turn = Server(kind, data=server.data, folder=server.folder / f"turn{number}", properties=_PROPERTIES)
            with turn:
                before = dump.dump(turn.port)
                with wire.Client(turn.port).connect() as client:
                    for count in range(100):
                        client.create(f"/turn{number}-{count}", b"x")
                    client.close_session()
                assert all(path in before for path in written.ephemerals), "the live session's ephemerals are gone"
                for earlier in range(number):
                    assert f"/turn{earlier}-99" in before, f"what turn {earlier} wrote is missing"
                turn.stop()
                _no_mismatch(turn, authors)
                authors.add(turn)
        _compare(server, [second], written, authors=authors)


def still_written(writer, reader):
    """A server that comes to the directory of one that writes to it, on whatever port, leaves it alone and says why."""
    with _writer(writer, _MANY_WRITES) as server:
        written = rich_tree.write(server.port)
        load = Load(server.port)
        other = Server(reader, data=server.data, folder=server.folder / "other", properties=_PROPERTIES).launch()
        assert other.process.wait(START_SECONDS) != 0, "it stopped by itself, as if all were well"
        said = other.log_text()
        assert f"process {server.process.pid}" in said and "stop it" in said, said
        server.kill()
        load.join()
        _compare(server, [writer, reader], written, load.acknowledged)


class Authors:
    """Which kind of server wrote each snapshot of a directory last."""

    def __init__(self, server):
        self._written = {}
        self.add(server)

    def add(self, server):
        """All that has changed is the server's."""
        for file in (server.data / "version-2").glob("snapshot.*"):
            when = file.stat().st_mtime_ns
            if file.name not in self._written or self._written[file.name][0] != when:
                self._written[file.name] = when, server.kind

    def of(self, name):
        """The kind that wrote it."""
        return self._written[name][1]


class Load:
    """Creates nodes, many requests in flight, until the connection breaks; knows which were acknowledged."""

    _WINDOW = 200

    def __init__(self, port):
        self.acknowledged = {}
        self._client = wire.Client(port).connect()
        self._client.create("/load", b"")
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def join(self):
        """Waits until the connection is gone."""
        self._thread.join(30)
        assert not self._thread.is_alive(), "the load did not notice the end of the server"

    def _run(self):
        pending = {}
        number = 0
        try:
            while True:
                while len(pending) < self._WINDOW:
                    path, data = f"/load/{number}", str(number).encode() * 20
                    pending[self._client.send(*wire.create_request(path, data))] = (path, data)
                    number += 1
                reply = self._client.receive()
                path, data = pending.pop(reply.xid)
                assert reply.error == 0, reply
                self.acknowledged[path] = data
        except OSError:
            pass


def _writer(kind, snap_count=_FEW_WRITES, compression=""):
    properties = [*_PROPERTIES, f"zookeeper.snapCount={snap_count}"]
    if compression:
        properties.append(f"zookeeper.snapshot.compression.method={compression}")
    return Server(kind, properties=properties)


def _check_files(server, compression):
    names = [file.name for file in (server.data / "version-2").iterdir()]
    suffix = f".{compression}" if compression else ""
    snapshots = [name for name in names if name.startswith("snapshot.") and name.endswith(suffix)]
    assert len(snapshots) >= 3, f"expected several snapshots ending in {suffix!r}, found {sorted(names)}"


def _leave_newest_snapshot(server, compression):
    """Removes the snapshots that a reader could begin with instead: it has to read this one, or it does not start."""
    snapshots = [file for file in (server.data / "version-2").iterdir() if file.name.startswith("snapshot.")]
    *others, newest = sorted(snapshots, key=lambda file: int(file.name.split(".")[1], 16))
    assert newest.name.endswith(compression), f"{newest.name} is not compressed"
    for file in others:
        file.unlink()


def _compare(server, readers, written, acknowledged=None, authors=None):
    authors = authors or Authors(server)
    on_disk = txn_log.last_digest(server.data)
    original = server.folder / "original"
    shutil.copytree(server.data, original)
    expected = _read(server.kind, original, server.folder / "own", written, on_disk, acknowledged, authors)
    for number, reader in enumerate(readers):
        found = _read(reader, original, server.folder / f"read{number}", written, on_disk, acknowledged, authors)
        difference = dump.difference(expected, found)
        assert not difference, f"{reader} reads what {server.kind} wrote differently: {difference}"


def _read(kind, original, folder, written, on_disk, acknowledged, authors):
    """Opens a copy of the directory with one kind of server, checks what it says about it, returns the dump."""
    shutil.copytree(original, folder / "data")
    with Server(kind, folder=folder, properties=_PROPERTIES) as reader:
        nodes = dump.dump(reader.port)
        computed = dump.digest(nodes, written.owners)
        assert on_disk is not None, "no digest in the log"
        assert computed == on_disk, f"{kind}: digest of the dump {computed:x}, on disk {on_disk:x}"
        for path in written.gone:
            assert path not in nodes, f"{kind}: {path} is back"
        for path, data in (acknowledged or {}).items():
            assert path in nodes, f"{kind}: acknowledged {path} is lost"
            assert nodes[path].data == data, f"{kind}: acknowledged {path} has other data"
        _check_session(reader, written, nodes)
        reader.stop()
        _no_mismatch(reader, authors)
        own_digest = txn_log.last_digest(reader.data)
        assert own_digest is not None, f"{kind} wrote no digest"
    return nodes


def _check_session(reader, written, nodes):
    """The session left open is re-attachable with its password only, has its ephemerals, and takes them along."""
    kind = reader.kind
    for path in written.ephemerals:
        assert nodes[path].stat.owner == written.live.id, f"{kind}: {path} has another owner"
    wrong = written.live._replace(password=b"x" * 16)
    try:
        wire.Client(reader.port).connect(session=wrong)
        raise AssertionError(f"{kind}: attached with a wrong password")
    except wire.Refused:
        pass
    client = wire.Client(reader.port).connect(session=written.live)
    assert client.session.id == written.live.id, f"{kind}: another session"
    assert client.session.timeout_ms == written.live.timeout_ms, f"{kind}: another timeout"
    assert client.ephemerals() == written.ephemerals, f"{kind}: ephemerals {client.ephemerals()}"
    client.close_session()
    with wire.Client(reader.port).connect() as other:
        left = [path for path in written.ephemerals if other.exists(path)]
        assert not left, f"{kind}: {left} outlive their session"


def _no_mismatch(server, authors):
    found = digests.mismatches(server, lambda snapshot: authors.of(snapshot) in _JAVA)
    assert not found, f"{server.kind} says: {found}"
