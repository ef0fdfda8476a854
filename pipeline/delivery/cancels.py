"""What of the cancels concerns the requests of one worker: on arrival, and while they are in progress."""

import asyncio
import math
from collections.abc import Sequence
from typing import Final

from ...schemas.topics import Header
from ..errors import Superseded
from ..telemetry import TaskMetrics
from .arrival import Arrival
from .cancel_memory import CancelMemory, KnownCancel, RequestName
from .leases import Leases
from .retries import asked_ms
from .running_request import RunningRequest, error_of, name_of, superseded_name

DEFAULT_UNREAD_S: Final = 60.0

ANSWERS_ALL: Final = -math.inf

MAX_SUPERSEDED_BYTES: Final = 4_000_000
"""Names of superseded requests that are kept, about 10 000: one may come back from a retry topic. One that is
forgotten is answered."""


class Cancels:
    """Ends requests that are not wanted any more. Lives on the event loop; `CancelReader` fills it.

    Attributes:
        unread_s: how long an answer in pieces may wait for its reader, see `RunningRequest.was_read`.
        since_ms: the cancels sent from this time on are known, in Unix time. A request that is older
            must wait for `cover`: its cancel may not have been read.
    """

    def __init__(
        self, leases: Leases | None = None, metrics: TaskMetrics | None = None, since_ms: float = ANSWERS_ALL
    ) -> None:
        """Without ``since_ms`` nothing is waited for: there is no reader."""
        self.unread_s = DEFAULT_UNREAD_S
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
        found = self.memory.find(name_of(arrival), asked_ms(arrival), arrival.headers.get(Header.TRACEPARENT))
        if found is not None:
            self.count(found.reason)
            raise error_of(found.reason)

    def check_partial(self, arrival: Arrival) -> None:
        """Raise Superseded if a request that is not final was superseded by one that was read before it."""
        if self.superseded.find(name_of(arrival), asked_ms(arrival), None) is not None:
            self.count(Superseded.code)
            raise error_of(Superseded.code)

    def superseded_by(self, arrival: Arrival) -> RunningRequest | None:
        """The request in progress that this one would supersede, if there is one."""
        for request in self._running.get(superseded_name(arrival), ()):
            if request.may_be_superseded:
                return request
        return None

    def pass_on(self, arrival: Arrival) -> None:
        """This partial ends before it waits: what it supersedes has its name too, and ends in the next turn.

        The newer request names this one alone. If it is a partial of the same poll, its turn comes first, and
        it takes the place of what waits. Of two that name each other the one read first stays.
        """
        earlier = self.superseded_by(arrival)
        name = name_of(arrival)
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
        if (name := superseded_name(arrival)) not in self._running:
            self._remember_superseded(name, arrival)

    def supersede(self, arrival: Arrival) -> None:
        """End the request in progress that this one supersedes, where it waits."""
        if (name := superseded_name(arrival)) in self._running:
            self._remember_superseded(name, arrival)
            self._check(name)

    def _remember_superseded(self, name: RequestName, arrival: Arrival) -> None:
        self.superseded.add(name, KnownCancel(asked_ms(arrival), Superseded.code, None))

    def running(self, arrival: Arrival) -> RunningRequest:
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

    def begin(self, request: RunningRequest) -> None:
        self._running.setdefault(request.name, set()).add(request)
        if request.lease is not None and self._leases is not None:
            self._leases.hold(request.lease, request)
        request.check()

    def end(self, request: RunningRequest) -> None:
        for name in request.names:
            of_name = self._running[name]
            of_name.discard(request)
            if not of_name:
                del self._running[name]
        if request.lease is not None and self._leases is not None:
            self._leases.release(request.lease, request)

    def count(self, reason: str) -> None:
        """Count a request that ends: cancelled, superseded, lease, or unread."""
        if self._metrics is not None:
            self._metrics.cancelled(reason)
