"""Rows that wait for a device: any thread puts them in, free lanes take them out in batches."""

import itertools
import threading
from collections import deque
from collections.abc import Callable, Iterable, Mapping

from .account import Account
from .batching import Entry, split_runnable
from .carried import Carried
from .expected_work import ExpectedWork
from .phase_queue import PhaseQueue
from .soundness import number_of_steps


class Batcher:
    """A queue between the threads that prepare rows and the lanes that run them.

    Its callers bound it: the window bounds the requests, and the task bounds the rows of a text.
    """

    def __init__(
        self,
        phases: Mapping[str, PhaseQueue],
        clock: Callable[[], float],
        drop: Callable[[list[Entry]], None],
        lanes: int = 1,
    ) -> None:
        """``phases``: those of the model, the first step's first.

        ``drop`` gets the rows that must not run any more; it is called from any thread.
        """
        self.phases = phases
        self._first = next(iter(phases.values()))
        self._clock = clock
        self._drop = drop
        self._lanes = lanes
        self._account = Account()
        self._alone: deque[Entry] = deque()
        self._numbers = itertools.count()
        self._changed = threading.Condition()
        self.expected = ExpectedWork(self._account, self._changed, self._first.cost, lanes)
        self._idle_lanes = 0
        self._closed = False

    def put(self, entries: Iterable[Entry]) -> None:
        """Queue the entries and wake idle lanes."""
        with self._changed:
            for entry in entries:
                queue = self.phases[entry.phase]
                self._predict(entry)
                number = next(self._numbers)
                self._account.put(entry, number)
                if entry.alone:
                    self._alone.append(entry)
                else:
                    queue.put(entry, number)
            self._changed.notify(self._idle_lanes)

    def carry_on(self, entries: Iterable[Entry]) -> None:
        """These rows take another step on the lane that has them: predict what is left of them."""
        with self._changed:
            for entry in entries:
                entry.phase = entry.row.phase
                self._predict(entry)

    def end(self, entries: Iterable[Entry]) -> None:
        """These rows take no further step: forget what was planned for them."""
        planned = [entry for entry in entries if entry.further_ms]
        if planned:
            with self._changed:
                for entry in planned:
                    self._account.plan(entry, 0.0)

    def reschedule(self, entries: Iterable[Entry]) -> None:
        """Account for an earlier ``due`` of these entries, as far as they wait."""
        with self._changed:
            for entry in entries:
                if entry.waiting:
                    self._account.reschedule(entry, next(self._numbers))

    def take(self, carried: Carried) -> list[Entry] | None:
        """The next batch of a lane; blocks until there is one.

        An empty list tells that all rows of the step had to be dropped. None: it is closed, nothing is left.
        """
        while True:
            with self._changed:
                self._idle_lanes += 1
                if not carried:
                    self._changed.wait_for(lambda: len(self) or self._closed)
                late = self._take_late()
                steps = bool(carried)
                batch = self._step_of(carried) if steps else self._take_waiting(0)
                self._idle_lanes -= 1
            if late:
                self._end_late(late)
            if (runnable := self.runnable(batch)) or steps:
                return runnable
            if self._closed and not batch:
                return None

    def runnable(self, batch: list[Entry]) -> list[Entry]:
        """The rows that may still run; drops the cancelled and the expired ones."""
        runnable, dropped = split_runnable(batch, self._clock())
        if dropped:
            self._end_late(dropped)
        return runnable

    def _end_late(self, entries: list[Entry]) -> None:
        self.end(entries)
        self._drop(entries)

    def _step_of(self, carried: Carried) -> list[Entry]:
        """The next step of the carried rows, which rows of the same phase join while they are due first.

        If the row that is due first cannot join, it runs before them, at the head of a batch of its own;
        the step after that is theirs.
        """
        queue = self.phases[carried.phase]
        room = queue.limits.max_running - len(carried)
        group = carried.take(queue.limits)
        before = len(group)
        while (head := self._joining(room)) is not None and queue.fits(head, group):
            queue.remove(head)
            self._taken([head])
            group.append(head)
            room -= 1
        if (self._alone or head) and not carried.owed and len(group) == before:
            carried.put_back(group)
            carried.owed = True
            return self._take_waiting(len(carried))
        carried.owed = False
        for entry in group[:before]:
            self._account.served(entry)
        return group

    def _joining(self, room: int) -> Entry | None:
        """The row that is due first, unless it would be one more to carry for a full lane.

        A lane that carries more than it may had rows of which no further step was expected: then none joins.
        """
        head = self._account.head() if not self._alone else None
        return None if head is None or room < 0 or (room == 0 and head.row.steps_left > 0) else head

    def _take_waiting(self, running: int) -> list[Entry]:
        """Take out the next batch, expired and cancelled rows included; suspects first, each alone.

        The account gives the head without reading all rows (docs/decisions/0005).
        """
        batch: list[Entry] = []
        if self._alone:
            batch = [self._alone.popleft()]
        elif (head := self._account.head()) is not None:
            queue = self.phases[head.phase]
            batch = queue.take_batch(head, self._clock(), self._idle_lanes, running)
        self._taken(batch)
        return batch

    def _take_late(self) -> list[Entry]:
        """Take out the rows that would miss their deadline even alone, see `PhaseQueue.late`."""
        now = self._clock()
        late = [entry for queue in self.phases.values() for entry in queue.late(now)]
        for entry in late:
            self._account.take(entry, ran=False)
        return late

    def close(self) -> None:
        """Wake the lanes: they run the waiting rows and end."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def shrink(self, batch: list[Entry]) -> None:
        """This batch did not fit into the device's memory: limit those of its phase to half of it."""
        with self._changed:
            self.phases[batch[0].phase].shrink(len(batch) * max(entry.length for entry in batch))

    def recover(self, phase: str) -> None:
        """A batch of the phase has run, see `PhaseQueue.recover`."""
        if self.phases[phase].is_reduced:
            with self._changed:
                self.phases[phase].recover()

    def __len__(self) -> int:
        return sum(len(queue.waiting) for queue in self.phases.values()) + len(self._alone)

    @property
    def busy(self) -> bool:
        """Whether no lane waits for work."""
        return self._idle_lanes == 0

    @property
    def backlog_ms(self) -> float:
        """The summed solo cost of what waits, texts included that are not tokenized yet."""
        return self._account.total_ms  # without the lock: a float is read whole

    def before_ms(self, tenant: str, priority: int, due: float) -> float:
        """The solo cost of what will run before a new row; see `Account.before_ms`."""
        with self._changed:
            return self._account.before_ms(tenant, priority, due)

    @property
    def blocking_ms(self) -> float:
        """The solo cost of the further steps of all rows, if the lanes carry as many rows as they may."""
        full = self._account.unended >= self._lanes * self._first.limits.max_running
        return self._account.further_ms if full else 0.0

    def _predict(self, entry: Entry) -> None:
        """Set its length in the next step, and what this one and all of its steps will cost alone."""
        cost = self.phases[entry.phase].cost
        entry.length = cost.length(entry.row)
        entry.solo_ms = cost.ms(1, entry.length)
        self._account.plan(entry, entry.solo_ms * number_of_steps(entry.row.steps_left))

    def _taken(self, batch: Iterable[Entry]) -> None:
        for entry in batch:
            entry.waiting = False
            entry.taken = True
            self._account.take(entry, ran=True)
