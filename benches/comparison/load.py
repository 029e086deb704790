"""Runs zabra-load and reads its reports."""

import json
import subprocess


class Load:
    """The load generator at a path."""

    def __init__(self, binary):
        self.binary = binary

    def run(self, address, **arguments):
        """Runs to the end and returns the report, with `clean` telling whether the server kept its promises."""
        done = subprocess.run(self._command(address, arguments), stdin=subprocess.DEVNULL, capture_output=True, text=True)
        if not done.stdout:
            raise RuntimeError(f"zabra-load on {address}: {done.stderr.strip()}")
        report = json.loads(done.stdout.splitlines()[-1])
        report["clean"] = done.returncode == 0
        return report

    def hold(self, address, **arguments):
        """Starts a phase or a load that is held; for use in a `with` block, which gets the report of readiness."""
        return Held(self._command(address, arguments))

    def start(self, address, **arguments):
        """Starts a load that is not expected to end well; the caller ends the process."""
        return subprocess.Popen(
            self._command(address, arguments), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )

    def probe(self, address, patience, process):
        """Whether the server of `process` serves before patience ends."""
        probing = subprocess.Popen(
            self._command(address, {"phase": "probe", "patience": patience}), stdout=subprocess.PIPE, text=True
        )
        while True:
            try:
                out, _ = probing.communicate(timeout=0.5)
                return bool(out) and json.loads(out)["ready"]
            except subprocess.TimeoutExpired:
                if process.poll() is not None:
                    probing.kill()
                    probing.communicate()
                    return False

    def _command(self, address, arguments):
        command = [self.binary, "--hosts", address, "--json"]
        for name, value in arguments.items():
            option = "--" + name.replace("_", "-")
            command += [option] if value is True else [option, str(value)]
        return command


class Held:
    """A phase or a load that lasts until the block ends; after it, `report` is the last one."""

    def __init__(self, command):
        self.command = command
        self.process = None
        self.report = None

    def __enter__(self):
        self.process = subprocess.Popen(
            self.command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        line = self.process.stdout.readline()
        if not line:
            raise RuntimeError(f"zabra-load: {self.process.communicate()[1].strip()}")
        return json.loads(line)

    def __exit__(self, *_):
        try:
            out, _ = self.process.communicate("\n", timeout=60)
        except subprocess.TimeoutExpired:
            self.process.kill()
            out, _ = self.process.communicate()
        if out:
            self.report = json.loads(out.splitlines()[-1])
            self.report["clean"] = self.process.returncode == 0
