"""Where things are: this folder, the cache that install.sh fills, the binary under test."""

import os
import pathlib
import tempfile

INTEROP = pathlib.Path(__file__).resolve().parent.parent
REPOSITORY = INTEROP.parent.parent.parent
CACHE = pathlib.Path(os.environ.get("INTEROP_CACHE", REPOSITORY / "target" / "interop")).resolve()
KAZOO = CACHE / "kazoo-2.11.0"
DEBIAN_SCRIPTS = pathlib.Path("/usr/share/zookeeper/bin")


def zabra_binary():
    """The binary under test: ZABRA_BIN, else the release build of this repository."""
    given = os.environ.get("ZABRA_BIN")
    if given:
        return pathlib.Path(given).resolve()
    target = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", REPOSITORY / "target"))
    return target / "release" / "zabra"


def java_classpath(kind):
    """The class path of a Java server: Debian's 3.8 or the cached 3.9."""
    if kind == "java38":
        # The jar names its dependencies itself, all but a logger.
        return "/usr/share/java/zookeeper.jar:/usr/share/java/slf4j-simple.jar"
    assert kind == "java39", kind
    return f"{CACHE / 'java39'}/*"


def scratch(name):
    """A fresh folder for one test's files; INTEROP_SCRATCH chooses the parent."""
    parent = os.environ.get("INTEROP_SCRATCH")
    return pathlib.Path(tempfile.mkdtemp(prefix=f"interop-{name}-", dir=parent))
