#!/usr/bin/env python3
"""Mixed ensembles: servers under test and Java ZooKeeper 3.8 and 3.9 elect, replicate and fail together.

`run.py [--long] [--kills N] [--seed S] [word ...]`; words select scenarios by part of their name, `--long` adds those
that take minutes. The seed decides whom a kill hits and when, not what the machine makes of it.
"""

import argparse
import os
import pathlib
import random
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))

from ensemble import (  # noqa: E402
    catch_up, cut_off, faults, kills, metrics, mixes, observer_masters, reconfig, rolling,
)
from harness import history_cases, network  # noqa: E402
from harness.report import Report  # noqa: E402


MINE = "zabra"


def scenarios(options):
    """(name, whether it is among the quick ones, function, arguments) of every scenario."""
    yield "history: what is wrong is found", True, history_cases.tell_apart, ()
    for mix in mixes.VOTERS:
        yield f"mix: {mix[0]} leads {mix[1]} and {mix[2]}", mix in mixes.QUICK, mixes.voters, mix
    for mix in mixes.OBSERVED:
        yield f"mix: {mix[0]} leads {mix[1]}, {mix[2]} observes", mix in mixes.QUICK, mixes.observed, mix
    for mix in observer_masters.MIXES:
        quick = mix in observer_masters.QUICK
        name = f"{mix[0]} leads two {mix[1]}, {mix[2]} observes"
        yield f"observer master: {name} behind them", quick, observer_masters.served, mix
        yield f"observer master: {name}, theirs dies", quick, observer_masters.dies, (*mix, 3 if quick else 6)
    yield "configuration: the same everywhere", False, mixes.configuration, ()
    yield "metrics: as Java tells them", True, metrics.as_java, ()
    for java in ("java39", "java38"):
        quick = java == "java39"
        for leader, learner in ((MINE, java), (java, MINE)):
            yield f"away: {learner} comes back to {leader}", quick, catch_up.away, (leader, learner, MINE)
            yield f"log: {learner} comes back to {leader}", False, catch_up.by_log, (leader, learner, MINE)
            for writes_first in (False, True):
                name = f"cut: {leader} comes back to {learner}, {'a branch' if writes_first else 'too long'}"
                yield name, quick, catch_up.cut, (leader, learner, writes_first)
        for mix in ((MINE, MINE, java), (MINE, java, java), (java, MINE, MINE), (java, MINE, java)):
            name = f"faults: {mix[0]} leads {mix[1]} and {mix[2]}"
            yield name, mix == (MINE, MINE, "java39"), faults.faults, mix
        for mix in ((MINE, java, MINE, java), (java, MINE, java, MINE), (MINE, java, java, MINE), (java, MINE, MINE, java)):
            name = f"members: {mix[0]} leads {mix[1]} and {mix[2]}, {mix[3]} joins"
            yield name, quick and mix[1] != mix[2], reconfig.changes, mix
        for leader, learner in ((MINE, java), (java, MINE)):
            mix = (leader, learner, MINE)
            yield f"members: {leader} leads {learner}, what is refused", quick, reconfig.refused, mix
            yield f"members: {leader} leads {learner}, none change", False, reconfig.disabled, mix
            yield f"members: {leader} alone, {learner} joins", False, reconfig.grows, (leader, learner)
            yield f"members: {leader} leads {learner}, a change is seen", quick, reconfig.seen, (leader, learner)
        yield f"rolling: {java} to {MINE} and back", quick, rolling.replaced, (java, MINE, java)
        yield f"rolling: {java} restarted", False, rolling.replaced, (java, java)
    for mix in ((MINE, MINE, MINE), (MINE, "java39", MINE), ("java39", "java39", "java39")):
        quick = mix == (MINE, MINE, MINE)
        yield f"cut off: the leader of {', '.join(mix)}", quick, cut_off.cut_off, mix
    name = f"kills: {options.kills} of random members, seed {options.seed}"
    yield name, True, kills.killed, (options.kills, options.seed)


def main():
    """Runs the selected scenarios."""
    network.enter()
    parser = argparse.ArgumentParser()
    parser.add_argument("--long", action="store_true")
    parser.add_argument("--kills", type=int, default=int(os.environ.get("ENSEMBLE_KILLS", "15")))
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(1 << 32))
    parser.add_argument("words", nargs="*")
    options = parser.parse_args()
    report = Report("ensemble")
    for name, quick, function, arguments in scenarios(options):
        if (quick or options.long) and all(word in name for word in options.words):
            report.run(name, function, *arguments)
    report.finish()


if __name__ == "__main__":
    main()
