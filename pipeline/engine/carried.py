"""The rows that a lane carries from one step to the next."""

from collections.abc import Callable, Iterable

from .batching import Entry, Limits

Turn = str | None
"""The phase of rows that may share a step; None for suspects."""

Order = Callable[[Entry], tuple[float, float]]


class Carried:
    """Rows between two steps, the one that has waited longest first. Used by one lane at a time.

    What they keep on the device stays there. Steps of different phases, and suspects, take turns, one step each.
    ``owed``: turns of which rows that cannot join the others have just had a step, so the next one is that of the
    carried ones. ``parked`` are rows that have no steps while their flights are paused; they keep their memory.
    """

    def __init__(self) -> None:
        self.owed: set[Turn] = set()
        self.parked: list[Entry] = []
        self._rows: list[Entry] = []
        self._served: dict[Turn, int] = {}
        self._steps = 0

    def __len__(self) -> int:
        """How many may have a step."""
        return len(self._rows)

    @property
    def held(self) -> int:
        """How many keep memory of the device."""
        return len(self._rows) + len(self.parked)

    @property
    def has_suspect(self) -> bool:
        return any(entry.alone for entry in self._rows) or any(entry.alone for entry in self.parked)

    def park(self) -> list[Entry]:
        """Park the rows of paused flights, and return them."""
        found = [entry for entry in self._rows if entry.paused and not entry.cancelled]
        if found:
            self._rows = [entry for entry in self._rows if entry not in found]
            self.parked += found
        return found

    def go_on(self, *, closed: bool = False) -> list[Entry]:
        """Carry on the parked rows that are paused no more or were cancelled; all if ``closed``. Returns them."""
        found = [entry for entry in self.parked if closed or entry.cancelled or not entry.paused]
        if found:
            self.parked = [entry for entry in self.parked if entry not in found]
            self._rows += found
        return found

    def in_other_phases(self, phase: str) -> int:
        """How many of the rows are in another phase than this one."""
        return sum(entry.phase != phase for entry in self._rows)

    def next_turn(self, head: Entry | None) -> Turn:
        """Whose step is next: that of the rows which have not had one for longest. ``head`` may begin, too."""
        turns = dict.fromkeys(map(turn_of, self._rows if head is None else [*self._rows, head]))
        return min(turns, key=lambda turn: self._served.get(turn, -1))

    def served(self, turn: Turn) -> None:
        """It has its step."""
        self._steps += 1
        self._served[turn] = self._steps

    def put(self, entries: Iterable[Entry]) -> None:
        """Rows that have had a step go to the end."""
        self._rows.extend(entries)

    def put_back(self, entries: list[Entry]) -> None:
        """Rows that were taken and had no step."""
        self._rows[:0] = entries

    def take(self, turn: Turn, limits: Limits, order: Order | None = None) -> list[Entry]:
        """Take out the rows of the next step: as many of this turn as fit into a batch, or a suspect alone.

        ``order``: which of them go first, instead of those that have waited longest.
        """
        rows = [entry for entry in self._rows if turn_of(entry) == turn]
        if order is not None and len(rows) > 1:
            rows.sort(key=order)
        taken: list[Entry] = []
        longest = 0
        for entry in rows:
            count, length = len(taken) + 1, max(longest, entry.length)
            if count == 1 or (count <= limits.max_rows and count * length <= limits.token_budget):
                taken.append(entry)
                longest = length
            if turn is None:
                break
        if len(taken) == len(self._rows):
            self._rows = []
        else:
            out = set(taken)
            self._rows = [entry for entry in self._rows if entry not in out]
        return taken


def turn_of(entry: Entry) -> Turn:
    """With which rows it may share its next step."""
    return None if entry.alone else entry.phase
