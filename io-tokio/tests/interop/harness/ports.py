"""Free loopback ports, taken below the range that outgoing connections use."""

import random
import socket

_FIRST, _LAST = 15000, 31000


def free_ports(count):
    """`count` neighbouring ports nobody listens on."""
    draw = random.SystemRandom()
    for _ in range(1000):
        first = draw.randrange(_FIRST, _LAST - count)
        if all(_is_free(port) for port in range(first, first + count)):
            return list(range(first, first + count))
    raise RuntimeError("no free loopback ports")


def free_port():
    """One port nobody listens on."""
    return free_ports(1)[0]


def _is_free(port):
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True
