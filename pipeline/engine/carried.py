"""The rows that a lane carries from one step to the next."""

from collections.abc import Iterable

from .batching import Entry, Limits


class Carried:
    """Rows between two steps, the one that has waited longest first. Used by one lane at a time.

    What they keep on the device stays there. ``owed``: rows that cannot join them have just had a step,
    so the next one is theirs.
    """

    def __init__(self) -> None:
        self.owed = False
        self._rows: list[Entry] = []

    def __len__(self) -> int:
        return len(self._rows)

    @property
    def phase(self) -> str:
        """The phase of the next step."""
        return self._rows[0].phase

    def put(self, entries: Iterable[Entry]) -> None:
        """Rows that have had a step go to the end."""
        self._rows.extend(entries)

    def put_back(self, entries: list[Entry]) -> None:
        """Rows that were taken and had no step."""
        self._rows[:0] = entries

    def take(self, limits: Limits) -> list[Entry]:
        """Take out the rows of the next step: all of one phase that fit into a batch, or a suspect alone."""
        first = self._rows[0]
        if first.alone:
            return [self._rows.pop(0)]
        phase = first.phase
        taken: list[Entry] = []
        left: list[Entry] = []
        longest = 0
        for entry in self._rows:
            rows, length = len(taken) + 1, max(longest, entry.length)
            fits = rows == 1 or (rows <= limits.max_rows and rows * length <= limits.token_budget)
            if fits and entry.phase == phase and not entry.alone:
                taken.append(entry)
                longest = length
            else:
                left.append(entry)
        self._rows = left
        return taken
