"""A request in progress, which may end before its answer."""

import asyncio
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Self

from ...schemas.topics import Header
from ..engine.flight import Flight, Follow
from ..errors import Cancelled, Superseded
from .arrival import Arrival
from .cancel_memory import RequestName
from .retries import asked_ms

if TYPE_CHECKING:
    from .cancels import Cancels


class RunningRequest:
    """A request that waits for the device, in the asyncio task that enters this.

    A cancel ends the wait of the task with CancelledError: so the request leaves its flight, whose
    rows are dropped if it was the last one.
    """

    def __init__(self, cancels: "Cancels", arrival: Arrival) -> None:
        self.name = name_of(arrival)
        self.names = [self.name]
        """Those by which a newer request supersedes it, see `Cancels.pass_on`."""
        self.lease = arrival.lease
        self._chunks = arrival.chunks
        self.error: Cancelled | None = None
        """Why it ends, once it is known that it ends."""
        self.since = 0.0
        """Since when it waits, in seconds of the engine's clock."""
        self._flight: Flight | None = None
        self._is_final = arrival.job.request.final
        self.supersedes = None if arrival.job.request.supersedes is None else superseded_name(arrival)
        self._cancels = cancels
        self._asked_ms = asked_ms(arrival)
        self._trace = arrival.headers.get(Header.TRACEPARENT)
        self._task: asyncio.Task[Any] | None = None

    def __enter__(self) -> Self:
        self._task = asyncio.current_task()
        self._cancels.begin(self)
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._cancels.end(self)

    @property
    def may_be_superseded(self) -> bool:
        """Whether it may end for a newer request: not if it is final, or has nothing left to wait for."""
        return not (self._is_final or self.error or (self._flight is not None and self._flight.is_ending))

    def followed(self, follow: Follow) -> Follow:
        """``follow``, which also tells this where the flight is.

        A partial on the device is not superseded, and the rows of a cancelled request are dropped at once.
        """

        def follow_too(flight: Flight) -> None:
            self._flight = flight
            follow(flight)

        return follow_too

    def check(self) -> None:
        """End it if a cancel of it is known, or if a newer request supersedes it."""
        found = self._cancels.memory.find(self.name, self._asked_ms, self._trace)
        if found is None and self.may_be_superseded:
            found = self._cancels.superseding(self.names, self._asked_ms)
        if found is not None:
            self._end(found.reason, error_of(found.reason))

    def lapse(self) -> None:
        """Its lease ran out."""
        assert self.lease is not None
        sentence = f"The lease {self.lease.name!r} ran out: its client sent no heartbeat for {self.lease.lasts_s:g} s."
        self._end("lease", Cancelled(sentence))

    def was_read(self, read: Mapping[str, int], now: float) -> None:
        """Its client says how much it has read. If that is the same for long, while no more was told, this ends.

        Only heartbeats count: while a broker takes or gives none, no time passes.
        """
        pieces = read.get(self.name.id)
        if pieces is None or self._chunks is None:
            return
        idle_s = self._chunks.was_read(pieces, now)
        if idle_s >= self._cancels.unread_s:
            sentence = (
                f"Nothing of the answer was read for {idle_s:.0f} s, although {self._chunks.unread.pieces} of its "
                "pieces were told: it is not made further."
            )
            self._end("unread", Cancelled(sentence))

    def ends_it(self) -> bool:
        """Whether this has cancelled its task, and nothing else has. Called once, by that task."""
        return self.error is not None and self._task is not None and not self._task.uncancel()

    def _end(self, reason: str, error: Cancelled) -> None:
        if self.error is None and self._task is not None:
            self.error = error
            self._cancels.count(reason)
            self._task.cancel()
            if self._flight is not None:
                self._flight.drop_if_unwanted()


def name_of(arrival: Arrival) -> RequestName:
    return RequestName(arrival.job.tenant, arrival.reply_id)


def superseded_name(arrival: Arrival) -> RequestName:
    assert arrival.job.request.supersedes is not None
    return RequestName(arrival.job.tenant, arrival.job.request.supersedes)


def error_of(reason: str) -> Cancelled:
    if reason == Superseded.code:
        return Superseded("A newer request takes the place of this one, as its sender has said.")
    return Cancelled("The request was cancelled by its sender.")
