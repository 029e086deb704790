"""Every mix of three: writes through each member, the same tree at all of them, and sessions that move between them."""

import time

from disk import dump
from harness import wire

from . import work
from .cluster import Ensemble, wait_for

# Who leads comes first. The last list is for observers.
VOTERS = [(leader, first, second) for leader in ("zabra", "java39", "java38")
          for first, second in (("zabra", "zabra"), ("zabra", "java39"), ("zabra", "java38"),
                                ("java39", "java39"), ("java38", "java38"), ("java39", "java38"))
          if {"zabra"} < {leader, first, second}]
OBSERVED = [("java39", "java39", "zabra"), ("java38", "java38", "zabra"), ("zabra", "zabra", "java39"),
            ("zabra", "zabra", "java38"), ("zabra", "java39", "zabra"), ("java39", "zabra", "java39")]
# Between them every kind leads, follows and observes the others.
QUICK = [("zabra", "java39", "java38"), ("java39", "zabra", "zabra"), ("java38", "zabra", "java39"),
         ("java39", "java39", "zabra"), ("zabra", "zabra", "java39")]


def voters(leader, first, second):
    """Three that vote."""
    with Ensemble({1: first, 2: second, 3: leader}) as ensemble:
        ensemble.start(leader=3)
        check(ensemble)


def observed(leader, follower, observer):
    """Two that vote and one that watches."""
    with Ensemble({1: follower, 2: leader, 3: observer}, observers=[3]) as ensemble:
        ensemble.start(leader=2)
        assert ensemble.mode(3) == "observer", f"server 3 is {ensemble.mode(3)}"
        check(ensemble)


def configuration():
    """`/zookeeper/config` names the members, the same way everywhere."""
    with Ensemble({1: "java39", 2: "java38", 3: "zabra"}) as ensemble:
        ensemble.start(leader=3)
        expected, _ = java = ensemble.configuration(1)
        assert expected.startswith(b"server.1="), expected
        assert ensemble.configuration(2) == java, "both versions of ZooKeeper show the same"
        found = ensemble.configuration(3)
        assert found == java, f"{found} is not {java}"


def check(ensemble):
    """Everything that members of any kind are checked for."""
    clients = {number: work.write(ensemble, number, f"/through{number}") for number in ensemble.members}
    written = work.everything(ensemble, 1)
    nodes = ensemble.same_tree()
    for number, client in clients.items():
        path = f"/through{number}/ephemeral"
        assert nodes[path].stat.owner == client.session.id, f"{path} has another owner"
    for path in written.gone:
        assert path not in nodes, f"{path} is back"
    if ensemble.members[ensemble.leader()].kind == "zabra":
        for number in ensemble.members:
            work.acl_counts_at_once(ensemble, number, rounds=20)
    for number in ensemble.members:
        work.syncs_among_writes(ensemble, number, rounds=20)
    for number, client in clients.items():
        _session_moves(ensemble, number, client)
    _expires(ensemble)
    ensemble.same_tree()
    _after_restart(ensemble)
    ensemble.no_complaints()


def _session_moves(ensemble, home, client):
    """A session goes to every other member and back, its ephemerals stay, and go when it is closed."""
    session, folder = client.session, f"/through{home}"
    expected = client.ephemerals(folder)
    assert len(expected) == 2, expected
    for number in [*(other for other in ensemble.members if other != home), home]:
        client.sock.close()
        # Now, because Java closes the session's connection before it looks at the password.
        _refuses_wrong_password(ensemble, number, session)
        client = attach(ensemble, number, session)
        assert client.session == session, f"{ensemble.name(number)}: {client.session} is not {session}"
        assert client.ephemerals(folder) == expected, f"{ensemble.name(number)}: other ephemerals"
        client.create(f"{folder}/moved-to-{number}", b"", kind=wire.EPHEMERAL)
        expected = sorted([*expected, f"{folder}/moved-to-{number}"])
    client.close_session()
    for number in ensemble.members:
        with wire.Client(ensemble.port(number)).connect() as other:
            other.call(wire.SYNC, wire.string("/"))
            left = [path for path in expected if other.exists(path)]
            assert not left, f"{ensemble.name(number)}: {left} outlive their session"
            other.close_session()
        try:
            wire.Client(ensemble.port(number)).connect(session=session)
            raise AssertionError(f"{ensemble.name(number)}: a closed session goes on")
        except wire.Refused:
            pass


def attach(ensemble, number, session):
    """The session, through this member."""
    try:
        return wire.Client(ensemble.port(number)).connect(session=session, timeout_ms=session.timeout_ms)
    except wire.Refused as refused:
        raise AssertionError(f"{ensemble.name(number)} does not know the session: {refused}") from None


def _refuses_wrong_password(ensemble, number, session):
    wrong = session._replace(password=b"x" * 16)
    try:
        wire.Client(ensemble.port(number)).connect(session=wrong)
        raise AssertionError(f"{ensemble.name(number)}: attached with a wrong password")
    except wire.Refused:
        pass


def _expires(ensemble):
    """Sessions live while their clients ping some member, and expire everywhere when nobody does."""
    clients = {number: wire.Client(ensemble.port(number)).connect(timeout_ms=3000) for number in ensemble.members}
    watchers = {number: wire.Client(ensemble.port(number)).connect() for number in ensemble.members}
    for number, client in clients.items():
        client.create(f"/expires{number}", b"", kind=wire.EPHEMERAL)
    paths = [f"/expires{number}" for number in clients]
    for watcher in watchers.values():
        watcher.call(wire.SYNC, wire.string("/"))
        for path in paths:
            watcher.get(path, watch=True)
    begin = time.monotonic()
    while time.monotonic() - begin < 6:
        for client in clients.values():
            client.ping()
        time.sleep(0.5)
    sessions = [client.session for client in clients.values()]
    for number, watcher in watchers.items():
        assert all(watcher.exists(path) for path in paths), f"{ensemble.name(number)}: expired though it was alive"
    for client in clients.values():
        client.sock.close()
    for number, watcher in watchers.items():
        def gone(watcher=watcher):
            return not any(watcher.exists(path) for path in paths)
        wait_for(f"{paths} go at {ensemble.name(number)}", gone)
        deleted = sorted(path for kind, path in watcher.events if kind == 2)
        assert deleted == paths, f"{ensemble.name(number)}: watches saw {watcher.events}"
        watcher.close_session()
    for number in ensemble.members:
        for session in sessions:
            try:
                wire.Client(ensemble.port(number)).connect(session=session)
                raise AssertionError(f"{ensemble.name(number)}: an expired session goes on")
            except wire.Refused:
                pass


def _after_restart(ensemble):
    """All stop and start again: each has on its disk what it showed."""
    before = ensemble.same_tree()
    for member in ensemble.members.values():
        member.stop()
    for member in ensemble.members.values():
        member.launch()
    ensemble.serving()
    after = ensemble.same_tree()
    difference = dump.difference(before, after)
    assert not difference, f"after a restart of all: {difference}"
