"""Makes the scheduled faults happen, each with its end."""

import asyncio
import os
import shutil
import signal
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Final

from msgspec import Struct

from ...kafka_local.cluster import LocalKafka
from ...kafka_local.wire import coordinator, leaders
from .crew import READY_S, Crew, Member
from .scenario import AREAS
from .schedule import Fault

GARBAGE_BYTES: Final = 4_096
BETWEEN_RESTARTS_S: Final = 2.0
"""For the replicas to catch up, before the next broker of a rolling restart goes."""


class Happened(Struct):
    """A fault that came to pass. ``partitions`` are those that its worker had."""

    kind: str
    began_s: float
    ended_s: float
    what: str
    partitions: list[int] = []


class NoVictimError(Exception):
    """Nothing is there now that the fault could befall."""


class Injector:
    """Breaks what is there: a cluster of brokers and a crew of workers."""

    def __init__(
        self, kafka: LocalKafka, crew: Crew, topic: str, group: str, now_s: Callable[[], float]
    ) -> None:
        self._kafka, self._crew, self._topic, self._group, self._now_s = kafka, crew, topic, group, now_s
        self._areas = {area: asyncio.Lock() for area in AREAS.values()}
        self.happened: list[Happened] = []
        self.too_late = False
        """Set when the load is over: what has not begun by then does not happen any more."""
        self.skipped = 0

    async def inject(self, fault: Fault) -> None:
        """Let the fault happen, and end. One that is due waits for the one before it in its area."""
        does: dict[str, Callable[[Fault, Happened], Awaitable[None]]] = {
            "kill_worker": self._kill_worker,
            "stop_worker": self._stop_worker,
            "suspend_worker": self._suspend_worker,
            "join_and_leave": self._join_and_leave,
            "kill_leader": self._kill_broker,
            "kill_coordinator": self._kill_broker,
            "suspend_broker": self._suspend_broker,
            "rolling_restart": self._rolling_restart,
            "delete_cache": self._delete_cache,
            "garble_cache": self._garble_cache,
            "step_clock": self._step_clock,
            "stall_device": self._upset_device,
            "fail_device": self._upset_device,
            "shrink_device": self._upset_device,
        }
        async with self._areas[AREAS[fault.kind]]:
            if self.too_late:
                self.skipped += 1
                return
            happened = Happened(fault.kind, self._now_s(), self._now_s(), "")
            self.happened.append(happened)
            try:
                await does[fault.kind](fault, happened)
            except NoVictimError:
                self.happened.remove(happened)
                self.skipped += 1
            happened.ended_s = self._now_s()

    def _victim(self, fault: Fault) -> Member:
        """A worker that has partitions. Raises NoVictimError while there is none."""
        able = [one for one in self._crew.active() if one.status.partitions and not one.suspended]
        if not able:
            raise NoVictimError
        return able[int(fault.pick * len(able))]

    async def _kill_worker(self, fault: Fault, happened: Happened) -> None:
        await self._end_worker(fault, happened, signal.SIGKILL)

    async def _stop_worker(self, fault: Fault, happened: Happened) -> None:
        await self._end_worker(fault, happened, signal.SIGTERM)

    async def _end_worker(self, fault: Fault, happened: Happened, number: signal.Signals) -> None:
        member = self._victim(fault)
        happened.what, happened.partitions = f"worker {member.number}", member.status.partitions
        member.condemned = True
        happened.began_s = self._now_s()
        member.signal(number)
        await asyncio.to_thread(member.process.wait)

    async def _suspend_worker(self, fault: Fault, happened: Happened) -> None:
        member = self._victim(fault)
        happened.what, member.suspended = f"worker {member.number}", True
        member.signal(signal.SIGSTOP)
        try:
            await asyncio.sleep(fault.seconds)
        finally:
            member.signal(signal.SIGCONT)
            member.suspended = False

    async def _join_and_leave(self, fault: Fault, happened: Happened) -> None:
        member = self._crew.start()
        happened.what = f"worker {member.number}"
        await self._crew.ready(member, READY_S)
        await asyncio.sleep(fault.seconds)
        await self._crew.leave(member)

    async def _kill_broker(self, fault: Fault, happened: Happened) -> None:
        number = await self._broker(fault)
        happened.what = f"broker {number}"
        await asyncio.to_thread(self._kafka.kill, number)
        await asyncio.sleep(fault.seconds)
        await asyncio.to_thread(self._kafka.restart, number)

    async def _broker(self, fault: Fault) -> int:
        """The leader of a partition, or the group's coordinator; any broker where nobody knows it."""
        running = self._kafka.running()
        brokers = self._kafka.addresses
        if fault.kind == "kill_leader":
            led = await asyncio.to_thread(leaders, brokers, self._topic)
            found = led.get(int(fault.pick * len(led)))
        else:
            found = await asyncio.to_thread(coordinator, brokers, self._group)
        return found if found in running else running[int(fault.pick * len(running))]

    async def _suspend_broker(self, fault: Fault, happened: Happened) -> None:
        running = self._kafka.running()
        number = running[int(fault.pick * len(running))]
        happened.what = f"broker {number}"
        self._kafka.suspend(number)
        try:
            await asyncio.sleep(fault.seconds)
        finally:
            self._kafka.resume(number)
        await asyncio.to_thread(self._kafka.wait_ready, number)

    async def _rolling_restart(self, fault: Fault, happened: Happened) -> None:
        for number in self._kafka.running():
            happened.what = f"broker {number}"
            await asyncio.to_thread(self._kafka.restart, number)
            await asyncio.sleep(BETWEEN_RESTARTS_S)
        happened.what = "all brokers"

    async def _delete_cache(self, fault: Fault, happened: Happened) -> None:
        await asyncio.to_thread(shutil.rmtree, self._crew.home / "answers", ignore_errors=True)

    async def _garble_cache(self, fault: Fault, happened: Happened) -> None:
        files = await asyncio.to_thread(garble, self._crew.home / "answers")
        happened.what = f"{files} files"

    async def _step_clock(self, fault: Fault, happened: Happened) -> None:
        members = self._crew.active()
        if not members:
            return
        member = members[int(fault.pick * len(members))]
        member.mood.clock_off_s = fault.seconds
        happened.what = f"worker {member.number}: {fault.seconds:+.0f} s"
        member.set_mood()

    async def _upset_device(self, fault: Fault, happened: Happened) -> None:
        members = self._crew.active()
        if not members:
            return
        member, until = members[int(fault.pick * len(members))], time.monotonic() + fault.seconds
        match fault.kind:
            case "stall_device":
                member.mood.stalled_until = until
            case "fail_device":
                member.mood.away_until = until
            case _:
                member.mood.small_until = until
        happened.what = f"worker {member.number}"
        member.set_mood()
        await asyncio.sleep(fault.seconds)


def garble(folder: Path) -> int:
    """Write garbage over the beginning of all files; how many there were."""
    files = [path for path in folder.rglob("*") if path.is_file()]
    for path in files:
        try:
            with path.open("r+b") as file:
                file.write(os.urandom(GARBAGE_BYTES))
        except OSError:
            continue
    return len(files)
