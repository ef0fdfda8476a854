"""The rows that a lane carries from one step to the next."""

from collections.abc import Iterable

from .batching import Entry


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

    def take(self, max_rows: int) -> list[Entry]:
        """Take out the rows of the next step: all of one phase, or a suspect alone."""
        first = self._rows[0]
        if first.alone:
            return [self._rows.pop(0)]
        phase = first.phase
        taken: list[Entry] = []
        left: list[Entry] = []
        for entry in self._rows:
            joins = len(taken) < max_rows and entry.phase == phase and not entry.alone
            (taken if joins else left).append(entry)
        self._rows = left
        return taken
