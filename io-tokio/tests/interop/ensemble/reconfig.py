"""Members change while they serve: asked of any member, led by any kind, joined by any kind.

After each change everybody shows the same in `/zookeeper/config`, has the same on its disk for its next start, and does
what the configuration says it does; the writes go on meanwhile, and none is lost.
"""

import re
import signal

from harness import wire

from . import work
from .cluster import CONFIG, Ensemble, wait_for
from .load import Load

_DYNAMIC = {"reconfigEnabled": "true"}


def changes(leader, first, second, joiner):
    """A server joins, changes its role, others leave and come back, at last the leader leaves, too."""
    with Ensemble({1: first, 2: second, 3: leader}, config=_DYNAMIC) as ensemble:
        ensemble.start(leader=3)
        members = {number: ensemble.address(number) for number in ensemble.members}
        _same(ensemble, members)
        with Load(ensemble, writers=2) as load:
            _steps(ensemble, members, joiner)
            load.finish()
        _restart(ensemble, members)
        ensemble.no_complaints()


def _steps(ensemble, members, joiner):
    ensemble.add(4, joiner).launch()
    wait_for("server 4 follows", lambda: ensemble.mode(4))
    _join(ensemble, members, through=1, number=4, role="observer")
    _join(ensemble, members, through=4, number=4, role="participant")
    _leave(ensemble, members, through=3, number=2)
    assert ensemble.leader(among=[1, 3, 4]) == 3, "another one leads"
    members.update({number: ensemble.address_with_client(number) for number in (2, 3, 4)})
    _replace(ensemble, members | {1: ensemble.address_with_client(1, "observer")}, through=2)
    members[1] = ensemble.address_with_client(1, "observer")
    # The leader leaves: one of the others takes over.
    _leave(ensemble, members, through=4, number=3)
    assert ensemble.leader(among=[2, 4]) in (2, 4), "nobody took over"
    members.update({number: ensemble.address_with_client(number) for number in (1, 3)})
    _replace(ensemble, members, through=3)


def _join(ensemble, members, through, number, role):
    members[number] = ensemble.address_with_client(number, role)
    _change(ensemble, members, through, joining=f"server.{number}={members[number]}")


def _leave(ensemble, members, through, number):
    del members[number]
    _change(ensemble, members, through, leaving=f"{number}")


def _replace(ensemble, members, through):
    """All of them at once."""
    text = ",".join(f"server.{number}={address}" for number, address in members.items())
    _change(ensemble, members, through, new_members=text)


def _change(ensemble, members, through, **change):
    """Asks one member for a change, and waits until it is done everywhere."""
    before = ensemble.configuration(through)[1].mzxid
    watchers = {number: _watch(ensemble, number) for number in ensemble.members}
    print(f"     through {ensemble.name(through)}: {change}", flush=True)
    answer = wait_for("a quorum of the new members to be in time", lambda: _ask(ensemble, through, before, change))
    version = _same(ensemble, members)
    assert version > before, f"version {version:x} came after {before:x}"
    if answer is not True:
        text, stat = answer
        expected, expected_stat = ensemble.configuration(through)
        assert text.encode() == expected, f"answered was {text}, but it is {expected}"
        assert stat._replace(mtime=0) == expected_stat, f"answered was {stat}, but it is {expected_stat}"
    for number, watcher in watchers.items():
        _saw_one_change(ensemble, number, watcher)


def _ask(ensemble, through, before, change):
    """The answer; True if there was none, for the member left its leader over the change; None if it must be asked
    again."""
    with wire.Client(ensemble.port(through)).connect().auth("digest", "super:test") as client:
        try:
            answer = client.reconfig(version=before, **change)
            client.close_session()
            return answer
        except wire.ServerError as error:
            if error.code == wire.NEW_CONFIG_NO_QUORUM:
                return None
            # Asked before, without an answer.
            if error.code == wire.BAD_VERSION:
                return True
            raise
        except ConnectionError:
            return True


