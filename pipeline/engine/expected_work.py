"""The work of requests that have no rows yet, and when the rows of a long text are due."""

import threading
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from ..runtime.model import Row
from .account import Account
from .batching import ShapeCost
from .tenant_work import Part, spread
from .text_cost import TextCost

if TYPE_CHECKING:
    from .flight import Flight

LATER_SHARE: Final = 0.5
"""The share of the device at which the later rows of a tenant's long texts are due.

What it does not need goes to them as well: nothing waits while a lane is idle.
"""

NEED_WEIGHT: Final = 0.02
"""Weight of the newest text in the share of a task's texts that need the device."""


class ExpectedWork:
    """Part of a batcher, whose account and lock it uses."""

    def __init__(self, account: Account, lock: threading.Condition, cost: ShapeCost, lanes: int) -> None:
        """``cost``: of the first step."""
        self._account = account
        self._lock = lock
        self._cost = cost
        self._lanes = lanes
        self._estimate = TextCost(cost)
        self._need: dict[str, float] = {}  # by task: the share of its texts that need the device

    def expect(self, flight: "Flight") -> None:
        """Count the work of a text that is not tokenized yet, by an estimate; `settle` ends that."""
        row_ms, rows = self._estimate.rows(flight.size, flight.known_rows)
        row_ms *= self._need.get(flight.task.name, 1.0)
        due = flight.due(flight.queued_at)
        in_a_second = self._later_ms_in_a_second()
        with self._lock:
            priority = flight.priority
            parts = [Part(due, row_ms, priority)]
            if rows > 1:
                due += self._account.later_ms(flight.tenant, priority) / in_a_second
                parts += spread(due, row_ms * (rows - 1), priority, in_a_second)
            flight.expected = parts
            self._account.expect(flight.tenant, parts)

    def settle(self, flight: "Flight", rows: Sequence[Row] = ()) -> None:
        """The text was tokenized, to these rows, or has ended: forget the estimate."""
        if rows:
            if flight.known_rows is None:
                self._estimate.observe(flight.size, [self._cost.length(row) for row in rows])
            if flight.task.name in self._need:
                self._learn_need(flight, 1.0)
        with self._lock:
            self._account.settle(flight.tenant, flight.expected)
            flight.expected = []

    def answered(self, flight: "Flight") -> None:
        """The task has answered the text without the device: of the next ones it will answer some as well."""
        self._learn_need(flight, 0.0)
        self.settle(flight)

    def _learn_need(self, flight: "Flight", needed: float) -> None:
        share = self._need.get(flight.task.name, 1.0)
        self._need[flight.task.name] = share + NEED_WEIGHT * (needed - share)

    def arrivals(self, flight: "Flight", rows: Sequence[Row]) -> list[float]:
        """When each row of the text counts as arrived, in clock seconds.

        The later rows of a long text are due one after the other, behind those of the tenant's
        other long texts, so that they take `LATER_SHARE` of the device and short texts run in between.
        """
        arrivals = [flight.queued_at]
        if len(rows) > 1:
            in_a_second = self._later_ms_in_a_second()
            with self._lock:
                later_ms = self._account.later_ms(flight.tenant, flight.priority)
            for row in rows[1:]:
                later_ms += self._cost.ms(1, self._cost.length(row))
                arrivals.append(flight.queued_at + later_ms / in_a_second)
        return arrivals

    def later_rows_ms(self, characters: int, known: int | None = None) -> float:
        """The solo cost of all rows of a text but the first, by an estimate; ``known``: the number of its rows."""
        row_ms, rows = self._estimate.rows(characters, known)
        return row_ms * (rows - 1)

    def _later_ms_in_a_second(self) -> float:
        """The cost of later rows that is due in a second. Other work on the cores makes it less."""
        return self._lanes * 1e3 * LATER_SHARE / max(1.0, self._cost.stretch)
