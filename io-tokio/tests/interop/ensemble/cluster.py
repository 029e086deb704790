"""An ensemble of servers of any kinds on loopback, each with files and ports that stay its own."""

import shutil
import time

from disk import dump
from harness import digests, places, wire
from harness.ports import free_ports
from harness.server import Server

TICK_MS = 500
INIT_LIMIT, SYNC_LIMIT = 40, 6
# How long anything may take on a machine that has much else to do.
PATIENCE_SECONDS = 180
# Every member writes this node by itself when it starts.
CONFIG = "/zookeeper/config"


def wait_for(what, condition, seconds=PATIENCE_SECONDS):
    """Returns the condition's first true value; an error of a connection counts as not yet."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            if found := condition():
                return found
        except (OSError, wire.Refused) as error:
            problem = f" (last: {error!r})"
        else:
            problem = ""
        if time.monotonic() > deadline:
            raise TimeoutError(f"{what}: not within {seconds} s{problem}")
        time.sleep(0.05)


class Ensemble:
    """Members by number. `kinds` maps numbers to kinds; numbers in `observers` do not vote; `hosts` are where they run,
    if not all on loopback."""

    def __init__(self, kinds, observers=(), config=(), hosts=None):
        self.folder = places.scratch("ensemble")
        self.observers = frozenset(observers)
        self._hosts = hosts or {}
        self._config = {"tickTime": TICK_MS, "initLimit": INIT_LIMIT, "syncLimit": SYNC_LIMIT, **dict(config)}
        self._ports = {}
        self.reserve(kinds)
        self.members = {number: self._member(number, kind) for number, kind in kinds.items()}

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for member in self.members.values():
            member.destroy()
        if not any(member.folder.exists() for member in self.members.values()):
            shutil.rmtree(self.folder, ignore_errors=True)

    def reserve(self, numbers):
        """Gives servers their ports, whether they are ever started or not."""
        ports = iter(free_ports(3 * len(numbers)))
        for number in numbers:
            self._ports[number] = next(ports), next(ports), next(ports)

    def address(self, number, role=None):
        """Where a member's peers find it, and its role: what comes behind `server.N=`."""
        quorum, election, _ = self._ports[number]
        role = role or ("observer" if number in self.observers else "participant")
        # All members serve observers on the same port, so then each has an address of its own.
        shared = "observerMasterPort" not in self._config
        own = "127.0.0.1" if shared else f"127.0.0.{number}"
        ip = self._hosts[number].peer_address if number in self._hosts else own
        return f"{ip}:{quorum}:{election}:{role}"

    def address_with_client(self, number, role=None):
        """The same, and where clients find it."""
        return f"{self.address(number, role)};127.0.0.1:{self._ports[number][2]}"

    def add(self, number, kind):
        """A server that is no member yet. It is started with the members there were, and itself."""
        self.reserve([number])
        self.members[number] = self._member(number, kind)
        return self.members[number]

    def _member(self, number, kind):
        config = {**self._config, **{f"server.{other}": self.address(other) for other in self._ports}}
        if number in self.observers:
            config["peerType"] = "observer"
        folder = self.folder / f"{number}"
        server = Server(kind, config=config, folder=folder, port=self._ports[number][2], host=self._hosts.get(number),
                        properties=["zookeeper.preAllocSize=64", "znode.container.checkIntervalMs=3600000"])
        server.data.mkdir(parents=True, exist_ok=True)
        (server.data / "myid").write_text(f"{number}\n")
        return server

    def start(self, leader):
        """Starts everybody. Without histories the highest number leads of those that can elect: so the leader is
        started with just as many lower ones as it takes, and the others find it there."""
        voters = [number for number in self.members if number not in self.observers]
        others = sorted(number for number in voters if number != leader)
        first = others[:len(voters) // 2]
        assert all(number < leader for number in first), "the leader-to-be has too low a number"
        self._start([leader, *first])
        self._start([number for number in self.members if number not in (leader, *first)])
        assert self.leader() == leader, f"{self.leader()} leads, not {leader}"
        return self

    def _start(self, numbers):
        for number in numbers:
            self.members[number].launch()
        for number in numbers:
            self.members[number].wait_until_serving()

    def replace(self, number, kind):
        """Another kind of server, not started yet, with the files, ports and number of the one there was."""
        self.members[number] = self._member(number, kind)
        return self.members[number]

    def mode(self, number):
        """What a member says it does: `leader`, `follower`, `observer`, or None while it serves nobody."""
        member = self.members[number]
        if not member.alive():
            return None
        try:
            text = member.four_letter("srvr", timeout=2)
        except OSError:
            return None
        return next((line.split()[1] for line in text.splitlines() if line.startswith("Mode:")), None)

    def leader(self, among=None):
        """The number of the one that leads, once one does."""
        numbers = list(among or self.members)
        return wait_for(f"a leader among {numbers}",
                        lambda: next((number for number in numbers if self.mode(number) == "leader"), None))

    def serving(self, numbers=None):
        """Waits until these members, or all, serve under one leader."""
        numbers = list(numbers or self.members)

        def one_leads():
            modes = [self.mode(number) for number in numbers]
            return None not in modes and modes.count("leader") == 1

        wait_for(f"{numbers} serve", one_leads)

    def port(self, number):
        """Where a member's clients connect: its port on loopback, or its address and port."""
        member = self.members[number]
        return (member.ip, member.port) if number in self._hosts else member.port

    def name(self, number):
        """A member, for messages."""
        return f"server {number} ({self.members[number].kind})"

    def dump(self, number):
        """All that a member's clients see, after a sync with the leader."""
        def synced():
            with wire.Client(self.port(number)).connect() as client:
                client.call(wire.SYNC, wire.string("/"))
                client.close_session()
            return True
        wait_for(f"a sync through {self.name(number)}", synced)
        nodes = wait_for(f"a dump of {self.name(number)}", lambda: dump.dump(self.port(number)))
        # Compared by `configuration`.
        del nodes[CONFIG]
        return nodes

    def configuration(self, number):
        """What a member shows in `/zookeeper/config`, but for the time, which is that of its own start."""
        with wire.Client(self.port(number)).connect() as client:
            data, stat = client.get(CONFIG)
            client.close_session()
        return data, stat._replace(mtime=0)

    def same_tree(self, numbers=None):
        """Everybody shows the same: paths, data, whole stats, ACLs. Returns it."""
        numbers = list(numbers or self.members)
        expected = self.dump(numbers[0])
        for number in numbers[1:]:
            difference = dump.difference(expected, self.dump(number))
            assert not difference, f"{self.name(number)} is not as {self.name(numbers[0])}: {difference}"
        return expected

    def no_complaints(self):
        """Nobody ever found a digest that was not its own."""
        for number, member in self.members.items():
            # Who wrote which snapshot of a member that was replaced is not known here; the disk suite looks at that.
            found = digests.mismatches(member, by_java=lambda _: True)
            assert not found, f"{self.name(number)} says: {found}"
