"""The engine: from a request's text to its answer, by cache, single-flight, batches and runs."""

import asyncio
import math
from collections.abc import Callable, Collection, Mapping
from typing import Any, NamedTuple, Self

from ...schemas.messages import BatchInfo, CacheStatus, Timings
from ..config import MAX_REQUEST_TOKENS
from ..errors import ModelElsewhere, Overloaded, Poison
from ..tasks.base import Task
from .cache.disk import DiskCache
from .cache.keys import content_key
from .cache.memory import MemoryCache
from .device import Device
from .flights import Dropped, Flight, Flights
from .job import Job, options_of
from .normal_form import normal_form
from .preparing import Preparer
from .run_limit import TICK_S
from .timings import flight_timings, total_timings

MAX_WAIT_SHARE = 0.75
"""A request is admitted if its predicted wait is at most this share of its remaining time.

Predictions are noisy, and a late answer displaces one that would have been in time.
"""


class EngineAnswer(NamedTuple):
    """The answer to a job. ``output`` is the JSON of the task's output."""

    output: bytes
    model: str
    version: str
    cache: CacheStatus
    timings: Timings
    batch: BatchInfo | None


class ModelEntry(NamedTuple):
    """A task and the device it runs on. Several entries may share one device."""

    task: Task
    device: Device


