#!/usr/bin/env python3
"""Builds and runs one program per client library against the server under test. Arguments select: c, node, rust.

The programs check their own results and end with the line "ok". Those that print "restart" get the server restarted
and an empty line back: they then show that their session, ephemerals and watches live on.
"""

import os
import pathlib
import subprocess
import sys
import threading

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))

from harness import places  # noqa: E402
from harness.report import Report  # noqa: E402
from harness.server import Server  # noqa: E402

_SECONDS = 120


def build_c():
    """The command of the C program."""
    program = places.CACHE / "c-client"
    subprocess.run(["gcc", "-Wall", "-O1", "-o", str(program), str(HERE / "c" / "client.c"), "-lzookeeper_mt",
                    "-pthread"], check=True)
    return [str(program)]


def build_node():
    """The command of the Node program."""
    return ["node", str(HERE / "node" / "client.js")]


def build_rust():
    """The command of the Rust program."""
    target = places.CACHE / "rust-client"
    # Not the workspace's cfgs: they mean nothing to this program.
    env = {**os.environ, "CARGO_TARGET_DIR": str(target), "RUSTFLAGS": ""}
    subprocess.run(["cargo", "build", "--quiet", "--locked", "--manifest-path", str(HERE / "rust" / "Cargo.toml")],
                   env=env, cwd=HERE / "rust", check=True)
    return [str(target / "debug" / "interop-rust-client")]


def run_client(build):
    """Runs one program against a server of its own."""
    command = build()
    with Server() as server:
        env = {**os.environ, "NODE_CLIENT_FOLDER": str(places.CACHE / "node")}
        process = subprocess.Popen([*command, server.address], env=env, text=True, stdin=subprocess.PIPE,
                                   stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        watchdog = threading.Timer(_SECONDS, process.kill)
        watchdog.start()
        lines = []
        try:
            for line in process.stdout:
                lines.append(line)
                if line == "restart\n":
                    server.restart()
                    process.stdin.write("\n")
                    process.stdin.flush()
            process.wait()
        finally:
            watchdog.cancel()
            process.kill()
            process.wait()
        said = "".join(lines)
        assert process.returncode == 0 and lines and lines[-1] == "ok\n", f"left with {process.returncode}:\n{said}"


def main():
    """Runs the selected programs."""
    report = Report("clients")
    for name, build in (("c", build_c), ("node", build_node), ("rust", build_rust)):
        if not sys.argv[1:] or name in sys.argv[1:]:
            report.run(name, run_client, build)
    report.finish()


if __name__ == "__main__":
    main()
