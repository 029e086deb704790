"""A small ZooKeeper client that hides nothing: it sends what it is told and gives replies as they come.

It exists because the suites need what client libraries keep to themselves: TTL and container nodes, several requests
in flight with the moment of each acknowledgement, re-attaching to a session by id and password, and broken frames.
"""

import collections
import itertools
import socket
import struct

Stat = collections.namedtuple("Stat", "czxid mzxid ctime mtime version cversion aversion owner length children pzxid")
Reply = collections.namedtuple("Reply", "xid zxid error body")
Session = collections.namedtuple("Session", "id password timeout_ms")

CREATE, DELETE, EXISTS, GET, SET, GET_ACL, SET_ACL, SYNC, PING = 1, 2, 3, 4, 5, 6, 7, 9, 11
CHILDREN, CHECK, MULTI, CREATE2, RECONFIG, CREATE_CONTAINER, CREATE_TTL = 12, 13, 14, 15, 16, 19, 21
AUTH, SET_WATCHES, EPHEMERALS, CHILDREN_NUMBER, CLOSE = 100, 101, 103, 104, -11

PERSISTENT, EPHEMERAL, SEQUENTIAL, EPHEMERAL_SEQUENTIAL, CONTAINER, TTL, TTL_SEQUENTIAL = range(7)

OPEN_ACL = ((31, "world", "anyone"),)
NO_NODE, NODE_EXISTS, SESSION_EXPIRED, NO_AUTH, BAD_VERSION, BAD_ARGUMENTS = -101, -110, -112, -102, -103, -8
NEW_CONFIG_NO_QUORUM, RECONFIG_IN_PROGRESS, RECONFIG_DISABLED = -13, -14, -123


class Refused(Exception):
    """The server did not accept the session."""


class ServerError(Exception):
    """A reply with an error code."""

    def __init__(self, code):
        super().__init__(f"error {code}")
        self.code = code


# Jute.

def string(value):
    """A jute string, None for null."""
    return buffer(None if value is None else value.encode())


def buffer(value):
    """A jute buffer, None for null."""
    return struct.pack(">i", -1) if value is None else struct.pack(">i", len(value)) + value


def acl_list(acl):
    """A jute vector of ACL entries (permissions, scheme, id)."""
    entries = [struct.pack(">i", perms) + string(scheme) + string(identity) for perms, scheme, identity in acl]
    return struct.pack(">i", len(entries)) + b"".join(entries)


class Reader:
    """Takes jute values off the front of some bytes."""

    def __init__(self, data):
        self.data = data
        self.at = 0

    def unpack(self, form):
        """Fixed-size values in `struct` notation."""
        values = struct.unpack_from(">" + form, self.data, self.at)
        self.at += struct.calcsize(">" + form)
        return values if len(values) > 1 else values[0]

    def buffer(self):
        """A buffer, None for null."""
        length = self.unpack("i")
        if length < 0:
            return None
        self.at += length
        return self.data[self.at - length:self.at]

    def string(self):
        """A string, None for null."""
        value = self.buffer()
        return None if value is None else value.decode()

    def strings(self):
        """A vector of strings."""
        return [self.string() for _ in range(max(0, self.unpack("i")))]

    def stat(self):
        """A stat of eleven fields."""
        return Stat(*self.unpack("qqqqiiiqiiq"))

    def acl(self):
        """A vector of ACL entries."""
        return [(self.unpack("i"), self.string(), self.string()) for _ in range(max(0, self.unpack("i")))]


# Requests, as (opcode, body).

def create_request(path, data, acl=OPEN_ACL, kind=PERSISTENT, ttl_ms=None):
    """The create request that fits the node kind."""
    body = string(path) + buffer(data) + acl_list(acl) + struct.pack(">i", kind)
    if kind == CONTAINER:
        return CREATE_CONTAINER, body
    if ttl_ms is not None:
        return CREATE_TTL, body + struct.pack(">q", ttl_ms)
    return CREATE2, body


def set_request(path, data, version=-1):
    """A setData request."""
    return SET, string(path) + buffer(data) + struct.pack(">i", version)


def set_acl_request(path, acl, version=-1):
    """A setACL request."""
    return SET_ACL, string(path) + acl_list(acl) + struct.pack(">i", version)


def delete_request(path, version=-1):
    """A delete request."""
    return DELETE, string(path) + struct.pack(">i", version)


def multi_request(requests):
    """A multi of the given requests.

    Creations go out as `create`, as clients send them: 3.8 accepts a `create2` in a multi and then cannot apply it.
    """
    requests = [(CREATE if code == CREATE2 else code, part) for code, part in requests]
    body = b"".join(struct.pack(">i?i", code, False, -1) + part for code, part in requests)
    return MULTI, body + struct.pack(">i?i", -1, True, -1)