class Engine:
    """Serves one task by one or several models.

    Lives on an event loop; tokenizing and running have their own threads. ``async with`` starts and
    stops the threads. The owner must also await `watch`.
    """

    def __init__(
        self,
        models: Mapping[str, ModelEntry],
        *,
        default: str,
        memory: MemoryCache | None,
        disk: DiskCache | None,
        clock: Callable[[], float],
        max_tokens: int = MAX_REQUEST_TOKENS,
    ) -> None:
        """A text of more than ``max_tokens``, the overlaps of its rows included, ends as TooLarge."""
        self.flights = Flights(clock)
        self._models = models
        self._devices = list(dict.fromkeys(entry.device for entry in models.values()))
        self._default = default
        self._memory = memory
        self._disk = disk
        self.clock = clock
        self._preparer = Preparer(disk, clock, max_tokens)
        self._took_s = 0.0
        # Checked once: most requests have neither options nor a tenant.
        self._plain = {name: options_of(Job(""), entry.task) for name, entry in models.items()}

    async def __aenter__(self) -> Self:
        self._loop = asyncio.get_running_loop()
        self._broken: asyncio.Future[None] = self._loop.create_future()
        self._preparer.start(self._land_soon, self._fail_soon)
        for device in self._devices:
            device.start(self._land_soon, self._fail_soon)
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await asyncio.to_thread(self._stop)
        self._broken.cancel()

    async def watch(self) -> None:
        """Never return; raise the error of a thread that ended, of `fail`, or of a run that hangs."""
        while not self._broken.done():
            await asyncio.wait([self._broken], timeout=TICK_S)
            for device in self._devices:
                device.check()
        await self._broken

    def begin(self, job: Job) -> EngineAnswer | Flight:
        """The answer from memory, or the flight that will bring it: pass that to `arrive`.

        Synchronous, so that a cached answer needs no asyncio task (docs/decisions/0004). Raises
        ModelElsewhere, UnknownOption, WrongType, Poison, or Overloaded if the device cannot run it
        before the deadline.
        """
        began = self.clock()
        model, text, options, key = self._identify(job)
        if (answer := self._cached(model.task, key, began)) is not None:
            return answer
        flight = self.flights.join(key, job.expires, job.priority) if self._memory is not None else None
        if flight is None:
            suspect = model.device.is_suspect(key)
            self._check(model.device, key if suspect else None, job, began)
            flight = Flight(
                key,
                model.task,
                model.device.batcher,
                text,
                options,
                started_at=began,
                suspect=suspect,
                tenant=job.tenant,
                expires=job.expires,
                priority=job.priority,
            )
            if self._memory is not None:
                self.flights.start(flight)
            flight.batcher.expect(flight)
            self._preparer.put(flight)
        return flight

    def lookup(self, job: Job) -> EngineAnswer | None:
        """The answer if it is in memory. Raises ModelElsewhere, UnknownOption or WrongType."""
        began = self.clock()
        model, _, _, key = self._identify(job)
        return self._cached(model.task, key, began)

    def _identify(self, job: Job) -> tuple[ModelEntry, str, Any, bytes]:
        """Resolve the model, the normalized text, the checked options and the content key."""
        name = job.model or self._default
        model = self._models.get(name)
        if model is None:
            raise ModelElsewhere(
                f"There is no model {name!r} here; this worker serves {', '.join(self._models)}. Only another "
                "worker of its group could have it."
            )
        plain = not job.options and not job.tenant
        options, prefix = self._plain[name] if plain else options_of(job, model.task)
        text = normal_form(job.text)
        return model, text, options, content_key(prefix, text)

    def _cached(self, task: Task, key: bytes, began: float) -> EngineAnswer | None:
        stored = self._memory.get(key) if self._memory is not None else None
        if stored is None:
            return None
        return EngineAnswer(
            stored, task.model, task.version, "memory", total_timings(began, self.clock()), None
        )

    def _check(self, device: Device, suspect: bytes | None, job: Job, now: float) -> None:
        """Raise Poison for known-bad content, Overloaded if the deadline cannot be met."""
        if suspect is not None and device.is_poison(suspect):
            raise Poison("This text ended the worker's process each time it ran alone: it is not run again.")
        if job.expires == math.inf:
            return
        wait_s = device.wait_s(job, now)
        allowed_s = (job.expires - now) * MAX_WAIT_SHARE
        if wait_s > allowed_s:
            raise Overloaded(
                f"The device is busy for {wait_s:.1f} s, longer than the deadline allows: come back later.",
                retry_after_ms=math.ceil((wait_s - allowed_s) * 1e3),
            )

    async def arrive(self, flight: Flight, job: Job) -> EngineAnswer:
        """The answer to the job, whose flight this is. Raises its error, or DeadlineExceeded.

        A job never ends for the deadline of another one: if its flight did, it gets a new flight.
        """
        while True:
            try:
                return await self._arrival(flight, job.expires)
            except Dropped:
                found = self.begin(job)
            if isinstance(found, EngineAnswer):
                return found
            flight = found

    async def _arrival(self, flight: Flight, expires: float) -> EngineAnswer:
        joined = bool(flight.waiters) or flight.landed
        began = self.clock() if joined else flight.started_at
        output = await self.flights.wait(flight, expires)
        task = flight.task
        if joined or flight.batch is None:
            status: CacheStatus = "flight" if joined else "disk"
            return EngineAnswer(
                output, task.model, task.version, status, total_timings(began, self.clock()), None
            )
        status = "miss" if self._memory is not None else "off"
        batch = BatchInfo(flight.batch.rows, flight.batch.tokens, flight.batch.padded_tokens)
        timings = flight_timings(flight, flight.batch.ms, self.clock())
        return EngineAnswer(output, task.model, task.version, status, timings, batch)

    async def answer(self, job: Job) -> EngineAnswer:
        """`begin` and `arrive` in one."""
        found = self.begin(job)
        return found if isinstance(found, EngineAnswer) else await self.arrive(found, job)

    @property
    def backlog_s(self) -> float:
        """Predicted seconds until all that waits has run, on the device with most of it."""
        return max(device.backlog_s for device in self._devices)

    @property
    def delay_s(self) -> float:
        """How long everybody waits: `backlog_s`, or less if the quickest text of the last batch took less.

        The rows of a long text are a backlog that holds up no other tenant.
        """
        return min(self.backlog_s, self._took_s)

    def fail(self, error: BaseException) -> None:
        """End `watch` with this error: the engine cannot go on. Call it on the event loop."""
        if not self._broken.done():
            self._broken.set_exception(error)

    def _land_soon(self, flights: list[Flight]) -> None:
        """`_land` for the other threads."""
        self._loop.call_soon_threadsafe(self._land, flights)

    def _fail_soon(self, error: BaseException) -> None:
        """`fail` for the other threads."""
        self._loop.call_soon_threadsafe(self.fail, error)

    def _land(self, flights: Collection[Flight]) -> None:
        ran = (flight for flight in flights if flight.batch is not None and isinstance(flight.result, bytes))
        self._took_s = min((one.finished_at - one.started_at for one in ran), default=self._took_s)
        for flight in flights:
            if self._memory is not None and isinstance(flight.result, bytes):
                self._memory.put(flight.key, flight.result)
                # Without a batch the answer was read from the disk.
                if self._disk is not None and flight.batch is not None:
                    self._disk.put(flight.key, flight.result)
            self.flights.land(flight)

    def _stop(self) -> None:
        self._preparer.stop()
        for device in self._devices:
            device.stop()
        if self._disk is not None:
            self._disk.close()
