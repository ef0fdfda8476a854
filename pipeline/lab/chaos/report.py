"""What a run gives: everything that was seen, done and judged."""

from typing import Final

from msgspec import Struct

from .auditing import Judgment
from .crew import Exit
from .device import Count
from .faults import Happened
from .ledger import Seen
from .scenario import Scenario
from .schedule import Fault

WARM_SHARE: Final = 0.5
"""The share of the calm at its beginning that no figure counts: brokers are compiled while they run, costs learned."""

TURN_S: Final = 2.0
"""The beginning of the storm that no figure counts: what is answered then was asked in the calm."""


class Report(Struct, frozen=True):
    """All that a run gave. Times are seconds since the load began; it ended after ``seconds``.

    ``skipped`` faults had not begun by then.
    """

    scenario: Scenario
    seed: int
    seconds: float
    calm_s: float
    planned: tuple[Fault, ...]
    happened: list[Happened]
    exits: list[Exit]
    seen: list[Seen]
    sent: list[tuple[float, str]]
    open: list[tuple[float, int]]
    memory_mb: list[tuple[float, int, int, float]]
    device: Count
    settled_s: float | None
    judgment: Judgment
    skipped: int = 0
    rebalances: int = 0
    customer_answers: int = 0
    customer_doubled: int = 0
    customer_repeated: int = 0
    customer_unanswered: int = 0
    ready_s: list[float] = []
