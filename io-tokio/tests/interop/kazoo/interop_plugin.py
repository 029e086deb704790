"""pytest plugin: gives each worker process its own ports, waits for its servers, and skips what kazoo/not_yet.txt names."""

import os
import pathlib
import socket
import time

import pytest

from harness import ports

_START_SECONDS = 180
NOT_YET = pathlib.Path(__file__).with_name("not_yet.txt")


def not_yet():
    """Test names (the node id without its file's folder) and the reason each is skipped."""
    reasons = {}
    for line in NOT_YET.read_text().splitlines():
        line = line.strip()
        if line and not line.startswith("#"):
            name, reason = line.split(None, 1)
            reasons[name] = reason
    return reasons


def pytest_configure():
    """Runs in every worker before kazoo's harness reads its environment."""
    servers = int(os.environ["ZOOKEEPER_CLUSTER_SIZE"])
    os.environ["ZOOKEEPER_PORT_OFFSET"] = str(ports.free_ports(10 * servers)[0])
    from kazoo.testing import common
    common.ZookeeperCluster.start = _start


def _start(cluster):
    """Takes the place of kazoo's own, which starts the servers, sleeps for two seconds, and takes it that all of them
    serve. In a mixed ensemble the quick ones do by then, and the tests go on, some of them with the slowest alone."""
    for server in reversed(list(cluster)):
        server.run()
    deadline = time.monotonic() + _START_SECONDS
    while not all(_serves(server.client_port) for server in cluster):
        if time.monotonic() > deadline:
            raise TimeoutError(f"not all servers serve after {_START_SECONDS} s")
        time.sleep(0.1)


def _serves(port):
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=10) as sock:
            sock.sendall(b"srvr")
            answer = b""
            while chunk := sock.recv(4096):
                answer += chunk
    except OSError:
        return False
    return b"Mode:" in answer


def pytest_collection_modifyitems(items):
    """Marks the listed tests; a listed name that no longer exists is an error, so the list cannot rot."""
    if os.environ.get("KAZOO_ALL"):
        return
    reasons = not_yet()
    if os.environ["ZOOKEEPER_CLUSTER_SIZE"] != "1":
        reasons = {name: reason for name, reason in reasons.items() if reason != "needs three servers"}
    found = set()
    for item in items:
        name = item.nodeid.rpartition("/")[2]
        for listed in (name, name.rpartition("::")[0]):
            if listed in reasons:
                found.add(listed)
                item.add_marker(pytest.mark.skip(reason=reasons[listed]))
    files = {item.nodeid.rpartition("/")[2].partition("::")[0] for item in items}
    stale = [name for name in reasons if name not in found and name.partition("::")[0] in files]
    if stale and not os.environ.get("KAZOO_SELECT"):
        raise pytest.UsageError(f"not_yet.txt names tests that do not exist: {', '.join(sorted(stale))}")