class Client:
    """One connection; a session on it once `connect` was called. `port` is one of loopback, or (address, port)."""

    def __init__(self, port, timeout=20):
        address = port if isinstance(port, tuple) else ("127.0.0.1", port)
        self.sock = socket.create_connection(address, timeout=timeout)
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.session = None
        self.events = []
        self._xids = itertools.count(1)
        self._received = bytearray()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.sock.close()

    def connect(self, timeout_ms=600_000, session=None, last_zxid=0):
        """Opens a session, or attaches to an existing one."""
        identity, password = (session.id, session.password) if session else (0, bytes(16))
        self.send_frame(struct.pack(">iqiq", 0, last_zxid, timeout_ms, identity) + buffer(password) + b"\0")
        reader = Reader(self.receive_frame())
        _, granted_ms, identity = reader.unpack("iiq")
        if granted_ms <= 0:
            raise Refused("session expired or unknown")
        self.session = Session(identity, reader.buffer(), granted_ms)
        return self

    def send_frame(self, payload):
        """Sends bytes with their length in front."""
        self.sock.sendall(struct.pack(">i", len(payload)) + payload)

    def receive_frame(self):
        """The next whole frame."""
        while True:
            if len(self._received) >= 4:
                length = struct.unpack_from(">i", self._received)[0]
                if len(self._received) >= 4 + length:
                    frame = bytes(self._received[4:4 + length])
                    del self._received[:4 + length]
                    return frame
            chunk = self.sock.recv(1 << 16)
            if not chunk:
                raise ConnectionError("closed by the server")
            self._received += chunk

    def send(self, code, body=b"", xid=None):
        """Sends a request without waiting; returns its xid."""
        xid = next(self._xids) if xid is None else xid
        self.send_frame(struct.pack(">ii", xid, code) + body)
        return xid

    def receive(self):
        """The next reply; watch events on the way are put into `events`."""
        while True:
            reader = Reader(self.receive_frame())
            xid, zxid, error = reader.unpack("iqi")
            body = Reader(reader.data[reader.at:])
            if xid != -1:
                return Reply(xid, zxid, error, body)
            kind, _ = body.unpack("ii")
            self.events.append((kind, body.string()))

    def call(self, code, body=b"", xid=None):
        """Sends a request, waits for its reply, raises its error."""
        xid = self.send(code, body, xid)
        reply = self.receive()
        assert reply.xid == xid, f"reply to {reply.xid} where {xid} was due"
        if reply.error:
            raise ServerError(reply.error)
        return reply

    def auth(self, scheme, credential):
        """Adds an identity to the connection."""
        self.call(AUTH, struct.pack(">i", 0) + string(scheme) + buffer(credential.encode()), xid=-4)
        return self

    def create(self, path, data=b"", acl=OPEN_ACL, kind=PERSISTENT, ttl_ms=None):
        """Creates a node of any kind, returns its path."""
        return self.call(*create_request(path, data, acl, kind, ttl_ms)).body.string()

    def get(self, path, watch=False):
        """Data and stat."""
        body = self.call(GET, string(path) + struct.pack(">?", watch)).body
        return body.buffer(), body.stat()

    def exists(self, path):
        """Stat, or None."""
        try:
            return self.call(EXISTS, string(path) + b"\0").body.stat()
        except ServerError as error:
            if error.code == NO_NODE:
                return None
            raise

    def set(self, path, data, version=-1):
        """Replaces the data, returns the stat."""
        return self.call(*set_request(path, data, version)).body.stat()

    def delete(self, path, version=-1):
        """Deletes a node."""
        self.call(*delete_request(path, version))

    def children(self, path):
        """Names of the children, sorted."""
        return sorted(self.call(CHILDREN, string(path) + b"\0").body.strings())

    def acl(self, path):
        """The ACL."""
        return self.call(GET_ACL, string(path)).body.acl()

    def set_acl(self, path, acl, version=-1):
        """Replaces the ACL."""
        self.call(*set_acl_request(path, acl, version))

    def multi(self, requests):
        """Runs requests in one transaction; raises the error of the one that failed."""
        reader = self.call(*multi_request(requests)).body
        kind, done, _ = reader.unpack("i?i")
        while kind == -1 and not done:
            error = reader.unpack("i")
            if error:
                raise ServerError(error)
            kind, done, _ = reader.unpack("i?i")

    def reconfig(self, joining=None, leaving=None, new_members=None, version=-1):
        """Changes the members; returns the new configuration's text and stat."""
        fields = string(joining) + string(leaving) + string(new_members)
        body = self.call(RECONFIG, fields + struct.pack(">q", version)).body
        return body.buffer().decode(), body.stat()

    def ephemerals(self, prefix="/"):
        """Paths of this session's ephemeral nodes, sorted."""
        return sorted(self.call(EPHEMERALS, string(prefix)).body.strings())

    def ping(self):
        """A heartbeat and its answer."""
        self.call(PING, xid=-2)

    def close_session(self):
        """Ends the session and the connection."""
        self.call(CLOSE)
        self.sock.close()
