"""The devices of an engine: they run as long as any model is on them that is served, or that requests are still on."""

import asyncio
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager

from ..errors import ModelElsewhere
from ..tasks.base import Task
from .device import Device
from .flight import Flight
from .job import Job
from .model_entry import ModelEntry


class Devices:
    """Starts the devices of entries, and stops those that no entry needs any more. Lives on the event loop.

    An entry that is replaced leaves when nothing has flown on it from one `check` to the next: a request whose flight
    ended without an answer may begin another one there in between.
    """

    def __init__(self, served: Mapping[str, Iterable[ModelEntry]]) -> None:
        """``served``: the entries by their task."""
        self._served = {task: tuple(dict.fromkeys(entries)) for task, entries in served.items()}
        self._leaving: dict[ModelEntry, bool] = {}  # whether nothing flew at the last check
        self._flying: dict[Task, int] = {}
        self._started: list[Device] = []
        self._stopping: set[asyncio.Task[None]] = set()
        self._holders = 0

    def __contains__(self, device: object) -> bool:
        """Whether it runs."""
        return device in self._started

    def __iter__(self) -> Iterator[Device]:
        return iter(self._started)

    def start(self, start: Callable[[Device], None]) -> None:
        """Start all devices, and later those of new entries, by ``start``."""
        self._start = start
        self._add(entry for entries in self._served.values() for entry in entries)

    def exchange(self, task: str, entries: Iterable[ModelEntry]) -> None:
        """Serve the task by these entries instead of the present ones, which leave."""
        before = self._served[task]
        self._served[task] = tuple(dict.fromkeys(entries))
        self._add(self._served[task])
        for entry in before:
            if entry not in self._served[task]:
                self._leaving[entry] = False
        for entry in self._served[task]:
            self._leaving.pop(entry, None)

    @contextmanager
    def held(self) -> Iterator[None]:
        """Stop no device meanwhile: a model that is being loaded may share one that is not needed else."""
        self._holders += 1
        try:
            yield
        finally:
            self._holders -= 1

    def find(self, task: str, version: str) -> ModelEntry | None:
        """The entry of the task with this version, also one that leaves."""
        for entries in (self._served.get(task, ()), self._leaving):
            for entry in entries:
                if entry.task.name == task and entry.task.version == version:
                    return entry
        return None

    def that_began(self, job: Job) -> ModelEntry:
        """The entry that has told the first pieces of its answer (`Job.told_by`). Raises ModelElsewhere."""
        entry = self.find(job.task, job.told_by)
        if entry is None:
            raise ModelElsewhere(
                f"The model that began this answer, of the version {job.told_by}, is not here any more: send the "
                "request again."
            )
        return entry

    @property
    def backlog_s(self) -> float:
        """The longest `Device.backlog_s`."""
        longest_s = 0.0
        for device in self._started:  # read for each reply: a generator would cost more than the rest
            if (backlog_s := device.backlog_s) > longest_s:
                longest_s = backlog_s
        return longest_s

    def took_off(self, flight: Flight) -> None:
        """Call it for each flight before it begins."""
        self._flying[flight.task] = self._flying.get(flight.task, 0) + 1

    def landed(self, flight: Flight) -> None:
        """Call it once for each flight when it ends."""
        left = self._flying[flight.task] - 1
        if left:
            self._flying[flight.task] = left
        else:
            del self._flying[flight.task]

    def check(self) -> None:
        """Call it every `run_limit.TICK_S`. Raises DeviceLost for a run that does not return.

        Entries that have left are forgotten, and what ran for them alone is stopped.
        """
        for device in self._started:
            device.check()
        if self._holders:
            return
        for entry, was_idle in list(self._leaving.items()):
            is_idle = entry.task not in self._flying
            if is_idle and was_idle:
                del self._leaving[entry]
            else:
                self._leaving[entry] = is_idle
        needed = self._needed
        for device in [device for device in self._started if device not in needed]:
            self._started.remove(device)
            device.is_ending = True
            stopping = asyncio.create_task(asyncio.to_thread(device.stop))
            self._stopping.add(stopping)
            stopping.add_done_callback(self._stopping.discard)

    async def stopped(self) -> None:
        """Return when the devices that are being stopped have stopped."""
        await asyncio.gather(*self._stopping)

    @property
    def _needed(self) -> Collection[Device]:
        served = {entry.device for entries in self._served.values() for entry in entries}
        return served | {entry.device for entry in self._leaving}

    def _add(self, entries: Iterable[ModelEntry]) -> None:
        for device in dict.fromkeys(entry.device for entry in entries):
            if device not in self._started:
                self._start(device)
                self._started.append(device)
