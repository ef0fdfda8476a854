"""From a request's text to its answer: cache and flight, prepare, batch, run, finish."""

import asyncio
import math
import unicodedata
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

import msgspec

from ...schemas.messages import BatchInfo, CacheStatus, Timings
from ..errors import Overloaded, Poison, UnknownModel
from ..tasks.base import Task
from .batcher import Batcher
from .cache.disk import DiskCache
from .cache.keys import content_key, content_prefix
from .cache.memory import MemoryCache
from .device import Device
from .flights import Flight, Flights
from .preparing import Preparer

NO_OPTIONS: Mapping[str, Any] = {}

HEADROOM = 0.75
"""So much of the time up to its deadline a request may be predicted to wait: predictions scatter, and what ends too
late took the place of something that would not have."""


class Job(NamedTuple):
    """What the engine is asked. ``expires`` is in seconds of the engine's clock; no model means the default one."""

    text: str
    model: str | None = None
    options: Mapping[str, Any] = NO_OPTIONS
    tenant: str = ""
    expires: float = math.inf
    priority: int = 1


class EngineAnswer(NamedTuple):
    """``output`` is the JSON of the task's output."""

    output: bytes
    model: str
    version: str
    cache: CacheStatus
    timings: Timings
    batch: BatchInfo | None


class ModelEntry(NamedTuple):
    """A task under the name of a model, and the device it runs on. Several may share one device."""

    task: Task
    device: Device


