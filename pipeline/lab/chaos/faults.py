"""Injects the scheduled faults and ends each."""

import asyncio
import os
import shutil
import signal
import time
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Final, TypeVar

from msgspec import Struct

from ....schemas.topics import Topics
from ...kafka_local.cluster import LocalKafka
from ...kafka_local.wire import coordinator, leaders
from .scenario import AREAS
from .schedule import Fault
from .topic_faults import TopicFaults
from .worker_pool import READY_S, PoolWorker, WorkerPool

T = TypeVar("T")

GARBAGE_BYTES: Final = 4_096
BETWEEN_RESTARTS_S: Final = 2.0
"""Time for the replicas to catch up before a rolling restart stops the next broker."""


class InjectedFault(Struct):
    """A fault and its target. ``partitions`` are those without a worker after it began."""

    kind: str
    began_s: float
    ended_s: float
    what: str
    partitions: list[int] = []


class NoTargetError(Exception):
    """There is no target for the fault now."""


class FaultInjector:
    """Injects faults into a cluster of brokers and a pool of workers."""

    def __init__(
        self,
        kafka: LocalKafka,
        pool: WorkerPool,
        topics: Topics,
        now_s: Callable[[], float],
        topic_faults: TopicFaults,
        kill_client: Callable[[float], Awaitable[str]],
    ) -> None:
        """``topics``: of its requests the leaders are killed, of its group the coordinator."""
        self._kafka = kafka
        self._pool = pool
        self._topics = topics
        self._now_s = now_s
        self._topic_faults = topic_faults
        self._client_killer = kill_client
        self._areas = {area: asyncio.Lock() for area in AREAS.values()}
        self.injected: list[InjectedFault] = []
        self.skipped = 0
        self.too_late = False
        """Set after the load: faults that have not begun are skipped."""

    async def inject(self, fault: Fault) -> None:
        """Inject the fault and end it. It waits for the end of an earlier fault in its area."""
        methods: dict[str, Callable[[Fault, InjectedFault], Awaitable[None]]] = {
            "kill_worker": self._end_worker,
            "stop_worker": self._end_worker,
            "suspend_worker": self._suspend_worker,
            "join_and_leave": self._join_and_leave,
            "kill_leader": self._kill_broker,
            "kill_coordinator": self._kill_broker,
            "suspend_broker": self._suspend_broker,
            "rolling_restart": self._rolling_restart,
            "delete_cache": self._delete_cache,
            "garble_cache": self._garble_cache,
            "step_clock": self._step_clock,
            "stall_device": self._disturb_device,
            "fail_device": self._disturb_device,
            "shrink_device": self._disturb_device,
            "make_reply_topics": self._make_reply_topics,
            "make_other_topics": self._make_other_topics,
            "remake_topics": self._remake_topics,
            "send_bomb": self._send_bomb,
            "kill_client": self._kill_client,
        }
        async with self._areas[AREAS[fault.kind]]:
            if self.too_late:
                self.skipped += 1
                return
            injected = InjectedFault(fault.kind, self._now_s(), self._now_s(), "")
            self.injected.append(injected)
            try:
                await methods[fault.kind](fault, injected)
            except NoTargetError:
                self.injected.remove(injected)
                self.skipped += 1
            injected.ended_s = self._now_s()

    def _serving_worker(self, fault: Fault) -> PoolWorker:
        """A worker that has partitions. Raises NoTargetError."""
        return _pick(
            fault, [one for one in self._pool.active() if one.status.partitions and not one.suspended]
        )

    async def _end_worker(self, fault: Fault, injected: InjectedFault) -> None:
        worker = self._serving_worker(fault)
        injected.what = f"worker {worker.number}"
        injected.partitions = worker.status.partitions
        worker.ending = True
        injected.began_s = self._now_s()
        worker.process.signal(signal.SIGKILL if fault.kind == "kill_worker" else signal.SIGTERM)
        await asyncio.to_thread(worker.process.wait)

    async def _suspend_worker(self, fault: Fault, injected: InjectedFault) -> None:
        worker = self._serving_worker(fault)
        injected.what = f"worker {worker.number}"
        injected.partitions = worker.status.partitions
        worker.suspended = True
        worker.process.signal(signal.SIGSTOP)
        try:
            await asyncio.sleep(fault.seconds)
        finally:
            worker.process.signal(signal.SIGCONT)
            worker.suspended = False

    async def _join_and_leave(self, fault: Fault, injected: InjectedFault) -> None:
        worker = self._pool.start()
        injected.what = f"worker {worker.number}"
        await self._pool.wait_ready(worker, READY_S)
        await asyncio.sleep(fault.seconds)
        await self._pool.leave(worker)

    async def _kill_broker(self, fault: Fault, injected: InjectedFault) -> None:
        number = await self._broker(fault)
        injected.what = f"broker {number}"
        await asyncio.to_thread(self._kafka.kill, number)
        await asyncio.sleep(fault.seconds)
        await asyncio.to_thread(self._kafka.restart, number)

    async def _broker(self, fault: Fault) -> int:
        """A partition's leader or the group's coordinator; if unknown, any running broker."""
        brokers = self._kafka.addresses
        if fault.kind == "kill_leader":
            by_partition = await asyncio.to_thread(leaders, brokers, self._topics.requests)
            found = by_partition.get(int(fault.pick * len(by_partition)))
        else:
            found = await asyncio.to_thread(coordinator, brokers, group_of(self._topics))
        running = self._kafka.running()
        return found if found in running else _pick(fault, running)

    async def _suspend_broker(self, fault: Fault, injected: InjectedFault) -> None:
        number = _pick(fault, self._kafka.running())
        injected.what = f"broker {number}"
        self._kafka.suspend(number)
        try:
            await asyncio.sleep(fault.seconds)
        finally:
            self._kafka.resume(number)
        await asyncio.to_thread(self._kafka.wait_ready, number)

    async def _rolling_restart(self, fault: Fault, injected: InjectedFault) -> None:
        for number in self._kafka.running():
            injected.what = f"broker {number}"
            await asyncio.to_thread(self._kafka.restart, number)
            await asyncio.sleep(BETWEEN_RESTARTS_S)
        injected.what = "all brokers"

    async def _delete_cache(self, fault: Fault, injected: InjectedFault) -> None:
        await asyncio.to_thread(shutil.rmtree, self._pool.home / "answers", ignore_errors=True)

    async def _garble_cache(self, fault: Fault, injected: InjectedFault) -> None:
        files = await asyncio.to_thread(garble, self._pool.home / "answers")
        injected.what = f"{files} files"

    async def _step_clock(self, fault: Fault, injected: InjectedFault) -> None:
        worker = _pick(fault, self._pool.active())
        worker.faults.clock_off_s = fault.seconds
        injected.what = f"worker {worker.number}: {fault.seconds:+.0f} s"
        worker.apply_faults()

    async def _disturb_device(self, fault: Fault, injected: InjectedFault) -> None:
        worker = _pick(fault, self._pool.active())
        until = time.monotonic() + fault.seconds
        match fault.kind:
            case "stall_device":
                worker.faults.stalled_until = until
            case "fail_device":
                worker.faults.away_until = until
            case _:
                worker.faults.small_until = until
        injected.what = f"worker {worker.number}"
        worker.apply_faults()
        await asyncio.sleep(fault.seconds)

    async def _make_reply_topics(self, fault: Fault, injected: InjectedFault) -> None:
        await self._topic_faults.make_reply_topics(fault.seconds)

    async def _make_other_topics(self, fault: Fault, injected: InjectedFault) -> None:
        await self._topic_faults.make_other_topics(fault.seconds)

    async def _remake_topics(self, fault: Fault, injected: InjectedFault) -> None:
        await self._topic_faults.remake_topics()
        injected.partitions = list(range(self._topic_faults.partitions))

    async def _send_bomb(self, fault: Fault, injected: InjectedFault) -> None:
        injected.what = f"partition {await self._topic_faults.send_bomb(fault.pick)}"

    async def _kill_client(self, fault: Fault, injected: InjectedFault) -> None:
        injected.what = await self._client_killer(fault.seconds)


def group_of(topics: Topics) -> str:
    """The consumer group of the workers, as they choose it."""
    return f"{topics.prefix}.{topics.task}"


def _pick(fault: Fault, targets: Sequence[T]) -> T:
    """The target that the fault's random number chooses. Raises NoTargetError."""
    if not targets:
        raise NoTargetError
    return targets[int(fault.pick * len(targets))]


def garble(folder: Path) -> int:
    """Overwrite the beginning of all files with random bytes. Returns the number of files."""
    files = [path for path in folder.rglob("*") if path.is_file()]
    for path in files:
        try:
            with path.open("r+b") as file:
                file.write(os.urandom(GARBAGE_BYTES))
        except OSError:
            continue
    return len(files)
