"""Batching as other servers do it, on the same engine and lanes: the baselines of the learned plan."""

from collections.abc import Iterable
from operator import attrgetter

from ...engine.batcher import Batcher
from ...engine.batching import Entry
from ...engine.carried import Carried
from ...runtime.model import RUN

FIFO_ROWS = 32
FIFO_DELAY_S = 0.010

arrival_of = attrgetter("arrived")


class FifoBatcher(Batcher):
    """Batches of 32 rows in order of arrival; a smaller batch runs when its oldest row has waited 10 ms.

    For models that take one step.
    """

    rows = FIFO_ROWS
    delay_s = FIFO_DELAY_S

    def put(self, entries: Iterable[Entry]) -> None:
        super().put(entries)
        with self._changed:
            self._changed.notify_all()

    def take(self, carried: Carried) -> list[Entry] | None:
        waiting = self.phases[RUN].waiting
        with self._changed:
            self._changed.wait_for(lambda: waiting or self._closed)
            while 0 < len(waiting) < self.rows and not self._closed and (left_s := self._left_s()) > 0:
                self._changed.wait(left_s)
            batch = sorted(waiting, key=arrival_of)[: self.rows]
            for entry in batch:
                waiting.remove(entry)
            self._taken(batch, carried)
            closed = self._closed
        return batch or (None if closed else [])

    def _left_s(self) -> float:
        oldest = min(entry.flight.prepared_at for entry in self.phases[RUN].waiting)
        return oldest + self.delay_s - self._clock()


class SingleBatcher(FifoBatcher):
    """One row at a time, in order of arrival."""

    rows = 1


POLICIES: dict[str, type[Batcher]] = {"learned": Batcher, "fifo": FifoBatcher, "single": SingleBatcher}
