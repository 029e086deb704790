"""A network of a test's own, in which each server has a host of its own and can be cut off from the others.

`enter` puts the whole program into a fresh network namespace, so that ports, addresses and bridges belong to it alone and
are gone when it ends. Every host is a namespace inside, joined to two bridges: one that clients use, this program among
them, and one on which servers talk to each other. A host that is cut off from its peers still has its clients.
"""

import os
import subprocess
import sys

from .report import Skip

_INSIDE = "INTEROP_OWN_NETWORK"
_CLIENTS, _PEERS = "clients", "peers"
_ADDRESSES = {_CLIENTS: "10.77.0", _PEERS: "10.77.1"}
_HERE = 254


def enter():
    """Starts the program again in a network of its own, where that is permitted; without, `Network` skips."""
    if _INSIDE in os.environ:
        _ip("link", "set", "lo", "up")
        return
    command = ["unshare", *([] if os.geteuid() == 0 else ["--user", "--map-root-user"]), "--net"]
    try:
        permitted = subprocess.run([*command, "ip", "link"], capture_output=True, check=False).returncode == 0
    except FileNotFoundError:
        permitted = False
    if permitted:
        os.environ[_INSIDE] = "1"
        os.execvp(command[0], [*command, sys.executable, *sys.orig_argv[1:]])


def _ip(*words, host=None):
    prefix = host.prefix if host else ()
    done = subprocess.run([*prefix, "ip", *map(str, words)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"ip {' '.join(map(str, words))}: {done.stderr.strip()}"


class Host:
    """A place for one server: commands behind `prefix` run there."""

    def __init__(self, number):
        self.number = number
        # Holds the namespace while no server runs.
        self._holder = subprocess.Popen(["unshare", "--net", "sh", "-c", "echo; exec cat"], stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE)
        # The line says that it is there.
        self._holder.stdout.readline()
        self.prefix = ("nsenter", f"--net=/proc/{self._holder.pid}/ns/net")
        _ip("link", "set", "lo", "up", host=self)
        for bridge, network in _ADDRESSES.items():
            _ip("link", "add", self._cable(bridge), "type", "veth", "peer", "name", bridge, "netns", self._holder.pid)
            _ip("link", "set", self._cable(bridge), "master", bridge, "up")
            _ip("address", "add", f"{network}.{number}/24", "dev", bridge, host=self)
            _ip("link", "set", bridge, "up", host=self)

    @property
    def client_address(self):
        """Where its clients connect."""
        return f"{_ADDRESSES[_CLIENTS]}.{self.number}"

    @property
    def peer_address(self):
        """Where other servers connect."""
        return f"{_ADDRESSES[_PEERS]}.{self.number}"

    def cut(self):
        """Nothing passes between this host and its peers any more; nobody is told, as when a switch fails."""
        _ip("link", "set", self._cable(_PEERS), "nomaster")

    def heal(self):
        """Its peers are back."""
        _ip("link", "set", self._cable(_PEERS), "master", _PEERS)

    def _cable(self, bridge):
        return f"{bridge}{self.number}"

    def remove(self):
        """Ends it; the namespace goes once the servers in it have ended too."""
        for bridge in _ADDRESSES:
            _ip("link", "del", self._cable(bridge))
        self._holder.kill()
        self._holder.communicate()


class Network:
    """Hosts by number."""

    def __init__(self, numbers):
        if _INSIDE not in os.environ:
            raise Skip("no network namespaces here")
        for bridge, network in _ADDRESSES.items():
            _ip("link", "add", bridge, "type", "bridge")
            _ip("link", "set", bridge, "up")
            if bridge == _CLIENTS:
                _ip("address", "add", f"{network}.{_HERE}/24", "dev", bridge)
        self.hosts = {number: Host(number) for number in numbers}

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for host in self.hosts.values():
            host.remove()
        for bridge in _ADDRESSES:
            _ip("link", "del", bridge)
