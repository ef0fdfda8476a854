"""The engine: from a request to its answer, by cache, single-flight, batches and steps."""

import asyncio
from collections.abc import Callable, Collection, Mapping
from typing import Self

from msgspec.structs import replace

from ...schemas.messages import CacheStatus
from ..config import MAX_REQUEST_TOKENS
from ..tasks.base import Ask, known_rows
from .cache.disk import DiskCache
from .cache.keys import content_bytes
from .cache.memory import MemoryCache
from .device import Device
from .devices import Devices
from .engine_answer import EngineAnswer
from .flight import Flight, Follow, not_followed
from .flight_ends import Dropped
from .flights import Flights, tell_watchers
from .job import Job
from .model_entry import Served
from .preparing import Preparer
from .questions import JobReader, Question
from .run_limit import TICK_S
from .soundness import number_of_steps
from .take_off import check_time
from .timings import batch_info, flight_timings, total_timings


class Engine:
    """Serves tasks, each by one or several models, which can be exchanged meanwhile.

    Lives on an event loop; tokenizing and running have their own threads. ``async with`` starts and
    stops the threads. The owner must also await `watch`.
    """

    def __init__(
        self,
        models: Mapping[str, Mapping[str, Served]],
        *,
        memory: MemoryCache | None,
        disk: DiskCache | None,
        clock: Callable[[], float],
        max_tokens: int = MAX_REQUEST_TOKENS,
    ) -> None:
        """``models`` by task and name; the first of a task is its default.

        A request with more than ``max_tokens``, the overlaps of its rows included, ends as TooLarge.
        """
        self.flights = Flights(clock)
        self._questions = JobReader(models)
        self.chooser = self._questions.chooser
        self.choosers = self._questions.choosers
        self.devices = Devices({task: self._questions.entries(task) for task in models})
        self._memory = memory
        self._disk = disk
        self.clock = clock
        self._preparer = Preparer(disk, clock, max_tokens)
        self._took_s = 0.0

    async def __aenter__(self) -> Self:
        self._loop = asyncio.get_running_loop()
        self._broken: asyncio.Future[None] = self._loop.create_future()
        self._preparer.start(self._land_soon, self._fail_soon)
        self.devices.start(lambda device: device.start(self._land_soon, self._fail_soon, self._tell_soon))
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self.devices.stopped()
        await asyncio.to_thread(self._stop, list(self.devices))
        self._broken.cancel()

    async def watch(self) -> None:
        """Never return; raise the error of a thread that ended, of `fail`, or of a run that hangs."""
        while not self._broken.done():
            await asyncio.wait([self._broken], timeout=TICK_S)
            self.devices.check()
        await self._broken

    def exchange(self, task: str, models: Mapping[str, Served]) -> None:
        """Serve the task by these models, the first of which is its default, from the next request on.

        What is in the air ends on the model that it began with. Call it on the event loop. From when the models are
        loaded until then, devices must be held (`Devices.held`).
        """
        self._questions.exchange(task, models)
        self.devices.exchange(task, self._questions.entries(task))

    def begin(self, job: Job) -> EngineAnswer | Flight:
        """The answer from memory, or the flight that will bring it: pass that to `arrive`.

        Synchronous, so that a cached answer needs no asyncio task (docs/decisions/0004). Raises
        ModelElsewhere, UnknownOption, WrongType, Poison, or Overloaded if the device cannot run it
        before the deadline.
        """
        began = self.clock()
        question = self._questions.read(job, self.devices.that_began(job) if job.told_by else None)
        # What follows on pieces that were told is computed: a cached answer may come from another kind of device.
        if not job.told and (answer := self._cached(question, began)) is not None:
            return answer
        _, _, choices, key = question
        keep = choices.repeats and self._memory is not None and not job.told
        flight = self.flights.join(key, job.expires, job.priority, not job.request.final) if keep else None
        if flight is None:
            flight = self._take_off(question, job, began)
            if keep:
                self.flights.start(flight)
            self.devices.took_off(flight)
            flight.batcher.expected.expect(flight)
            self._preparer.put(flight)
        return flight

    def _take_off(self, question: Question, job: Job, now: float) -> Flight:
        """A new flight. Raises Poison or Overloaded."""
        (task, device, release), content, choices, key = question
        ask = Ask(content, choices.options, job.told, job.id, job.tenant)
        flight = Flight(
            key,
            task,
            device.batcher,
            ask,
            len(content) if isinstance(content, str) else len(content_bytes(content)),
            started_at=now,
            further_steps=number_of_steps(task.further_steps(ask)),
            known_rows=known_rows(task, ask),
            keep=choices.repeats and not job.told,
            pieces=list(job.told),
            suspect=device.is_suspect(key),
            tenant=job.tenant,
            waited_s=job.waited_s,
            expires=job.expires,
            priority=job.priority,
            partial=not job.request.final,
            release=release,
        )
        check_time(flight, device, now)
        return flight

    def names(self, task: str) -> Collection[str]:
        """The names of models that the task answers for."""
        return self._questions.names(task)

    def resumes(self, task: str) -> bool:
        """Whether the task goes on behind pieces that were told before, see `Job.told`."""
        return self._questions.resumes(task)

    def lookup(self, job: Job) -> EngineAnswer | None:
        """The answer if it is in memory. Raises ModelElsewhere, UnknownOption or WrongType."""
        began = self.clock()
        return self._cached(self._questions.read(job), began)

    def _cached(self, question: Question, began: float) -> EngineAnswer | None:
        entry, _, choices, key = question
        stored = self._memory.get(key) if self._memory is not None and choices.repeats else None
        if stored is None:
            return None
        task = entry.task
        timings = total_timings(began, self.clock())
        return EngineAnswer(stored, task.model, task.version, "memory", timings, None, entry.release)

    async def arrive(self, flight: Flight, job: Job, follow: Follow = not_followed) -> EngineAnswer:
        """The answer to the job, whose flight this is. Raises its error, or DeadlineExceeded.

        A job never ends for the deadline of another one: if its flight did, it gets a new flight.
        ``follow`` is called with each flight of the job, for the pieces of its answer.
        """
        while True:
            follow(flight)
            try:
                return await self._arrival(flight, job.expires)
            except Dropped:
                if job.request.stream and flight.pieces:  # some may have been told
                    job = replace(job, told_by=flight.task.version)
                found = self.begin(job)
            if isinstance(found, EngineAnswer):
                return found
            flight = found

    async def _arrival(self, flight: Flight, expires: float) -> EngineAnswer:
        joined = bool(flight.waiters) or flight.landed
        began = self.clock() if joined else flight.started_at
        output = await self.flights.wait(flight, expires)
        task = flight.task
        made: CacheStatus = "miss" if self._memory is not None else "off"
        if joined or flight.batch is None:
            status: CacheStatus = "flight" if joined else made if flight.prepared_at else "disk"
            timings = total_timings(began, self.clock())
            return EngineAnswer(output, task.model, task.version, status, timings, None, flight.release)
        timings = flight_timings(flight, self.clock())
        info = batch_info(flight, flight.batch)
        return EngineAnswer(output, task.model, task.version, made, timings, info, flight.release)

    async def answer(self, job: Job, follow: Follow = not_followed) -> EngineAnswer:
        """`begin` and `arrive` in one."""
        found = self.begin(job)
        return found if isinstance(found, EngineAnswer) else await self.arrive(found, job, follow)

    @property
    def backlog_s(self) -> float:
        """Predicted seconds until all that waits has run, on the device with most of it."""
        return self.devices.backlog_s

    def delays(self, longer_s: float) -> bool:
        """Whether any request waits longer than this: `Device.queue_s` is longer, and so the quickest text of the last
        batch took.

        The rows of a long text are a backlog that holds up no other tenant.
        """
        return self._took_s > longer_s and any(device.queue_s > longer_s for device in self.devices)

    def fail(self, error: BaseException) -> None:
        """End `watch` with this error: the engine cannot go on. Call it on the event loop."""
        if not self._broken.done():
            self._broken.set_exception(error)

    def _land_soon(self, flights: list[Flight]) -> None:
        """`_land` for the other threads."""
        self._loop.call_soon_threadsafe(self._land, flights)

    def _tell_soon(self, flights: list[Flight]) -> None:
        """New pieces have come: call the watchers, unless all look again by themselves. It wakes the event loop."""
        watched = [flight for flight in flights if len(flight.watchers) > flight.not_calling]
        if watched:
            self._loop.call_soon_threadsafe(tell_watchers, watched)

    def _fail_soon(self, error: BaseException) -> None:
        """`fail` for the other threads."""
        self._loop.call_soon_threadsafe(self.fail, error)

    def _land(self, flights: Collection[Flight]) -> None:
        ran = (flight for flight in flights if flight.batch is not None and isinstance(flight.result, bytes))
        self._took_s = min((one.finished_at - one.started_at for one in ran), default=self._took_s)
        for flight in flights:
            if self._memory is not None and flight.keep and isinstance(flight.result, bytes):
                self._memory.put(flight.key, flight.result)
                # Without a batch the answer was read from the disk.
                if self._disk is not None and flight.batch is not None:
                    self._disk.put(flight.key, flight.result)
            if not flight.landed:
                self.devices.landed(flight)
            self.flights.land(flight)

    def _stop(self, devices: Collection[Device]) -> None:
        self._preparer.stop()
        for device in devices:
            device.stop()
        if self._disk is not None:
            self._disk.close()
