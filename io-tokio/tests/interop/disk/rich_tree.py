"""Writes a tree that has one of everything ZooKeeper can keep, with many changes on the way to it."""

import collections
import struct

from harness import wire

# `live`: a session left open, with its ephemerals. `owners`: what is stored as ephemeral owner where a client's
# stat shows 0. `gone`: paths that were deleted or whose session was closed.
Written = collections.namedtuple("Written", "live ephemerals owners gone")

_CONTAINER_OWNER = -(1 << 63)
_TTL_MARK = 0xFF << 56
_HOUR_MS = 3_600_000
_ROOT_ACL = [(31, "world", "anyone"), (1, "ip", "10.0.0.1")]


def write(port, acl_counts=lambda path, acl: None):
    """Writes the tree through three sessions, of which one stays. `acl_counts` returns once the server that orders
    writes has applied a new ACL, where that may be later than the client is answered."""
    admin = wire.Client(port).connect().auth("digest", "super:test")
    owners = _nodes(admin)
    _acls(admin, port)
    acl_counts("/", _ROOT_ACL)
    _quotas(admin)
    gone = _changes(admin) + _closed_session(port)
    live = wire.Client(port).connect()
    for path in ("/eph", "/plain/eph", "/plain/grüße-日本"):
        live.create(path, b"mine", kind=wire.EPHEMERAL)
    live.create("/plain/eph-", b"", kind=wire.EPHEMERAL_SEQUENTIAL)
    live.set("/eph", b"changed")
    ephemerals = live.ephemerals()
    admin.close_session()
    # Without closeSession: the session lives on without a connection.
    live.sock.close()
    return Written(live.session, ephemerals, owners, gone)


def _nodes(client):
    client.create("/plain", b"data")
    client.create("/null", None)
    client.create("/empty", b"")
    client.create("/bytes", bytes(range(256)) * 40)
    client.create("/grüße-日本", "värde-🦓".encode())
    client.create("/set-null", b"something")
    client.set("/set-null", None)
    client.set("/", b"root data")
    for _ in range(5):
        client.create("/plain/seq-", b"s", kind=wire.SEQUENTIAL)
    client.create("/deep", b"")
    path = "/deep"
    for level in range(40):
        path += f"/level{level}"
        client.create(path, str(level).encode())
    owners = {}
    client.create("/box", b"", kind=wire.CONTAINER)
    client.create("/box/inside", b"x")
    client.create("/box-empty", None, kind=wire.CONTAINER)
    owners["/box"] = owners["/box-empty"] = _CONTAINER_OWNER
    client.create("/ttl", b"t", kind=wire.TTL, ttl_ms=_HOUR_MS)
    sequential = client.create("/ttl-", None, kind=wire.TTL_SEQUENTIAL, ttl_ms=2 * _HOUR_MS)
    owners["/ttl"] = _signed(_TTL_MARK | _HOUR_MS)
    owners[sequential] = _signed(_TTL_MARK | 2 * _HOUR_MS)
    return owners


def _acls(client, port):
    with wire.Client(port).connect().auth("digest", "user:password") as user:
        user.create("/theirs", b"secret", acl=[(31, "auth", "")])
        user.create("/theirs/below", b"secret", acl=[(1, "auth", ""), (1, "ip", "127.0.0.0/8")])
        user.close_session()
    client.create("/acl", b"", acl=[(1, "world", "anyone")])
    client.create("/acl-set", b"")
    client.set_acl("/acl-set", [(31, "digest", "user:tpUq/4Pn5A64fVZyQ0gOJ8ZWqkY="), (1, "world", "anyone")])
    client.set_acl("/acl-set", [(15, "world", "anyone")], version=1)
    client.set_acl("/", _ROOT_ACL)


def _quotas(client):
    client.create("/quota", b"")
    client.create("/quota/before", b"12345")
    client.create("/zookeeper/quota/quota", b"")
    client.create("/zookeeper/quota/quota/zookeeper_limits", b"count=100,bytes=1000=;byteHardLimit=-1;countHardLimit=-1")
    client.create("/zookeeper/quota/quota/zookeeper_stats", b"count=2,bytes=5")
    client.create("/quota/after", b"123")
    client.set("/quota/after", b"1234567")
    client.create("/quota/brief", b"")
    client.delete("/quota/brief")


def _changes(client):
    """Enough transactions for several snapshots, many of them leaving nothing behind."""
    client.create("/busy", b"")
    for number in range(120):
        client.create(f"/busy/{number:03}", bytes(number))
        if number % 3 == 0:
            client.set(f"/busy/{number:03}", b"three")
        if number % 4 == 0:
            client.delete(f"/busy/{number:03}")
    client.multi([wire.create_request(f"/busy/multi{number}", b"m" * 50) for number in range(300)]
                 + [wire.set_request("/busy", b"multi"), wire.delete_request("/busy/multi7")])
    refused = [wire.create_request("/busy/never", b""), wire.delete_request("/busy/not-there")]
    _expect(wire.NO_NODE, client.multi, refused)
    check = struct.pack(">i", 1)
    client.multi([(wire.CHECK, wire.string("/busy") + check), wire.set_request("/busy", b"checked")])
    # A refused write is logged too, as an error transaction.
    _expect(wire.NODE_EXISTS, client.create, "/busy", b"")
    _expect(wire.NO_NODE, client.set, "/busy/not-there", b"")
    return ["/busy/never", "/busy/000", "/busy/multi7", "/quota/brief"]


def _closed_session(port):
    with wire.Client(port).connect() as closing:
        closing.create("/eph-closed", b"", kind=wire.EPHEMERAL)
        closing.create("/busy/eph-closed", b"", kind=wire.EPHEMERAL)
        closing.close_session()
    return ["/eph-closed", "/busy/eph-closed"]


def _expect(code, call, *arguments):
    try:
        call(*arguments)
    except wire.ServerError as error:
        assert error.code == code, f"error {error.code} where {code} was due"
        return
    raise AssertionError(f"no error where {code} was due")


def _signed(value):
    return value - (1 << 64) if value >= 1 << 63 else value