class Engine:
    """Serves one task by one or several models. Lives on an event loop; preparing and running have their own threads.

    ``async with`` starts and stops the threads. The owner must also await `watch`.
    """

    def __init__(
        self,
        models: Mapping[str, ModelEntry],
        *,
        default: str,
        memory: MemoryCache | None,
        disk: DiskCache | None,
        clock: Callable[[], float],
    ) -> None:
        self._models, self._default, self._clock = models, default, clock
        self._memory, self._disk = memory, disk
        self._by_task = {id(served.task): served.device for served in models.values()}
        self._flights = Flights(clock, lambda flight: self._batcher(flight).hurry(flight.entries))
        self._preparer = Preparer(lambda flight: self._batcher(flight).put, disk, clock)
        # Most requests bring neither options nor a tenant.
        self._plain = {name: _options(served.task, Job("")) for name, served in models.items()}

    async def __aenter__(self) -> "Engine":
        self._loop = asyncio.get_running_loop()
        self._broken: asyncio.Future[None] = self._loop.create_future()
        self._preparer.start(self._land_soon, self._fail_soon)
        for device in self._devices():
            device.start(self._land_soon, self._fail_soon)
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await asyncio.to_thread(self._stop)
        self._broken.cancel()

    async def watch(self) -> None:
        """Return never; raise what ended one of the threads."""
        await asyncio.shield(self._broken)

    def begin(self, job: Job) -> EngineAnswer | Flight:
        """The answer from memory, or the flight that will bring it: pass that to `arrive`.

        Synchronous, so that a cached answer costs no task. Raises UnknownModel, UnknownOption or WrongType,
        Overloaded where the device could not be reached before the deadline, Poison.
        """
        began = self._clock()
        served, text, options, key = self._identify(job)
        if (answer := self._remembered(served.task, key, began)) is not None:
            return answer
        flight = self._flights.join(key, job.expires, job.priority) if self._memory is not None else None
        if flight is None:
            self._check(served.device, key, job, began)
            flight = Flight(key, served.task, text, options, began, job.expires, job.priority)
            flight.suspect = served.device.is_suspect(key)
            if self._memory is not None:
                self._flights.start(flight)
            self._preparer.put(flight)
        return flight

    def lookup(self, job: Job) -> EngineAnswer | None:
        """The answer if it is in memory; nothing is begun. Raises UnknownModel, UnknownOption or WrongType."""
        began = self._clock()
        served, _, _, key = self._identify(job)
        return self._remembered(served.task, key, began)

    def _identify(self, job: Job) -> tuple[ModelEntry, str, Any, bytes]:
        """Who serves the job, its text in normal form, its checked options, and the key of all that."""
        name = job.model or self._default
        served = self._models.get(name)
        if served is None:
            raise UnknownModel(
                f"There is no model {name!r} here; this worker serves {', '.join(self._models)}."
            )
        plain = not job.options and not job.tenant
        options, prefix = self._plain[name] if plain else _options(served.task, job)
        text = job.text.strip()
        if not text.isascii():
            text = unicodedata.normalize("NFC", text)
        return served, text, options, content_key(prefix, text)

    def _remembered(self, task: Task, key: bytes, began: float) -> EngineAnswer | None:
        stored = self._memory.get(key) if self._memory is not None else None
        if stored is None:
            return None
        return EngineAnswer(stored, task.model, task.version, "memory", _total(began, self._clock()), None)

    def _check(self, device: Device, key: bytes, job: Job, now: float) -> None:
        """Keep off the device what must not, or could not in time, run there."""
        if device.is_poison(key):
            raise Poison("This text ended the worker's process each time it ran alone: it is not run again.")
        if job.expires == math.inf:
            return
        wait_s, allowed_s = device.wait_s(job.priority, len(self._preparer)), (job.expires - now) * HEADROOM
        if wait_s > allowed_s:
            raise Overloaded(
                f"The device is busy for {wait_s:.1f} s, longer than the deadline allows: come back later.",
                retry_after_ms=math.ceil((wait_s - allowed_s) * 1e3),
            )

    async def arrive(self, flight: Flight, expires: float = math.inf) -> EngineAnswer:
        """The answer of a flight. Raises its error, or DeadlineExceeded when ``expires`` comes first."""
        joined = bool(flight.waiters) or flight.over
        began = self._clock() if joined else flight.started
        await self._flights.wait(flight, expires)
        assert isinstance(flight.result, bytes)
        task = flight.task
        if joined or flight.from_disk:
            status: CacheStatus = "flight" if joined else "disk"
            return EngineAnswer(
                flight.result, task.model, task.version, status, _total(began, self._clock()), None
            )
        rows, tokens, padded = flight.shape
        status = "miss" if self._memory is not None else "off"
        timings, batch = _timings(flight, self._clock()), BatchInfo(rows, tokens, padded)
        return EngineAnswer(flight.result, task.model, task.version, status, timings, batch)

    @property
    def backlog_s(self) -> float:
        """Predicted seconds until all that waits now would have run, on the device where that is longest."""
        return max(device.backlog_s for device in self._by_task.values())

    async def answer(self, job: Job) -> EngineAnswer:
        """`begin` and `arrive` in one."""
        found = self.begin(job)
        return found if isinstance(found, EngineAnswer) else await self.arrive(found, job.expires)

    def _land_soon(self, flights: list[Flight]) -> None:
        """Called from the threads."""
        self._loop.call_soon_threadsafe(self._land, flights)

    def _fail_soon(self, error: BaseException) -> None:
        """Called from the threads."""
        self._loop.call_soon_threadsafe(self._fail, error)

    def _land(self, flights: Iterable[Flight]) -> None:
        for flight in flights:
            if self._memory is not None and isinstance(flight.result, bytes):
                self._memory.put(flight.key, flight.result)
                if self._disk is not None and not flight.from_disk:
                    self._disk.put(flight.key, flight.result)
            self._flights.land(flight)

    def _fail(self, error: BaseException) -> None:
        if not self._broken.done():
            self._broken.set_exception(error)

    def _batcher(self, flight: Flight) -> Batcher:
        return self._by_task[id(flight.task)].batcher

    def _devices(self) -> list[Device]:
        return list({id(served.device): served.device for served in self._models.values()}.values())

    def _stop(self) -> None:
        self._preparer.stop()
        for device in self._devices():
            device.stop()
        if self._disk is not None:
            self._disk.close()


def _options(task: Task, job: Job) -> tuple[Any, bytes]:
    """The checked options, and all of the content key but the text."""
    checked = task.options(job.options)
    return checked, content_prefix(job.tenant, task.digest, task.name, msgspec.json.encode(checked))


def _total(began: float, now: float) -> Timings:
    return Timings(total_ms=_ms(now - began))


def _timings(flight: Flight, now: float) -> Timings:
    return Timings(
        prepare_ms=_ms(flight.prepared - flight.started),
        wait_ms=_ms(flight.ran - flight.prepared),
        run_ms=_ms(flight.run_ms / 1e3),
        finish_ms=_ms(flight.landed - flight.ran - flight.run_ms / 1e3),
        total_ms=_ms(now - flight.started),
    )


def _ms(seconds: float) -> float:
    return round(seconds * 1e3, 3)
