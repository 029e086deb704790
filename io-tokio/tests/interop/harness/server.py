"""A server process under test: Zabra, or Java ZooKeeper 3.8 or 3.9, started the same way.

The kind under test comes from the environment variable SERVER (zabra, java38, java39), so that every suite can be run
against Java to see whether the suite itself is right.
"""

import os
import pathlib
import resource
import shutil
import signal
import socket
import subprocess
import time

from . import places
from .ports import free_port

KINDS = ("zabra", "java38", "java39")
# Password "test", the one kazoo's suite uses.
SUPER_DIGEST = "super:D/InIHSb7yEEbrWz8b9l71RjZJU="
START_SECONDS = 180
STOP_SECONDS = 30


def kind_under_test():
    """The value of SERVER, `zabra` if unset."""
    kind = os.environ.get("SERVER", "zabra")
    assert kind in KINDS, f"SERVER={kind}: expected one of {', '.join(KINDS)}"
    return kind


def command_line(kind, zoo_cfg, properties=()):
    """The command that runs a server of this kind. `properties` are Java system properties as `name=value`."""
    defines = [f"-D{property}" for property in properties]
    if kind == "zabra":
        return [str(places.zabra_binary()), "server", *defines, str(zoo_cfg)]
    jvm = ["-Xmx768m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Xshare:auto", "-Djava.awt.headless=true",
           # Digest credentials and paths are decoded with the JVM's default character set otherwise.
           "-Dfile.encoding=UTF-8", "-Dzookeeper.jmx.log4j.disable=true", "-Dzookeeper.admin.enableServer=false",
           "-Dorg.slf4j.simpleLogger.showDateTime=true",
           f"-Dlog4j2.configurationFile={places.INTEROP / 'harness' / 'log4j2.properties'}"]
    return ["java", *jvm, *defines, "-cp", places.java_classpath(kind),
            "org.apache.zookeeper.server.quorum.QuorumPeerMain", str(zoo_cfg)]


class Server:
    """One server on a loopback port, or at a `host` of its own (see `network`), its files in one folder: zoo.cfg,
    server.log, and data/ unless given elsewhere.

    The zoo.cfg is written once: from then on it is the server's, which changes it when the members of its ensemble do.
    """

    def __init__(self, kind=None, *, config=(), properties=(), folder=None, data=None, port=None, host=None):
        self.kind = kind or kind_under_test()
        self.folder = pathlib.Path(folder or places.scratch(self.kind))
        self.data = pathlib.Path(data or self.folder / "data")
        self.port = port or free_port()
        self.ip = host.client_address if host else "127.0.0.1"
        self._prefix = host.prefix if host else ()
        self.config = {"tickTime": 2000, "dataDir": self.data, "clientPort": self.port,
                       "clientPortAddress": self.ip, "maxClientCnxns": 0, "maxSessionTimeout": 600_000,
                       "4lw.commands.whitelist": "*", **dict(config)}
        self.properties = [f"zookeeper.DigestAuthenticationProvider.superDigest={SUPER_DIGEST}",
                           "zookeeper.extendedTypesEnabled=true", *properties]
        self.process = None
        self._log = None

    def __enter__(self):
        return self.start()

    def __exit__(self, *_):
        self.destroy()

    @property
    def address(self):
        """Where clients connect."""
        return f"{self.ip}:{self.port}"

    @property
    def log_path(self):
        """Standard output and error of all runs."""
        return self.folder / "server.log"

    def log_text(self):
        """All the server has printed so far."""
        return self.log_path.read_text(errors="replace")

    def launch(self):
        """Starts the process without waiting until it serves."""
        assert self.process is None or self.process.poll() is not None, "already running"
        if self.kind == "zabra" and not places.zabra_binary().exists():
            raise FileNotFoundError(f"{places.zabra_binary()} is not built; set ZABRA_BIN or run cargo build --release")
        self.data.mkdir(parents=True, exist_ok=True)
        self.folder.mkdir(parents=True, exist_ok=True)
        zoo_cfg = self.folder / "zoo.cfg"
        if not zoo_cfg.exists():
            zoo_cfg.write_text("".join(f"{key}={value}\n" for key, value in self.config.items()))
        self._log = open(self.log_path, "ab")
        self.process = subprocess.Popen(
            [*self._prefix, *command_line(self.kind, zoo_cfg, self.properties)], cwd=self.folder, stdin=subprocess.DEVNULL,
            stdout=self._log, stderr=subprocess.STDOUT, start_new_session=True)
        self._log.close()
        return self

    def start(self):
        """Starts the process and waits until it serves clients."""
        self.launch()
        self.wait_until_serving()
        return self

    def wait_until_serving(self):
        """Returns when the four-letter word `srvr` reports a mode."""
        deadline = time.monotonic() + START_SECONDS
        while True:
            if self.process.poll() is not None:
                raise RuntimeError(f"{self.kind} left with {self.process.returncode}:\n{self._log_tail()}")
            try:
                if "Mode:" in self.four_letter("srvr"):
                    return
            except OSError:
                pass
            if time.monotonic() > deadline:
                raise TimeoutError(f"{self.kind} does not serve after {START_SECONDS} s:\n{self._log_tail()}")
            time.sleep(0.05)

    def four_letter(self, word, timeout=10):
        """The answer to a four-letter word."""
        with socket.create_connection((self.ip, self.port), timeout=timeout) as sock:
            sock.sendall(word.encode())
            answer = b""
            while chunk := sock.recv(65536):
                answer += chunk
        return answer.decode(errors="replace")

    def alive(self):
        """Whether the process runs."""
        return self.process is not None and self.process.poll() is None

    def resident_bytes(self):
        """The process's resident memory."""
        for line in pathlib.Path(f"/proc/{self.process.pid}/status").read_text().splitlines():
            if line.startswith("VmRSS:"):
                return int(line.split()[1]) * 1024
        raise RuntimeError("no VmRSS")

    def signal(self, number):
        """Sends a signal to the process."""
        self.process.send_signal(number)

    def stop(self):
        """Asks the process to end, as an operator does."""
        self._end(signal.SIGTERM)

    def kill(self):
        """Pulls the plug on the process."""
        self._end(signal.SIGKILL)

    def restart(self):
        """Stops in order and starts again on the same data."""
        self.stop()
        return self.start()

    def destroy(self):
        """Ends the process and removes its files, unless INTEROP_KEEP is set."""
        if self.alive():
            self.signal(signal.SIGCONT)
            self.kill()
        if not os.environ.get("INTEROP_KEEP"):
            shutil.rmtree(self.folder, ignore_errors=True)

    def _end(self, number):
        if self.process is None:
            return
        if self.process.poll() is None:
            self.process.send_signal(number)
        try:
            self.process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise TimeoutError(f"{self.kind} did not end within {STOP_SECONDS} s of signal {number}") from None

    def _log_tail(self):
        return "\n".join(self.log_text().splitlines()[-30:])


def raise_file_limit(wanted=16384):
    """Allows this process and the servers it starts that many open files, if the hard limit does."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    limit = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    if soft < limit:
        resource.setrlimit(resource.RLIMIT_NOFILE, (limit, hard))
    return max(soft, limit)
