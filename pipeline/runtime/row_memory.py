"""The keys and values of the rows of one lane, in memory that is fixed at the start."""

import threading
from collections import deque
from collections.abc import Collection

import numpy as np

from .key_values import KeyValues, TokenPlace


class HeldRow:
    """A row's place in the memory, and how many of its tokens are there."""

    __slots__ = ("freed", "length", "memory", "place")

    def __init__(self, memory: "RowMemory", place: int) -> None:
        self.memory = memory
        self.place = place
        self.length = 0
        self.freed = False


class RowMemory:
    """For each layer the keys and the values of all rows, one row behind the other.

    A step takes neighboring rows where they are, so the rows in use have no gaps: the last one moves into the
    place of one that ends. There is one place more than rows: a step for one row runs two, and rows change places
    by it.

    One thread uses it, but for `free`.
    """

    def __init__(self, key_values: KeyValues) -> None:
        self.key_values = key_values
        self.rows = key_values.size.places - 1
        self.context = key_values.size.tokens
        self._held: list[HeldRow] = []
        self._freed: deque[HeldRow] = deque()
        self._freeing = threading.Lock()

    @property
    def free_rows(self) -> int:
        """How many rows can be taken."""
        return self.rows - len(self._held) + len(self._freed)

    def take(self) -> HeldRow | None:
        """A row without tokens; None if all are in use."""
        self._collect()
        if len(self._held) == self.rows:
            return None
        row = HeldRow(self, len(self._held))
        self._held.append(row)
        return row

    def free(self, row: HeldRow) -> None:
        """The row is not used any more. Called from any thread; its place is filled before the next step."""
        with self._freeing:
            if not row.freed:
                row.freed = True
                self._freed.append(row)

    def window(self, rows: Collection[HeldRow], fewest: int) -> range:
        """The places of a step of ``rows``, at least ``fewest``: neighbors, to which rows are moved."""
        self._collect()
        if fewest == self.rows:
            return range(self.rows)
        wanted = set(rows)
        first = self._best_window(wanted)
        window = range(first, first + len(wanted))
        outside = [row for row in wanted if row.place not in window]
        for place in window:
            if self._held[place] not in wanted:
                self._swap(self._held[place], outside.pop())
        return range(first, first + max(len(wanted), fewest))

    def length_at(self, place: int) -> int:
        """How many tokens are at the place, which may be free."""
        return self._held[place].length if place < len(self._held) else 0

    def _best_window(self, wanted: Collection[HeldRow]) -> int:
        """Where as many neighbors as there are wanted rows begin, most of which are wanted."""
        counts = np.cumsum([0, *(row in wanted for row in self._held)])
        return int((counts[len(wanted) :] - counts[: -len(wanted)]).argmax())

    def _collect(self) -> None:
        """Fill the places of freed rows with the last ones."""
        while self._freed:
            row = self._freed.popleft()
            last = self._held.pop()
            if last is not row:
                self._copy(last.place, row.place, last.length)
                self._held[row.place] = last
                last.place = row.place

    def _swap(self, one: HeldRow, other: HeldRow) -> None:
        spare = self.rows
        self._copy(one.place, spare, one.length)
        self._copy(other.place, one.place, other.length)
        self._copy(spare, other.place, one.length)
        one.place, other.place = other.place, one.place
        self._held[one.place] = one
        self._held[other.place] = other

    def _copy(self, place: int, to: int, length: int) -> None:
        self.key_values.copy(self.key_values, TokenPlace(place, 0), TokenPlace(to, 0), length)
