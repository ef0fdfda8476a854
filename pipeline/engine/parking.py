"""Rows that are parked: the readers of their answers lag, so they have no steps and keep their memory."""

from collections.abc import Sequence

from .account import Account
from .batching import Entry
from .carried import Carried
from .row_work import RowWork


class Parking:
    """Part of a batcher, whose account it uses and whose lock is held by its callers."""

    def __init__(self, account: Account, work: RowWork, suspects: Sequence[Entry]) -> None:
        """``suspects``: those that wait."""
        self._account = account
        self._suspects = suspects
        self._work = work

    def sort(self, carried: Carried, *, closed: bool = False) -> bool:
        """Park the rows of paused flights, and carry on those that go on, or that must end.

        Nothing waits for the steps of a parked row. Returns whether any is parked now that was not before.

        Args:
            closed: no row is paused any more: the lane ends when all have.
        """
        parked = [] if closed else carried.park()
        for entry in parked:
            self._account.plan(entry, 0.0)
        if carried.parked:
            for entry in carried.go_on(closed=closed):
                self._work.predict(entry)
        return bool(parked)

    def can_give_back(self, carried: Carried, head: Entry | None) -> bool:
        """Whether `give_back` finds a row."""
        return self._in_the_way(carried, head) is not None

    def give_back(self, carried: Carried, head: Entry | None) -> list[Entry]:
        """Take out a parked row whose memory a waiting one needs. Its flight begins again when it is read.

        That which was parked first. A lane carries one suspect at a time, so a parked one is in the way of others.
        Empty: nothing waits for it, or there is none whose flight can begin again.

        Args:
            head: a row that can begin beside those that the lane carries, if there is one.
        """
        entry = self._in_the_way(carried, head)
        if entry is None:
            return []
        carried.parked.remove(entry)
        entry.flight.given_back = True
        return [entry]

    def _in_the_way(self, carried: Carried, head: Entry | None) -> Entry | None:
        found = [entry for entry in carried.parked if entry.flight.may_begin_again]
        if not found:
            return None
        suspected = next((entry for entry in found if entry.alone), None) if self._suspects else None
        if suspected is not None:
            return suspected
        waits = self._account.head() is not None or (bool(self._suspects) and not carried.has_suspect)
        return found[0] if waits and head is None else None
