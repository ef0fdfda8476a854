"""What the steps of rows will cost: the next one, and all behind it."""

from collections.abc import Iterable, Mapping

from .account import Account
from .batching import Entry
from .carried import Carried
from .phase_queue import PhaseQueue
from .soundness import number_of_steps


class RowWork:
    """Part of a batcher, whose account it uses and whose lock is held by its callers, but for `learn`."""

    def __init__(self, account: Account, phases: Mapping[str, PhaseQueue]) -> None:
        self._account = account
        self._phases = phases
        self._last_phase = [*phases][-1]
        self._last = phases[self._last_phase].cost

    def predict(self, entry: Entry) -> None:
        """Set its length in the next step, and what this one and all of its steps will cost alone.

        A row in the first of several phases says how many steps of it are left, and at most how many of the last
        one; of those it is expected to take the share that others have taken.
        """
        row = entry.row
        cost = self._phases[entry.phase].cost
        entry.length = cost.length(row)
        entry.solo_ms = cost.ms(1, entry.length)
        left = number_of_steps(row.steps_left)
        further_ms = 0.0
        if left:
            same = min(left, number_of_steps(row.phase_left))
            later = left - same
            if not entry.steps:
                entry.most_steps = later
            later_ms = entry.solo_ms if entry.phase == self._last_phase else self._last.ms(1, 1)
            further_ms = same * entry.solo_ms + self._last.steps(entry.most_steps, later) * later_ms
        self._account.plan(entry, further_ms)

    def fit(self, entry: Entry, carried: Carried) -> None:
        """Before its next step, for which the carried rows wait: see `Row.fit`."""
        length = entry.row.length
        entry.row.fit(carried.in_other_phases(entry.phase))
        if entry.row.length != length:
            self.predict(entry)

    def learn(self, ended: Iterable[Entry]) -> None:
        """These rows have taken their last step."""
        for entry in ended:
            if entry.most_steps:
                made = entry.most_steps - number_of_steps(entry.row.steps_left)
                self._last.observe_steps(entry.most_steps, made)
