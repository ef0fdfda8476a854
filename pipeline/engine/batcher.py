"""Rows that wait for a device: any thread puts them in, free lanes take them out in batches."""

import itertools
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final

from .account import Account
from .backlog import Backlog
from .batching import Entry, Limits, split_runnable
from .carried import Carried, Turn, turn_of
from .expected_work import ExpectedWork
from .parking import Parking
from .phase_queue import PhaseQueue
from .row_work import RowWork

ONE: Final = Limits(1, 1)
"""A suspect shares no batch."""


class Batcher(Backlog):
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
        super().__init__(Account(), lanes * next(iter(phases.values())).limits.max_running)
        self.phases = phases
        self._first = next(iter(phases.values()))
        self._first_of_several = next(iter(phases)) if len(phases) > 1 else None
        self._clock = clock
        self._drop = drop
        self._alone: deque[Entry] = deque()
        self._numbers = itertools.count()
        self.expected = ExpectedWork(self._account, self._changed, self._first.cost, lanes)
        self.work = RowWork(self._account, phases)
        self._parking = Parking(self._account, self.work, self._alone)
        self._idle_lanes = 0
        self._closed = False

    def put(self, entries: Iterable[Entry]) -> None:
        """Queue the entries and wake idle lanes."""
        with self._changed:
            for entry in entries:
                queue = self.phases[entry.phase]
                self.work.predict(entry)
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
                self.work.predict(entry)

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

        An empty list tells that no row is on the device: those of the step had to be dropped, or all are paused.
        None: it is closed, nothing is left.
        """
        while True:
            with self._changed:
                if self._parking.sort(carried, closed=self._closed) and not carried:
                    return []
                self._idle_lanes += 1
                if not carried:
                    self._changed.wait_for(lambda: self._has_work(carried))
                late = self._take_late()
                if carried.parked:
                    late += self._parking.give_back(carried, self._beginning(carried))
                steps = bool(carried)
                batch = self._next_batch(carried)
                self._idle_lanes -= 1
            if late:
                self._end_late(late)
            if (runnable := self.runnable(batch)) or steps:
                return runnable
            if self._closed and not batch:
                return None

    def _has_work(self, carried: Carried) -> bool:
        """Whether a lane that carries no row with a step has one now, or may begin one."""
        if not carried.parked:
            return len(self) > 0 or self._closed
        self._parking.sort(carried, closed=self._closed)
        head = self._beginning(carried)
        return len(carried) > 0 or head is not None or self._parking.can_give_back(carried, head)

    def wake(self) -> None:
        """Flights are paused no more, or have ended: lanes that carry parked rows look again."""
        with self._changed:
            self._changed.notify_all()

    def runnable(self, batch: list[Entry]) -> list[Entry]:
        """The rows that may still run; drops the cancelled and the expired ones."""
        runnable, dropped = split_runnable(batch, self._clock())
        if dropped:
            self._end_late(dropped)
        return runnable

    def _end_late(self, entries: list[Entry]) -> None:
        self.end(entries)
        self._drop(entries)

    def _next_batch(self, carried: Carried) -> list[Entry]:
        """The next step of carried rows, or a batch of waiting ones. Phases take turns, and so do suspects."""
        head = self._beginning(carried)
        if carried:
            batch = self._step_of(carried, carried.next_turn(head))
        else:
            batch = self._take_waiting(head, carried) if head is not None else []
        if batch:
            carried.served(turn_of(batch[0]))
        return batch

    def _step_of(self, carried: Carried, turn: Turn) -> list[Entry]:
        """The step of the carried rows whose turn it is, which waiting ones join while they are due first.

        If the row that is due first cannot join, it runs before them, at the head of a batch of its own;
        the next step of this turn is theirs.
        """
        # Of the first phase nothing can be told yet: there one row is finished after the other.
        order = self._account.order if turn == self._first_of_several else None
        group = carried.take(turn, self.phases[turn].limits if turn else ONE, order)
        before = len(group)
        head = self._beginning(carried, group)
        while head is not None and group and self.phases[head.phase].fits(head, group):
            self.phases[head.phase].remove(head)
            self._taken([head], carried)
            group.append(head)
            head = self._beginning(carried, group)
        waits = head is not None and turn_of(head) == turn and len(group) == before
        if head is not None and waits and not (group and turn in carried.owed):
            carried.put_back(group)
            carried.owed.add(turn)
            return self._take_waiting(head, carried)
        carried.owed.discard(turn)
        for entry in group[:before]:
            self.work.fit(entry, carried)
            self._account.served(entry)
        return group

    def _beginning(self, carried: Carried, group: Sequence[Entry] = ()) -> Entry | None:
        """The row that would begin next, unless it would be one more to hold for a full lane. Suspects first.

        A lane carries one suspect at a time: two would not be faster, and would hold the memory of two. The rows
        of ``group`` are in the step already. A lane that carries more than it may had rows of which no further step was
        expected: then none begins.
        """
        running = carried.held + len(group)
        suspected = carried.has_suspect or any(entry.alone for entry in group)
        head = self._alone[0] if self._alone and not suspected else self._account.head()
        if head is None or not running:
            return head
        queue = self.phases[head.phase]
        room = queue.limits.max_running - running
        return None if room < 0 or (room == 0 and queue.holds(head)) else head

    def _take_waiting(self, head: Entry, carried: Carried) -> list[Entry]:
        """Take out the batch of this row, expired and cancelled rows included; a suspect alone.

        The account gives the head without reading all rows (docs/decisions/0005).
        """
        if head.alone:
            batch = [self._alone.popleft()]
        else:
            batch = self.phases[head.phase].take_batch(head, self._clock(), self._idle_lanes, carried.held)
        self._taken(batch, carried)
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

    def _taken(self, batch: Iterable[Entry], carried: Carried) -> None:
        for entry in batch:
            entry.waiting = False
            entry.taken = True
            several = entry.row.steps_left > 0
            self._account.take(entry, ran=not several)
            if several:
                self.work.fit(entry, carried)
                self._account.served(entry)