def _watch(ensemble, number):
    client = wire.Client(ensemble.port(number)).connect()
    client.get(CONFIG, watch=True)
    return client


def _saw_one_change(ensemble, number, watcher):
    """Who keeps its connection is told of the change, once. A member that changes its role or leader closes it."""
    try:
        watcher.ping()
        assert watcher.events == [(3, CONFIG)], f"{ensemble.name(number)}: watches saw {watcher.events}"
        watcher.close_session()
    except OSError:
        watcher.sock.close()


def _same(ensemble, members):
    """Everybody has these members in force, in the znode and on the disk. Returns the version."""
    def shown():
        found = {number: ensemble.configuration(number) for number in ensemble.members}
        texts = {text for text, _ in found.values()}
        return found if len(texts) == 1 and _parse(next(iter(texts)))[0] == members else None
    found = wait_for(f"all show {members}", shown)
    text, stat = next(iter(found.values()))
    _, version = _parse(text)
    for number, (_, other) in found.items():
        assert other == stat, f"{ensemble.name(number)} shows {other}, not {stat}"
    assert (stat.mzxid, stat.version) == (version, -1), f"version {version:x} has {stat}"
    for number, address in members.items():
        if number not in ensemble.members:
            continue
        role = "observer" if ":observer" in address else None
        wait_for(f"{ensemble.name(number)} is {role or 'leader or follower'}",
                 lambda: ensemble.mode(number) in ((role,) if role else ("leader", "follower")))
    for number in ensemble.members:
        wait_for(f"{ensemble.name(number)} has it on its disk", lambda: _on_disk(ensemble, number, text))
    return version


def _parse(text):
    """Addresses by number, and the version."""
    lines = dict(line.split("=", 1) for line in text.decode().splitlines())
    version = int(lines.pop("version"), 16)
    return {int(key.removeprefix("server.")): value for key, value in lines.items()}, version


def _on_disk(ensemble, number, text):
    """Whether the files are as ZooKeeper writes them."""
    member = ensemble.members[number]
    *lines, version = text.decode().splitlines()
    static = (member.folder / "zoo.cfg").read_text()
    named = re.findall(r"^dynamicConfigFile=(.*)$", static, re.MULTILINE)
    expected = member.folder / f"zoo.cfg.dynamic.{version.removeprefix('version=')}"
    if named != [str(expected)] or (member.folder / "zoo.cfg.dynamic.next").exists():
        return False
    listed = expected.read_text()
    assert listed == "\n".join(sorted(lines)), f"{ensemble.name(number)} has {listed!r} on its disk"
    assert not re.search("^(server|peerType)", static, re.MULTILINE), f"{ensemble.name(number)} has {static}"
    has_client = any(line.startswith(f"server.{number}=") and ";" in line for line in lines)
    if has_client:
        assert "clientPort" not in static, f"{ensemble.name(number)} has {static}"
    before = (member.folder / "zoo.cfg.bak").read_text()
    assert before == "".join(f"{key}={value}\n" for key, value in member.config.items()), before
    return True


def _restart(ensemble, members):
    """All start again with what they have on their disks."""
    for member in ensemble.members.values():
        member.stop()
    for member in ensemble.members.values():
        member.launch()
    ensemble.serving()
    _same(ensemble, members)
    ensemble.same_tree()


def grows(first, joiner):
    """One server alone is joined by two of another kind, one by one, and leaves it to them."""
    with Ensemble({1: first}, config={**_DYNAMIC, "standaloneEnabled": "false"}) as ensemble:
        ensemble.start(leader=1)
        members = {1: ensemble.address(1)}
        _same(ensemble, members)
        work.many(ensemble.port(1), "/alone", 50)
        for number in (2, 3):
            ensemble.add(number, joiner).launch()
            wait_for(f"server {number} follows", lambda: ensemble.mode(number))
            _join(ensemble, members, through=1, number=number, role="participant")
            work.many(ensemble.port(number), f"/with{number}", 50)
        _leave(ensemble, members, through=2, number=1)
        assert ensemble.leader(among=[2, 3]) in (2, 3), "nobody took over"
        nodes = ensemble.same_tree()
        assert all(f"/{folder}/49" in nodes for folder in ("alone", "with2", "with3")), "a write is lost"
        # Who is no member cannot start as one.
        ensemble.members.pop(1).destroy()
        _restart(ensemble, members)
        ensemble.no_complaints()


