#!/usr/bin/env python3
"""Runs kazoo's own test suite, from its source package, against one server of the kind under test or an ensemble.

KAZOO_SERVERS names the kinds of the servers 1, 2 and so on: `KAZOO_SERVERS=zabra,java39,java39`. The highest number
leads as a rule, for kazoo starts that one first. Arguments go to pytest: `kazoo/run.py -k test_lock -x`. KAZOO_WORKERS
sets the number of processes (default 6: nearly all of the time is spent in sleeps of the tests and of kazoo's harness).
"""

import os
import pathlib
import shutil
import subprocess
import sys
import xml.etree.ElementTree

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))

from harness import places, server  # noqa: E402
from harness.report import Report  # noqa: E402


def kinds():
    """The kinds of the servers, in the order of their numbers."""
    named = os.environ.get("KAZOO_SERVERS", server.kind_under_test()).split(",")
    unknown = set(named) - set(server.KINDS)
    assert not unknown, f"KAZOO_SERVERS: {', '.join(unknown)}: expected some of {', '.join(server.KINDS)}"
    return named


def environment():
    """What kazoo's harness reads, and what leads it to the servers under test."""
    env = dict(os.environ)
    servers = kinds()
    env.update(
        KAZOO_SERVERS=",".join(servers),
        INTEROP_JAVA_PATH=env["PATH"],
        PATH=f"{HERE / 'bin'}:{env['PATH']}",
        PYTHONPATH=f"{HERE}:{HERE.parent}:{places.KAZOO}",
        # Zabra speaks 3.9; the class path is only there because kazoo insists on one.
        ZOOKEEPER_VERSION="3.9.3",
        ZOOKEEPER_CLASSPATH="unused",
        ZOOKEEPER_CLUSTER_SIZE=str(len(servers)),
        INTEROP_CACHE=str(places.CACHE),
    )
    # kazoo's test of its own build settings runs only where this is set.
    env.pop("CI", None)
    return env


def pytest(env, results, *arguments):
    """Runs pytest; returns its test cases as name -> (outcome, message), outcome being passed, failed or skipped."""
    command = [str(places.CACHE / "venv" / "bin" / "pytest"), "-p", "interop_plugin", "-p", "no:cacheprovider", "-q",
               "--tb=short", "--timeout=180", "--durations=15", f"--junitxml={results}", "-o", "junit_logging=no",
               *arguments]
    subprocess.run(command, cwd=places.KAZOO, env=env, check=False)
    if not results.exists():
        return {"whole suite": ("failed", "pytest left no results")}
    outcomes = {}
    for case in xml.etree.ElementTree.parse(results).iter("testcase"):
        module, _, group = case.get("classname").removeprefix("kazoo.tests.").partition(".")
        name = "::".join(part for part in (f"kazoo/tests/{module}.py", group, case.get("name")) if part)
        outcomes[name] = ("passed", "")
        for tag, outcome in (("skipped", "skipped"), ("error", "failed"), ("failure", "failed")):
            element = case.find(tag)
            if element is not None:
                outcomes[name] = (outcome, (element.get("message") or "").partition("\n")[0])
    return outcomes


def main():
    """Runs the suite in parallel, then what failed once more alone, and turns the outcome into our report."""
    report = Report("kazoo")
    folder = places.scratch("kazoo")
    selected = sys.argv[1:]
    env = environment()
    if selected:
        env["KAZOO_SELECT"] = "1"
    workers = os.environ.get("KAZOO_WORKERS", "6")
    outcomes = pytest(env, folder / "all.xml", "-n", workers, "--dist", "loadscope", *selected, "kazoo/tests")
    failed = [name for name, (outcome, _) in outcomes.items() if outcome == "failed" and "::" in name]
    if 0 < len(failed) <= 20:
        # Several tests count on events within a second or so, which a busy machine does not always keep.
        print(f"kazoo: {len(failed)} failed; running them once more, one at a time", flush=True)
        env["KAZOO_SELECT"] = "1"
        outcomes.update(pytest(env, folder / "again.xml", "-n", "0", *failed))
    for name, (outcome, message) in sorted(outcomes.items()):
        if outcome == "failed":
            report.fail(name, message)
        elif outcome == "skipped":
            report.skip(name, message)
        else:
            report.passed += 1
    shutil.rmtree(folder)
    report.finish()


if __name__ == "__main__":
    main()
