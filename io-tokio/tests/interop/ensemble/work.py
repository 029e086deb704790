"""What clients do through one member, and what everybody must see of it afterwards."""

import struct

from disk import rich_tree
from harness import wire

_HOUR_MS = 3_600_000


def write(port, folder):
    """One of every kind of write, below a folder of its own. Returns the session left open, with an ephemeral."""
    client = wire.Client(port).connect(timeout_ms=60_000)
    client.create(folder, b"root of it")
    _nodes(client, folder)
    _sequence(client, folder)
    _multis(client, folder)
    _rights(client, port, folder)
    client.create(f"{folder}/ephemeral", b"mine", kind=wire.EPHEMERAL)
    client.create(f"{folder}/ephemeral-", b"mine", kind=wire.EPHEMERAL_SEQUENTIAL)
    client.call(wire.SYNC, wire.string(folder))
    return client


def _nodes(client, folder):
    client.create(f"{folder}/plain", b"data")
    client.create(f"{folder}/null", None)
    client.create(f"{folder}/grüße-日本", "värde-🦓".encode())
    client.create(f"{folder}/large", bytes(range(256)) * 2000)
    client.create(f"{folder}/container", b"", kind=wire.CONTAINER)
    client.create(f"{folder}/container/inside", b"x")
    client.create(f"{folder}/ttl", b"t", kind=wire.TTL, ttl_ms=_HOUR_MS)
    stat = client.set(f"{folder}/plain", b"changed", version=0)
    assert stat.version == 1, stat
    client.create(f"{folder}/deleted", b"")
    client.delete(f"{folder}/deleted")
    data, stat = client.get(f"{folder}/plain")
    assert data == b"changed" and stat.version == 1, "the session does not see its own writes"
    assert client.exists(f"{folder}/deleted") is None, "the session does not see its own writes"
    expect(wire.NODE_EXISTS, client.create, f"{folder}/plain", b"")
    expect(wire.NO_NODE, client.set, f"{folder}/nothing", b"")


def _sequence(client, folder):
    client.create(f"{folder}/queue", b"")
    for number in range(10):
        path = client.create(f"{folder}/queue/item-", b"", kind=wire.SEQUENTIAL)
        assert path == f"{folder}/queue/item-{number:010}", path


def _multis(client, folder):
    check = (wire.CHECK, wire.string(f"{folder}/plain") + struct.pack(">i", 1))
    client.multi([check, wire.create_request(f"{folder}/multi", b"m"), wire.set_request(f"{folder}/multi", b"n"),
                  wire.delete_request(f"{folder}/null")])
    refused = [wire.create_request(f"{folder}/never", b""), wire.delete_request(f"{folder}/nothing")]
    expect(wire.NO_NODE, client.multi, refused)
    assert client.exists(f"{folder}/never") is None, "half a multi was done"


def _rights(client, port, folder):
    with wire.Client(port).connect().auth("digest", "user:password") as user:
        user.create(f"{folder}/theirs", b"secret", acl=[(31, "auth", "")])
        user.create(f"{folder}/theirs/below", b"secret", acl=[(1, "auth", ""), (1, "ip", "127.0.0.0/8")])
        user.set(f"{folder}/theirs", b"changed secret")
        user.close_session()
    expect(wire.NO_AUTH, client.set, f"{folder}/theirs", b"")
    expect(wire.NO_AUTH, client.create, f"{folder}/theirs/mine", b"")
    client.create(f"{folder}/closed", b"")
    client.set_acl(f"{folder}/closed", [(1, "world", "anyone")], version=0)
    expect(wire.NO_AUTH, client.set, f"{folder}/closed", b"")


def many(port, folder, count, size=0):
    """So many creations, all in flight at once."""
    with wire.Client(port, timeout=60).connect() as client:
        client.create(folder, b"")
        for number in range(count):
            client.send(*wire.create_request(f"{folder}/{number}", b"." * size))
        for _ in range(count):
            reply = client.receive()
            assert reply.error == 0, reply
        client.close_session()


def everything(port):
    """The rich tree of the suite `disk`; returns what it says of it."""
    return rich_tree.write(port)


def expect(code, call, *arguments):
    """The call fails with this code."""
    try:
        call(*arguments)
    except wire.ServerError as error:
        assert error.code == code, f"error {error.code} where {code} was due"
        return
    raise AssertionError(f"no error where {code} was due")
