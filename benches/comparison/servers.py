"""The servers that are compared: how each is started, asked whether it serves, stopped, and how much memory it holds.

Each has its own folder and its own free port on loopback. Java ZooKeeper and Zabra read the same zoo.cfg.
"""

import glob
import os
import re
import resource
import shutil
import signal
import socket
import subprocess
import sys
import time

DEBIAN_CLASSPATH = "/usr/share/java/zookeeper.jar"
# Opening a session and reading: what "serves" means.
READY_TIMEOUT_S = 120


class Unavailable(Exception):
    """A server that cannot be started here, and why."""


def demand(binary):
    """Ends the program with what to do, unless `binary` can be run."""
    if not os.access(binary, os.X_OK):
        sys.exit(f"no {binary}: cargo build --release")


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def megabytes(heap):
    """What a size of a Java heap means."""
    return int(heap[:-1]) * {"m": 1, "g": 1024}[heap[-1].lower()]


class Server:
    """One server process; `start` and `stop` may be called any number of times."""

    name = None
    # Where clients connect, and the command that brings a process to that place.
    ip = "127.0.0.1"
    prefix = ()

    def __init__(self, folder, load):
        self.folder = os.path.join(folder, self.name)
        self.load = load
        self.port = free_port()
        self.process = None
        self.started = None
        self.log = None

    @property
    def address(self):
        return f"{self.ip}:{self.port}"

    def command(self, settings):
        raise NotImplementedError

    def start(self, fresh=False, **settings):
        """Starts the process and returns the seconds until it served a client."""
        self.launch(fresh, **settings)
        return self.wait()

    def launch(self, fresh=False, **settings):
        """Starts the process."""
        assert self.process is None
        if fresh:
            shutil.rmtree(self.folder, ignore_errors=True)
        os.makedirs(self.folder, exist_ok=True)
        command = self.command(settings)
        self.log = open(os.path.join(self.folder, "output"), "ab")
        self.started = time.monotonic()
        self.process = subprocess.Popen(
            [*self.prefix, *command], cwd=self.folder, stdin=subprocess.DEVNULL, stdout=self.log, stderr=self.log
        )

    def wait(self):
        """Returns the seconds from the start of the process until it served a client."""
        ready = self.load.probe(self.address, READY_TIMEOUT_S, self.process)
        took = time.monotonic() - self.started
        if not ready:
            self.kill()
            raise Unavailable(f"{self.name} did not serve; its last words: {self.last_words()}")
        return took

    def stop(self):
        """Ends the process in order, or by force after a while."""
        self._end(signal.SIGTERM)

    def kill(self):
        """Ends the process as a crash would."""
        self._end(signal.SIGKILL)

    def _end(self, number):
        if self.process is None:
            return
        if self.process.poll() is None:
            self.process.send_signal(number)
            try:
                self.process.wait(30)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        self.process = None
        self.log.close()

    def last_words(self):
        with open(os.path.join(self.folder, "output"), errors="replace") as output:
            return output.read()[-500:].strip() or "none"

    def remove(self):
        shutil.rmtree(self.folder, ignore_errors=True)

    def memory(self):
        """Bytes resident in memory."""
        with open(f"/proc/{self.process.pid}/status") as status:
            return int(re.search(r"VmRSS:\s+(\d+)", status.read())[1]) * 1024

    def needed(self):
        """Bytes that cannot be given back: for a collected heap what is left after a full collection, else all."""
        return self.memory()

    def snapshots(self):
        """Names of the snapshot files."""
        return set(glob.glob(os.path.join(self.folder, "data", "version-2", "snapshot.*")))

    def write_zoo_cfg(self, settings):
        """The same settings for every server of ZooKeeper's configuration; everything else is at its default."""
        path = os.path.join(self.folder, "zoo.cfg")
        lines = {
            "tickTime": 2000,
            "dataDir": os.path.join(self.folder, "data"),
            "clientPort": self.port,
            "clientPortAddress": self.ip,
            "maxClientCnxns": 0,
            "admin.enableServer": "false",
            **settings,
        }
        with open(path, "w") as file:
            file.writelines(f"{key}={value}\n" for key, value in lines.items())
        return path


class Java(Server):
    """Apache ZooKeeper."""

    name = "java"

    def __init__(self, folder, load, classpath, heap):
        super().__init__(folder, load)
        if classpath is None:
            classpath = DEBIAN_CLASSPATH
        elif os.path.isdir(classpath):
            classpath = os.path.join(os.path.abspath(classpath), "*")
        if not any(glob.glob(part) for part in classpath.split(":")):
            raise Unavailable(f"no ZooKeeper at {classpath}: give its jars with --java-classpath")
        if shutil.which("java") is None:
            raise Unavailable("no java on the path")
        self.classpath = classpath
        self.heap = heap

    def command(self, settings):
        return [
            "java",
            f"-Xms{min(self.heap, '1g', key=megabytes)}",
            f"-Xmx{self.heap}",
            # Some sets of jars log every request otherwise, which would not be fair.
            "-Dzookeeper.jmx.log4j.disable=true",
            "-Dlog4j2.level=WARN",
            "-cp",
            self.classpath,
            "org.apache.zookeeper.server.quorum.QuorumPeerMain",
            self.write_zoo_cfg(settings),
        ]

    def needed(self):
        if shutil.which("jcmd") is None:
            return self.memory()
        pid = str(self.process.pid)
        subprocess.run(["jcmd", pid, "GC.run"], check=True, capture_output=True)
        info = subprocess.run(["jcmd", pid, "GC.heap_info"], check=True, capture_output=True, text=True).stdout
        return sum(int(used) * 1024 for used in re.findall(r"heap\s+total \d+K, used (\d+)K", info)) or self.memory()


class Zabra(Server):
    """Zabra."""

    name = "zabra"

    def __init__(self, folder, load, binary):
        super().__init__(folder, load)
        if not os.access(binary, os.X_OK):
            raise Unavailable(f"no {binary}: cargo build --release")
        self.binary = binary

    def command(self, settings):
        return [self.binary, "server", self.write_zoo_cfg(settings)]


class Null(Server):
    """The server without a tree."""

    name = "null"

    def __init__(self, folder, load, binary):
        super().__init__(folder, load)
        if not os.access(binary, os.X_OK):
            raise Unavailable(f"no {binary}: cargo build --release")
        self.binary = binary

    def command(self, settings):
        return [self.binary, "--address", self.address, "--log", os.path.join(self.folder, "log")]


def raise_open_files():
    """Servers inherit the limit; ten thousand sessions need that many sockets."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
