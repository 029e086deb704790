"""Everything a server's clients can see of its tree, and the tree digest that follows from it."""

import collections
import struct
import zlib

from harness import wire

# Nodes asked for at once.
_BATCH = 100

Node = collections.namedtuple("Node", "data stat acl")


def dump(port):
    """All nodes by path, read with super rights by a session that leaves no trace in the tree."""
    nodes = {}
    with wire.Client(port).connect().auth("digest", "super:test") as client:
        waiting = ["/"]
        while waiting:
            batch, waiting = waiting[:_BATCH], waiting[_BATCH:]
            for path in batch:
                client.send(wire.GET, wire.string(path) + b"\0")
                client.send(wire.GET_ACL, wire.string(path))
                client.send(wire.CHILDREN, wire.string(path) + b"\0")
            for path in batch:
                data, acl, children = (client.receive() for _ in range(3))
                assert not (data.error or acl.error or children.error), f"{path}: {data}, {acl}, {children}"
                nodes[path] = Node(data.body.buffer(), data.body.stat(), acl.body.acl())
                waiting += [f"{path.rstrip('/')}/{name}" for name in children.body.strings()]
        client.close_session()
    return nodes


def digest(nodes, owners):
    """The tree digest, version 2, computed from a dump.

    `owners` gives the stored ephemeral owner of container and TTL nodes, which clients see as 0; so an equal digest
    also says that these are of their kind.
    """
    total = 0
    for path, node in nodes.items():
        if path.startswith("/zookeeper/"):
            continue
        stat = node.stat
        # Stored is the number of creations below the node; clients see creations plus deletions.
        created = (stat.cversion + stat.children) // 2
        fields = struct.pack(">qqqqqiiiq", stat.czxid, stat.mzxid, stat.pzxid, stat.ctime, stat.mtime, stat.version,
                             created, stat.aversion, owners.get(path, stat.owner))
        total += zlib.crc32(("" if path == "/" else path).encode() + (node.data or b"") + fields)
    return total % (1 << 64)


def difference(expected, found):
    """The first few differences between two dumps, as text; empty if there are none."""
    lines = []
    for path in sorted(expected.keys() | found.keys()):
        if path not in found:
            lines.append(f"{path} is missing")
        elif path not in expected:
            lines.append(f"{path} should not be there")
        else:
            lines += [f"{path} {field}: {want!r:.200} became {got!r:.200}"
                      for field, want, got in zip(Node._fields, expected[path], found[path]) if want != got]
    return "; ".join(lines[:5]) + (f"; and {len(lines) - 5} more" if len(lines) > 5 else "")