def refused(leader, first, second):
    """What cannot be done is answered the same way through every member."""
    with Ensemble({1: first, 2: second, 3: leader}, config=_DYNAMIC) as ensemble:
        ensemble.start(leader=3)
        text, stat = ensemble.configuration(1)
        ensemble.reserve([4, 5])
        away = ",".join(f"server.{number}={ensemble.address_with_client(number)}" for number in (4, 5))
        for number in (1, 2, 3):
            with wire.Client(ensemble.port(number)).connect() as client:
                for code, change in ((wire.NO_AUTH, {"leaving": "1"}),
                                     (wire.BAD_VERSION, {"leaving": "1", "version": stat.mzxid + 1}),
                                     (wire.BAD_ARGUMENTS, {"joining": "some thing"}),
                                     (wire.BAD_ARGUMENTS, {"joining": f"server.4={ensemble.address(4)}"}),
                                     (wire.BAD_ARGUMENTS, {"leaving": "1,2"}),
                                     (wire.BAD_ARGUMENTS, {"new_members": f"server.3={ensemble.address_with_client(3)}"}),
                                     (wire.NEW_CONFIG_NO_QUORUM, {"joining": away, "leaving": "1,2"})):
                    _refuses(ensemble, number, client, code, change)
                client.close_session()
            assert ensemble.configuration(number) == (text, stat), f"{ensemble.name(number)}: something has changed"
        ensemble.no_complaints()


def disabled(leader, first, second):
    """Where members do not change, everybody says so."""
    with Ensemble({1: first, 2: second, 3: leader}) as ensemble:
        ensemble.start(leader=3)
        for number in (1, 2, 3):
            with wire.Client(ensemble.port(number)).connect().auth("digest", "super:test") as client:
                _refuses(ensemble, number, client, wire.RECONFIG_DISABLED, {"leaving": "1"})
                client.close_session()


def _refuses(ensemble, number, client, code, change):
    try:
        client.reconfig(**change)
    except wire.ServerError as error:
        assert error.code == code, f"{ensemble.name(number)} answers {change} with {error.code}, not {code}"
        return
    raise AssertionError(f"{ensemble.name(number)} does {change}, where {code} was due")


def seen(leader, learner):
    """A change that was proposed and is not in force is on the disks of all that saw it, and comes into force later."""
    with Ensemble({1: learner, 2: learner, 3: leader}, config=_DYNAMIC) as ensemble:
        ensemble.start(leader=3)
        ensemble.reserve([4])
        members = {number: ensemble.address(number) for number in (1, 2, 3)}
        before = _same(ensemble, members)
        members[4] = ensemble.address_with_client(4, "observer")
        with wire.Client(ensemble.port(3)).connect().auth("digest", "super:test") as client:
            for number in (1, 2):
                ensemble.members[number].signal(signal.SIGSTOP)
            joining = wire.string(f"server.4={members[4]}") + wire.string(None) + wire.string(None)
            client.send(wire.RECONFIG, joining + before.to_bytes(8, "big"))
            wait_for(f"{ensemble.name(3)} keeps what it saw", lambda: _next(ensemble, 3) == members)
            for number in (1, 2):
                ensemble.members[number].signal(signal.SIGCONT)
        _same(ensemble, members)
        ensemble.no_complaints()


def _next(ensemble, number):
    """The members in the file of what was seen."""
    path = ensemble.members[number].folder / "zoo.cfg.dynamic.next"
    return _parse(path.read_bytes())[0] if path.exists() else None
