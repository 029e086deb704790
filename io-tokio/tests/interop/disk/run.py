#!/usr/bin/env python3
"""Data directories change hands between the server under test and Java ZooKeeper 3.8 and 3.9, in both directions.

Arguments select scenarios by part of their name.
"""

import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))

from disk import scenario  # noqa: E402
from harness import digest_cases, server  # noqa: E402
from harness.report import Report  # noqa: E402

JAVA = ("java38", "java39")


def scenarios(mine):
    """(name, function, arguments) of every scenario."""
    yield "digests: what is wrong is found", digest_cases.tell_apart, ()
    for java in JAVA:
        yield f"{java} writes, {mine} reads", scenario.clean_stop, (java, [mine])
    for compression in ("gz", "snappy"):
        name = f"java39 writes {compression} snapshots, {mine} reads"
        yield name, scenario.clean_stop, ("java39", [mine], compression)
        name = f"{mine} writes {compression} snapshots, java38 and java39 read"
        yield name, scenario.clean_stop, (mine, JAVA, compression)
    yield f"{mine} writes, java38 and java39 read", scenario.clean_stop, (mine, JAVA)
    yield f"java39 is killed, {mine} reads", scenario.killed, ("java39", [mine])
    yield f"{mine} is killed, java38 and java39 read", scenario.killed, (mine, JAVA)
    for java in JAVA:
        yield f"{java} and {mine} take turns", scenario.ping_pong, (java, mine)
        yield f"{java} still writes, {mine} refuses", scenario.still_written, (java, mine)


def main():
    """Runs the selected scenarios."""
    report = Report("disk")
    for name, function, arguments in scenarios(server.kind_under_test()):
        if all(word in name for word in sys.argv[1:]):
            report.run(name, function, *arguments)
    report.finish()


if __name__ == "__main__":
    main()
