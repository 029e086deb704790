"""Ensembles of one kind of server, each member with its own folder, ports and, if asked for, host.

What is shared with the interop suites is theirs: the ports they take, the client that hides nothing, the network in which
a host can be cut off.
"""

import os
import shutil
import sys
import time

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.append(os.path.join(ROOT, "io-tokio", "tests", "interop"))

from harness import wire  # noqa: E402
from harness.ports import free_ports  # noqa: E402

PATIENCE_S = 300


class Ensemble:
    """Members by number, all of one kind; `make(folder)` makes a server that is not started yet."""

    def __init__(self, name, folder, make, size, settings=(), hosts=None):
        self.name = name
        self.folder = os.path.join(folder, f"{name}{size}")
        self.settings = dict(settings)
        self.members = {}
        self.hosts = hosts
        ports = iter(free_ports(3 * size))
        for number in range(1, size + 1):
            member = make(os.path.join(self.folder, str(number)))
            ip = "127.0.0.1"
            if hosts:
                member.ip, member.prefix = hosts[number].client_address, hosts[number].prefix
                ip = hosts[number].peer_address
            member.port = next(ports)
            self.settings[f"server.{number}"] = f"{ip}:{next(ports)}:{next(ports)}"
            self.members[number] = member

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for member in self.members.values():
            member.kill()
        shutil.rmtree(self.folder, ignore_errors=True)

    def start(self):
        """Starts all members and waits until each serves."""
        for number in self.members:
            self.launch(number)
        self.wait()
        return self

    def launch(self, number):
        """Starts a member."""
        member = self.members[number]
        data = os.path.join(member.folder, "data")
        os.makedirs(data, exist_ok=True)
        with open(os.path.join(data, "myid"), "w") as file:
            file.write(f"{number}\n")
        member.launch(**self.settings)

    def wait(self):
        """Returns when every member serves."""
        for member in self.members.values():
            member.wait()

    def address(self, numbers=None):
        """Where clients of these members, or of all, connect."""
        return ",".join(self.members[number].address for number in numbers or self.members)

    def endpoint(self, number):
        """Where the interop suites' client connects."""
        member = self.members[number]
        return member.ip, member.port

    def leader(self):
        """The number of the member that leads, once one does."""
        deadline = time.monotonic() + PATIENCE_S
        while True:
            for number in self.members:
                if self._mode(number) == "leader":
                    return number
            if time.monotonic() > deadline:
                raise RuntimeError(f"{self.name}: nobody leads after {PATIENCE_S} s")
            time.sleep(0.1)

    def _mode(self, number):
        try:
            with wire.Client(self.endpoint(number), timeout=2) as client:
                client.sock.sendall(b"srvr")
                text = b""
                while chunk := client.sock.recv(65536):
                    text += chunk
        except OSError:
            return None
        lines = text.decode(errors="replace").splitlines()
        return next((line.split()[1] for line in lines if line.startswith("Mode:")), None)
