"""What of the cancels concerns the requests of one worker: on arrival, and while they are in progress."""

import asyncio
import math
from collections.abc import Sequence
from typing import Any, Final, Self

from ...schemas.topics import Header
from ..engine.flight import Flight, Follow
from ..errors import Cancelled, Superseded
from ..telemetry import TaskMetrics
from .arrival import Arrival
from .cancel_memory import CancelMemory, KnownCancel, RequestName
from .leases import Leases
from .retries import asked_ms

ANSWERS_ALL: Final = -math.inf

MAX_SUPERSEDED_BYTES: Final = 4_000_000
"""Names of superseded requests that are kept, about 10 000: one may come back from a retry topic. One that is
forgotten is answered."""


class Cancels:
    """Ends requests that are not wanted any more. Lives on the event loop; `CancelReader` fills it.

    Attributes:
        since_ms: the cancels sent from this time on are known, in Unix time. A request that is older
            must wait for `cover`: its cancel may not have been read.
    """

    def __init__(
        self, leases: Leases | None = None, metrics: TaskMetrics | None = None, since_ms: float = ANSWERS_ALL
    ) -> None:
        """Without ``since_ms`` nothing is waited for: there is no reader."""
        self.memory = CancelMemory()
        self.known = self.memory.known
        self.superseded = CancelMemory(MAX_SUPERSEDED_BYTES)
        self.since_ms = since_ms
        self._wanted_ms = math.inf
        self.wanted = asyncio.Event()
        self._leases = leases
        self._metrics = metrics
        self._covered = asyncio.Event()
        self._running: dict[RequestName, set[RunningRequest]] = {}

    def check(self, arrival: Arrival) -> None:
        """Raise Cancelled or Superseded if a cancel of this request is known."""
        found = self.memory.find(_name(arrival), asked_ms(arrival), arrival.headers.get(Header.TRACEPARENT))
        if found is not None:
            self.count(found.reason)
            raise _error(found.reason)

    def check_partial(self, arrival: Arrival) -> None:
        """Raise Superseded if a request that is not final was superseded by one that was read before it."""
        if self.superseded.find(_name(arrival), asked_ms(arrival), None) is not None:
            self.count(Superseded.code)
            raise _error(Superseded.code)

    def superseded_by(self, arrival: Arrival) -> "RunningRequest | None":
        """The request in progress that this one would supersede, if there is one."""
        for request in self._running.get(_superseded_name(arrival), ()):
            if request.may_be_superseded:
                return request
        return None

    def pass_on(self, arrival: Arrival) -> None:
        """This partial ends before it waits: what it supersedes has its name too, and ends in the next turn.

        The newer request names this one alone. If it is a partial of the same poll, its turn comes first, and
        it takes the place of what waits. Of two that name each other the one read first stays.
        """
        earlier = self.superseded_by(arrival)
        name = _name(arrival)
        if earlier is not None and earlier.supersedes != name:
            earlier.names.append(name)
            self._running.setdefault(name, set()).add(earlier)
            asyncio.get_running_loop().call_soon(self._check, name)

    def superseding(self, names: Sequence[RequestName], asked_ms: int) -> KnownCancel | None:
        """What supersedes a partial with these names."""
        found = (self.superseded.find(name, asked_ms, None) for name in names)
        return next(filter(None, found), None)

    def announce(self, arrival: Arrival) -> None:
        """Remember what this request supersedes if that is not in progress: it may come later, or in the same poll."""
        if (name := _superseded_name(arrival)) not in self._running:
            self._remember_superseded(name, arrival)

    def supersede(self, arrival: Arrival) -> None:
        """End the request in progress that this one supersedes, where it waits."""
        if (name := _superseded_name(arrival)) in self._running:
            self._remember_superseded(name, arrival)
            self._check(name)

    def _remember_superseded(self, name: RequestName, arrival: Arrival) -> None:
        self.superseded.add(name, KnownCancel(asked_ms(arrival), Superseded.code, None))

    def running(self, arrival: Arrival) -> "RunningRequest":
        """To be entered by the task that waits for the device, and left when it has ended."""
        return RunningRequest(self, arrival)

    def add(self, name: RequestName, cancel: KnownCancel) -> None:
        """Remember a cancel, and end the requests in progress that it names."""
        self.memory.add(name, cancel)
        self._check(name)

    def _check(self, name: RequestName) -> None:
        for request in tuple(self._running.get(name, ())):
            request.check()

    async def cover(self, timestamp_ms: int) -> None:
        """Return when the cancels are known that were sent from this time on."""
        while timestamp_ms < self.since_ms:
            self._wanted_ms = min(self._wanted_ms, timestamp_ms)
            self.wanted.set()
            await self._covered.wait()

    def take_wanted_ms(self) -> float:
        """The oldest time that is waited for; what comes later is waited for anew."""
        wanted_ms = self._wanted_ms
        self._wanted_ms = math.inf
        self.wanted.clear()
        return wanted_ms

    def covered(self, since_ms: float) -> None:
        """The cancels from this time on are known now, or will never be."""
        self.since_ms = since_ms
        self._covered.set()
        self._covered = asyncio.Event()

    def begin(self, request: "RunningRequest") -> None:
        self._running.setdefault(request.name, set()).add(request)
        if request.lease is not None and self._leases is not None:
            self._leases.hold(request.lease, request)
        request.check()

    def end(self, request: "RunningRequest") -> None:
        for name in request.names:
            of_name = self._running[name]
            of_name.discard(request)
            if not of_name:
                del self._running[name]
        if request.lease is not None and self._leases is not None:
            self._leases.release(request.lease, request)

    def count(self, reason: str) -> None:
        """Count a request that ends: cancelled, superseded, or lease."""
        if self._metrics is not None:
            self._metrics.cancelled(reason)


class RunningRequest:
    """A request that waits for the device, in the asyncio task that enters this.

    A cancel ends the wait of the task with CancelledError: so the request leaves its flight, whose
    rows are dropped if it was the last one.
    """

    def __init__(self, cancels: Cancels, arrival: Arrival) -> None:
        self.name = _name(arrival)
        self.names = [self.name]
        """Those by which a newer request supersedes it, see `Cancels.pass_on`."""
        self.lease = arrival.lease
        self.error: Cancelled | None = None
        """Why it ends, once it is known that it ends."""
        self.since = 0.0
        """Since when it waits, in seconds of the engine's clock."""
        self._flight: Flight | None = None
        self._is_final = arrival.job.request.final
        self.supersedes = None if arrival.job.request.supersedes is None else _superseded_name(arrival)
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
            self._end(found.reason, _error(found.reason))

    def lapse(self) -> None:
        """Its lease ran out."""
        assert self.lease is not None
        sentence = f"The lease {self.lease.name!r} ran out: its client sent no heartbeat for {self.lease.lasts_s:g} s."
        self._end("lease", Cancelled(sentence))

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


def _name(arrival: Arrival) -> RequestName:
    return RequestName(arrival.job.tenant, arrival.reply_id)


def _superseded_name(arrival: Arrival) -> RequestName:
    assert arrival.job.request.supersedes is not None
    return RequestName(arrival.job.tenant, arrival.job.request.supersedes)


def _error(reason: str) -> Cancelled:
    if reason == Superseded.code:
        return Superseded("A newer request takes the place of this one, as its sender has said.")
    return Cancelled("The request was cancelled by its sender.")
