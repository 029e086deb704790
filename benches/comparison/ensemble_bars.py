"""What an ensemble of Zabra servers promises beside one of ZooKeeper servers."""

# As in `bars`.
BARS = [
    ("leader killed: longest gap", None, "max", 100),
    # Both notice by the same limits of zoo.cfg that a leader is silent; some slack for who looks when.
    ("leader held: longest gap", "java", "max", 1.1),
    ("leader cut off: longest gap", "java", "max", 1.1),
    ("behind: back after", "java", "max", 0.2),
    ("behind: moves the leader's p99", None, "max", 2),
    ("empty: back after", "java", "max", 0.2),
    ("empty: moves the leader's p99", None, "max", 2),
]

SIZES = (3, 5, 7)
LOADS = ("read", "write")


def size_name(load, size):
    return f"{load} 64×16, {size} servers"


ROWS = (
    [f"leader {fault}: {what} gap" for fault in ("killed", "held", "cut off") for what in ("median", "longest")]
    + [f"{how}: {what}" for how in ("behind", "behind, by log", "empty") for what in (
        "back after", "p99 before", "p99 meanwhile", "moves the leader's p99")]
    + [size_name(load, size) for load in LOADS for size in SIZES]
    + [f"{load}: {size} servers over 3" for load in LOADS for size in SIZES[1:]]
)
