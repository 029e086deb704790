"""Bytes and clients that mean no good, each against a running server. A case returns what must stay open, or None."""

import random
import socket
import struct

from harness import wire

_HANDSHAKE = struct.pack(">iqiqi", 0, 0, 30_000, 0, 16) + bytes(17)
# ZooKeeper's default jute.maxbuffer.
_MAXBUFFER = 0xFFFFF


def _raw(server):
    return socket.create_connection(("127.0.0.1", server.port), timeout=10)


def _send(sock, data):
    """Sends what the server is willing to take."""
    try:
        sock.sendall(data)
    except OSError:
        pass


def _closed_by_server(sock):
    """Whether the server ends the connection."""
    try:
        while sock.recv(65536):
            pass
    except TimeoutError:
        return False
    except OSError:
        pass
    return True


def random_bytes(server):
    """Three hundred connections that talk nonsense from the first byte."""
    rng = random.Random(1)
    for _ in range(300):
        with _raw(server) as sock:
            _send(sock, rng.randbytes(rng.choice((1, 4, 5, 44, 49, 1000, 70_000))))


def random_requests(server):
    """Well-framed requests of a proper session with nonsense inside."""
    rng = random.Random(2)
    opcodes = [*range(-12, 25), 100, 101, 102, 103, 104, 105, 106, 107, 2**31 - 1, -2**31]
    for _ in range(300):
        with wire.Client(server.port).connect(timeout_ms=4000) as client:
            for _ in range(20):
                body = rng.choice((b"", b"\xff" * 4, struct.pack(">i", 2**31 - 1), wire.string("/"),
                                   wire.string("no slash"), wire.buffer(b"/\xff\xfe"), rng.randbytes(rng.randrange(200)),
                                   wire.string("/x") + wire.buffer(b"") + struct.pack(">i", 2**31 - 1)))
                try:
                    client.send(rng.choice(opcodes), body)
                except OSError:
                    break


def length(value, after_handshake):
    """One frame length that cannot be."""
    def case(server):
        with _raw(server) as sock:
            if after_handshake:
                _send(sock, struct.pack(">i", len(_HANDSHAKE)) + _HANDSHAKE)
                assert len(sock.recv(4096)) > 4, "no answer to the handshake"
            _send(sock, struct.pack(">i", value) + b"xxxx")
            assert _closed_by_server(sock), f"a frame of length {value} was not refused"
    return case


def oversized_frame(server):
    """A whole, valid request that is larger than jute.maxbuffer."""
    with wire.Client(server.port).connect(timeout_ms=4000) as client:
        try:
            client.call(*wire.create_request("/too-large", bytes(_MAXBUFFER * 2)))
        except (OSError, ConnectionError):
            pass
    with wire.Client(server.port).connect(timeout_ms=4000) as client:
        assert client.exists("/too-large") is None, "a node over the limit was created"


def half_frames(server):
    """Five hundred connections that announce a large frame, send a little of it, and wait."""
    held = []
    for number in range(500):
        sock = _raw(server)
        if number % 2:
            _send(sock, struct.pack(">i", len(_HANDSHAKE)) + _HANDSHAKE)
        _send(sock, struct.pack(">i", _MAXBUFFER - 1) + bytes(100))
        held.append(sock)
    return held


def silent_connections(server):
    """Five thousand connections that never say a word."""
    return [_raw(server) for _ in range(5000)]


def never_reads(server):
    """Ten sessions that ask for a gigabyte each and read none of it."""
    with wire.Client(server.port).connect(timeout_ms=4000) as client:
        if client.exists("/large") is None:
            client.create("/large", bytes(1_000_000))
    held = []
    for _ in range(10):
        client = wire.Client(server.port).connect(timeout_ms=60_000)
        client.sock.settimeout(0.5)
        try:
            for _ in range(1000):
                client.send(wire.GET, wire.string("/large") + b"\0")
        except OSError:
            # The server stopped reading, or closed the connection: both are fine.
            pass
        held.append(client.sock)
    return held


def all_cases():
    """(name, case) of everything above."""
    yield "random bytes", random_bytes
    yield "random requests in a session", random_requests
    for value in (-1, 0, 2**31 - 1, -2**31):
        yield f"length {value} first", length(value, False)
        yield f"length {value} in a session", length(value, True)
    yield "frame over jute.maxbuffer", oversized_frame
    yield "half frames held open", half_frames
    yield "5000 silent connections", silent_connections
    yield "clients that never read", never_reads
