"""A flight: one content on its way through the device, for all requests that ask for it."""

import asyncio
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from ..errors import InferstreamError
from ..tasks.base import Ask, Task
from .batcher import Batcher
from .batching import PRIORITY_DELAYS_S, BatchStats, Entry
from .shared_error import without_frames
from .tenant_work import Part


@dataclass(eq=False, slots=True)
class Flight:
    """One content on its way through the device, shared by all requests for it.

    Waiters are independent. The rows are dropped only when the last waiter has left. Stamps are
    clock seconds.
    """

    # Fixed when it is created.
    key: bytes
    task: Task
    batcher: Batcher
    ask: Ask
    size: int  # of the content, in characters
    started_at: float
    further_steps: float = 0.0  # expected after the first one
    known_rows: int | None = None  # how many it will have, if that does not depend on its size
    keep: bool = True  # the answer may be cached
    suspect: bool = False  # the content was on the device when a process died
    tenant: str = ""
    waited_s: float = 0.0  # by an earlier request, whose place it takes
    release: str = ""  # that the model is
    trial: object = None  # that its last request has begun under, see `trials.Trial`

    # Written by the batcher: what the account expects while it has no rows.
    expected: Sequence[Part] = ()

    # Written by the event loop, here and in `Flights`.
    expires: float = math.inf
    priority: int = 1
    partial: bool = False  # all requests that have joined may be superseded
    waiters: set["asyncio.Future[bytes]"] = field(default_factory=set)
    watchers: list[Callable[[], None]] = field(default_factory=list)  # called when pieces have come
    not_calling: int = 0  # of the watchers: those that look again soon, and need no call
    joining: int = 1  # requests that have joined and do not wait yet
    full: dict[object, bool] = field(default_factory=dict)  # those that want no more now; see `pause`
    paused: bool = False  # all requests want no more now
    may_begin_again: bool = False  # and each can go on behind what it was told
    abandoned: bool = False
    landed: bool = False

    # Written by the batcher.
    given_back: bool = False  # its memory was needed while it was paused

    # Written by the preparing thread, in `board`; `Flights.land` empties ``entries``.
    entries: list[Entry] = field(default_factory=list)
    prepared_at: float = 0.0

    # Written by the lanes of one device: in `add_output` they hold its outputs lock, and the lane
    # that ran the last row sets ``finished_at``.
    outputs: int = 0  # rows that have run
    steps: int = 0  # of these rows
    first_at: float | None = None  # when the first piece came
    pieces: list[Any] = field(default_factory=list)  # of the answer, as far as they are known, in order
    telling: int = 0  # the row whose pieces come next: those of later rows wait in their entries
    ran_at: float = 0.0  # when the first step of the row that ended last began
    run_ms: float = 0.0  # from there to the end of its last step
    batch: BatchStats | None = None  # of the row that ran last; stays None if the answer was on disk
    finished_at: float = 0.0

    # Written once, before landing: by the preparing thread if the answer is on disk or the text
    # cannot be tokenized, otherwise by a lane. Of two lanes that fail two rows at the same moment
    # both may write their error, and the last one stays.
    result: bytes | InferstreamError | None = None

    @property
    def queued_at(self) -> float:
        """Since when it counts as waiting."""
        return self.started_at - self.waited_s

    @property
    def delay_s(self) -> float:
        """How long after its arrival a row is due.

        A partial is due as late as one of the priority `low`, whose tenant has its turn as before. So under overload
        all finals pass it: with the delay of its priority, finals waited for up to 2 s behind partials
        (docs/decisions/0022).
        """
        return PRIORITY_DELAYS_S[-1 if self.partial else self.priority]

    def due(self, arrived: float) -> float:
        """When a row that counts as arrived then is due: at its deadline at the latest, unless it is a partial's.

        Partials run in the order of their places. Were they due at their deadlines, a quick one would be due later
        with each newer one; and in a taken place most of them come due in time to pass finals: at three times the
        load of a device the p99 of finals was 0.84 s instead of 0.17 s.
        """
        due = arrived + self.delay_s
        return due if self.partial else min(due, self.expires)

    @property
    def is_ending(self) -> bool:
        """Whether an end now would save the device nothing: all rows are on it, in their last step, or have run."""
        if self.landed:
            return isinstance(self.result, bytes)
        rows = self.entries
        return bool(rows) and all(entry.taken and not entry.row.steps_left for entry in rows)

    def board(self, entries: list[Entry], now: float) -> None:
        """Set the rows that must run before the flight lands."""
        self.entries = entries
        self.prepared_at = now
        self._update_entries()

    def extend(self, expires: float, priority: int, partial: bool = False) -> None:
        """Account for a new waiter: the latest deadline and the highest priority count; a final makes it final."""
        self.joining += 1
        self.expires = max(self.expires, expires)
        self.priority = min(self.priority, priority)
        self.partial = self.partial and partial
        self.check_pause()
        self._update_entries()

    def abandon(self) -> None:
        """Drop the rows that have not run: the last waiter has left."""
        self.abandoned = True
        self._update_entries()
        if self.paused:
            self.batcher.wake()

    def pause(self, request: object, *, resumes: bool) -> None:
        """The request wants no more for now. The rows have no further steps while all requests say so.

        ``resumes``: it can go on behind what it was told in a new flight, if others need the memory.
        """
        self.full[request] = resumes
        self.check_pause()

    def go_on(self, request: object) -> None:
        """The request wants more, or has left."""
        if self.full.pop(request, None) is not None:
            self.check_pause()

    def check_pause(self) -> None:
        """Call it when requests have come or left."""
        if self.full or self.paused:
            self.paused = 0 < len(self.waiters) + self.joining <= len(self.full)
            self.may_begin_again = self.paused and all(self.full.values())
            self._update_entries()
            self.batcher.wake()

    def drop_if_unwanted(self) -> None:
        """Drop the rows now if all waiters have ended: their tasks leave only in a later turn of the event loop.

        Meanwhile a lane could begin another step of a row that was cancelled.
        """
        if self.waiters and not self.joining and all(waiter.done() for waiter in self.waiters):
            self.abandon()

    def add_pieces(self, entry: Entry, pieces: Sequence[Any], now: float) -> None:
        """Append what a step of one row has made of the answer, or keep it until the row's turn."""
        if pieces and self.first_at is None:
            self.first_at = now
        entries = self.entries  # read once: the event loop may land the flight just now, and leaves none
        if self.telling < len(entries) and entry is entries[self.telling]:
            self.pieces.extend(pieces)
        else:
            if entry.pieces is None:
                entry.pieces = []
            entry.pieces.extend(pieces)

    def add_output(self, entry: Entry, output: Any, ended_at: float, batch: BatchStats) -> bool:
        """Store the output of one row. Returns whether all rows have run now."""
        entry.output = output
        entry.has_output = True
        self.outputs += 1
        self.steps += entry.steps
        self.ran_at = entry.ran_at
        self.run_ms = batch.ms if entry.steps == 1 else (ended_at - entry.ran_at) * 1e3
        self.batch = batch
        if len(self.entries) > 1:
            self._next_rows_turn()
        # Never true after a failure: a row has no output, or the flight has landed without entries.
        return self.outputs == len(self.entries)

    def _next_rows_turn(self) -> None:
        """Tell the pieces of the rows that follow those that have ended."""
        entries = self.entries
        while self.telling < len(entries) and entries[self.telling].has_output:
            self.telling += 1
            if self.telling < len(entries):
                following = entries[self.telling]
                self.pieces.extend(following.pieces or ())
                following.pieces = None

    def fail(self, error: InferstreamError) -> None:
        """End with this error, and drop the rows that have not run."""
        self.result = without_frames(error)
        self._update_entries()
        if self.paused:
            self.batcher.wake()

    def _update_entries(self) -> None:
        """Copy deadline, priority and cancellation to the rows.

        The preparing thread, a lane and the event loop call this, each after it has changed the
        flight, so the last of them copies everything. No statement calls a function between its
        read and its write: under the GIL no other thread runs in between.
        """
        delay_s = self.delay_s
        for entry in self.entries:
            entry.expires = self.expires
            entry.cancelled = self.abandoned or self.result is not None
            entry.paused = self.paused
            due = entry.arrived + delay_s
            if due < entry.due:  # noqa: PLR1730 - min() would be a call
                entry.due = due


Follow = Callable[[Flight], None]
"""Is called with each flight of a job, one after the other."""


def not_followed(flight: Flight) -> None:
    """`Follow` of a job whose answer is wanted whole."""
