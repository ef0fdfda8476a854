"""How much is measured, and what the figures are computed from."""

from typing import Final

from msgspec import Struct

from .runs import Paced, Run


class Effort(Struct, frozen=True):
    """How much is measured. No round begins that would end after ``limit_s``."""

    rounds: int = 12
    limit_s: float = 420.0
    full_requests: int = 1_400
    short_requests: int = 240  # FIFO batches of all lengths answer some 50 a second
    cached_requests: int = 15_000
    paced_requests: int = 60
    paced_per_s: float = 50.0
    load_s: float = 1.5
    loads: tuple[float, ...] = (0.25, 0.6)  # shares of what one at a time answers at full load
    memory_requests: int = 40_000


QUICK: Final = Effort(
    rounds=2,
    full_requests=200,
    short_requests=64,
    cached_requests=2_000,
    paced_requests=20,
    load_s=0.5,
    memory_requests=0,
)


class AgainstEffort(Struct, frozen=True):
    """How much is measured of each of two checkouts."""

    rounds: int = 25
    limit_s: float = 420.0
    full_requests: int = 704
    cached_requests: int = 25_000
    paced_requests: int = 75
    paced_per_s: float = 50.0


QUICK_AGAINST: Final = AgainstEffort(rounds=2, full_requests=100, cached_requests=2_000, paced_requests=20)


class Round(Struct, frozen=True):
    """One round: the turns by system. Within each of the groups all have the same texts.

    ``resident_mb`` is the memory of the worker after the round.
    """

    full: dict[str, Run]
    short: dict[str, Run]
    cached: dict[str, Run]
    loaded: list[dict[str, Paced]]
    latency: dict[str, list[float]]
    resident_mb: float


class Measurements(Struct, frozen=True):
    """All that the figures are computed from. ``loads_per_s`` are the rates of ``Round.loaded``.

    ``memory_mb`` is the memory of the worker, at equal distances of time, over ``memory_requests``.
    """

    rounds: list[Round]
    loads_per_s: list[float]
    memory_mb: list[float]
    memory_requests: int
