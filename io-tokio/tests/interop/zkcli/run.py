#!/usr/bin/env python3
"""Drives Debian's zkCli.sh through every command and compares what it prints with what it prints for Java's server.

The measure is Debian's Java server, 3.8; where 3.9 answers differently, the commands named in since_39.txt are
measured against 3.9. `run.py --record KIND` prints the transcript of one server instead.
"""

import concurrent.futures
import difflib
import pathlib
import sys

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))

from harness import server  # noqa: E402
from harness.report import Report  # noqa: E402
from zkcli import transcript  # noqa: E402


def since_39():
    """Commands, as written in commands.txt, whose answer changed between 3.8 and 3.9."""
    lines = HERE.joinpath("since_39.txt").read_text().splitlines()
    return {line for line in lines if line and not line.startswith("#")}


def compare(report, expected, found):
    """A test for each command."""
    for want, got in zip(expected, found, strict=True):
        if want.text == got.text:
            report.passed += 1
            continue
        report.fail(f"commands.txt:{want.number} {want.line}", "output differs")
        print("".join(f"    {line}\n" for line in difflib.unified_diff(
            want.text.splitlines(), got.text.splitlines(), "java", "found", lineterm="")), end="")


def main():
    """Records the servers side by side and compares."""
    if sys.argv[1:2] == ["--record"]:
        for step in transcript.record(sys.argv[2]):
            print(f"{step.line}\n{step.text}")
        return
    report = Report("zkcli")
    changed = since_39()
    kinds = ["java38", server.kind_under_test()] + (["java39"] if changed else [])
    with concurrent.futures.ThreadPoolExecutor() as pool:
        java38, found, *java39 = pool.map(transcript.record, kinds)
    expected = java38
    if changed:
        expected = [new if new.line in changed else old for old, new in zip(java38, java39[0], strict=True)]
    compare(report, expected, found)
    report.finish()


if __name__ == "__main__":
    main()
