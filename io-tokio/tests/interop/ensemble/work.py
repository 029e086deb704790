"""What clients do through one member, and what everybody must see of it afterwards."""

import struct

from disk import rich_tree
from harness import wire

from .cluster import wait_for

_HOUR_MS = 3_600_000
_READ_ONLY = [(1, "world", "anyone")]


def write(ensemble, number, folder):
    """One of every kind of write, below a folder of its own, through this member. Returns the session left open, with
    an ephemeral."""
    client = wire.Client(ensemble.port(number)).connect()
    client.create(folder, b"root of it")
    _nodes(client, folder)
    _sequence(client, folder)
    _multis(client, folder)
    _rights(client, ensemble, number, folder)
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


def _rights(client, ensemble, number, folder):
    with wire.Client(ensemble.port(number)).connect().auth("digest", "user:password") as user:
        user.create(f"{folder}/theirs", b"secret", acl=[(31, "auth", "")])
        user.create(f"{folder}/theirs/below", b"secret", acl=[(1, "auth", ""), (1, "ip", "127.0.0.0/8")])
        user.set(f"{folder}/theirs", b"changed secret")
        user.close_session()
    expect(wire.NO_AUTH, client.set, f"{folder}/theirs", b"")
    expect(wire.NO_AUTH, client.create, f"{folder}/theirs/mine", b"")
    client.create(f"{folder}/closed", b"")
    client.set_acl(f"{folder}/closed", _READ_ONLY, version=0)
    _counts(ensemble, f"{folder}/closed", _READ_ONLY)
    expect(wire.NO_AUTH, client.set, f"{folder}/closed", b"")


def _counts(ensemble, path, acl):
    """Returns once the leader judges by this ACL.

    One of ZooKeeper goes by the old one until it has applied the change itself, and learners may be quicker to apply and
    to answer: its `PrepRequestProcessor` does not put the new ACL where it looks for what is not applied yet. Nor does it
    find a change of the root there when it computes the digest of what is created below, for which the root is "".
    """
    leader = ensemble.members[ensemble.leader()]
    if leader.kind == "zabra":
        return
    with wire.Client(leader.port).connect() as client:
        wait_for(f"{path} has its ACL at the leader", lambda: client.acl(path) == acl)
        client.close_session()


def acl_counts_at_once(ensemble, number, rounds):
    """Through this member, and led by Zabra: what comes right behind the change of an ACL is judged by that."""
    with wire.Client(ensemble.port(number)).connect() as client:
        for round_number in range(rounds):
            path = f"/closed-through{number}-{round_number}"
            for request in (wire.create_request(path, b""), wire.set_acl_request(path, _READ_ONLY),
                            wire.set_request(path, b"never")):
                client.send(*request)
            errors = [client.receive().error for _ in range(3)]
            assert errors == [0, 0, wire.NO_AUTH], f"{ensemble.name(number)}: {errors}"
        client.close_session()


def syncs_among_writes(ensemble, number, rounds):
    """Through this member: writes of one session and syncs of another, in flight together, are all answered. A server of
    ZooKeeper's waits for ever where its leader tells it of them in another order than it passed them on."""
    with wire.Client(ensemble.port(number)).connect() as writer, wire.Client(ensemble.port(number)).connect() as reader:
        folder = f"/synced-through{number}"
        writer.create(folder, b"")
        for round_number in range(rounds):
            for item in range(20):
                writer.send(*wire.create_request(f"{folder}/{round_number}-{item}", b""))
                reader.send(wire.SYNC, wire.string("/"))
            for client in (writer, reader):
                errors = [client.receive().error for _ in range(20)]
                assert errors == [0] * 20, f"{ensemble.name(number)}: {errors}"
        writer.close_session()
        reader.close_session()


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


def everything(ensemble, number):
    """The rich tree of the suite `disk`, through this member; returns what it says of it."""
    return rich_tree.write(ensemble.port(number), lambda path, acl: _counts(ensemble, path, acl))


def expect(code, call, *arguments):
    """The call fails with this code."""
    try:
        call(*arguments)
    except wire.ServerError as error:
        assert error.code == code, f"error {error.code} where {code} was due"
        return
    raise AssertionError(f"no error where {code} was due")
