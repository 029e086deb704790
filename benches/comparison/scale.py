"""How much is measured, of single servers and of ensembles."""

from dataclasses import dataclass


@dataclass
class Scale:
    """Sizes and times of the measurements; each takes what concerns it."""

    rounds: int = 5
    seconds: float = 5.0
    warm: float = 2.0
    znodes: int = 1_000_000
    # Of a single server.
    creates: int = 200_000
    sessions: int = 10_000
    sessions_patience: float = 40.0
    watches: int = 1_000_000
    watchers: int = 900
    restarts: int = 3
    # Of an ensemble.
    tries: int = 20
    tries_silent: int = 5
    writes: int = 1_000_000

    @classmethod
    def ensembles(cls):
        """What is enough for ensembles: they take longer to settle, and there are many of them."""
        return cls(rounds=3, warm=3.0)

    @classmethod
    def quick(cls):
        """Everything much smaller."""
        return cls(
            rounds=2, seconds=1.0, warm=0.3, znodes=50_000, creates=20_000, sessions=1_000, sessions_patience=10.0,
            watches=50_000, watchers=90, restarts=1, tries=2, tries_silent=1, writes=20_000,
        )
