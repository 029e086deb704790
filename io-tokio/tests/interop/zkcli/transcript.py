"""Plays commands.txt against one server and writes down what the shells print."""

import collections
import pathlib
import shlex

from harness import server

from .normalise import Normaliser
from .shell import Shell, once

COMMANDS = pathlib.Path(__file__).with_name("commands.txt")

Step = collections.namedtuple("Step", "number line text")


def commands():
    """The lines of commands.txt with their numbers, split in (number, shell, command)."""
    steps = []
    for number, line in enumerate(COMMANDS.read_text().splitlines(), 1):
        if line.strip() and not line.startswith("#"):
            shell, _, command = line.partition("> ")
            steps.append((number, shell, command))
    return steps


def record(kind):
    """One Step per command: what was printed, with times and session ids replaced."""
    # Hard quotas are enforced only on request.
    with server.Server(kind, properties=["zookeeper.enforceQuota=true"]) as under_test:
        normalise = Normaliser(under_test.address)
        shells = {}
        steps = []
        try:
            for number, name, command in commands():
                steps.append(Step(number, f"{name}> {command}", normalise(_play(under_test, shells, name, command))))
            for name, shell in sorted(shells.items()):
                steps.append(Step(0, f"{name}> quit", normalise(shell.quit())))
        finally:
            for shell in shells.values():
                shell.destroy()
    return steps


def _play(under_test, shells, name, command):
    if name == "once":
        text = once(under_test.address, shlex.split(command))
    else:
        text = ""
        if name not in shells:
            shells[name] = Shell(under_test.address)
            text += shells[name].greeting
        text += shells[name].command(command)
    for other, shell in sorted(shells.items()):
        events = shell.settle()
        if events:
            text += f"events at {other}:\n{events}"
    return text
