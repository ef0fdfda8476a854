"""A chaos run: brokers, workers, load and faults, then the audit."""

import asyncio
import time
from collections.abc import Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, Final

import msgspec

from ....schemas.topics import Topics
from ...broker.base import Broker, Consumer
from ...broker.kafka.broker import KafkaBroker
from ...config import Config
from ...kafka_local.cluster import LocalKafka
from ...serving.build import topic_specs
from ..load.pace import Bursts, ConstantRate, LoadGenerator, Pace, Saturating
from ..load.requests import requests
from .auditing import Judgment, auditor, final_judgment
from .client_load import ClientLoad
from .faults import FaultInjector
from .faulty_session import DeviceCounts
from .report import WARM_SHARE, ChaosReport
from .request_log import ObservedEnd, RequestLog
from .scenario import TASK, Scenario
from .schedule import calm_s, schedule
from .worker_pool import WorkerPool

READY_S: Final = 90.0
SETTLE_S: Final = 90.0
FLUSH_S: Final = 60.0
POLL_S: Final = 0.2
SAMPLE_S: Final = 0.5
MAX_LONGER: Final = 0.5
"""Faults take longer on a slow machine: the load may be prolonged by this share."""


class Runner:
    """Runs one scenario on a Kafka that runs. ``show`` is called with each step."""

    def __init__(
        self,
        scenario: Scenario,
        kafka: LocalKafka,
        folder: Path,
        *,
        seconds: float,
        seed: int,
        show: Callable[[str], None],
    ) -> None:
        self._scenario = scenario
        self._kafka = kafka
        self._folder = folder
        self._seconds = seconds
        self._seed = seed
        self._show = show
        self._calm_s = calm_s(scenario, seconds)
        self._planned = schedule(scenario, seconds, seed)
        self._config = config_of(scenario, kafka.bootstrap)
        self._topics = Topics(TASK, self._config.kafka.topic_prefix)
        self._requests = RequestLog(self._topics)
        self._open: list[tuple[float, int]] = []
        self._loaded_s = seconds

    async def run(self) -> ChaosReport:
        """Send load, inject faults, wait for open requests, audit. Raises BrokerError."""
        async with AsyncExitStack() as stack:
            broker = await stack.enter_async_context(KafkaBroker(self._config.kafka))
            await broker.ensure_topics(topic_specs(self._topics, self._config.kafka, self._config.retries))
            pool = WorkerPool(self._folder, self._config, self._scenario.restart_after_s, self._now_s)
            stack.callback(pool.stop)
            await self._start(pool)
            group = f"{self._topics.prefix}.{TASK}"  # the workers' default
            injector = FaultInjector(self._kafka, pool, self._topics.requests, group, self._now_s)
            client_load = ClientLoad(broker, self._topics.prefix)
            settled_s = await self._load_with_faults(broker, pool, injector, client_load)
            self._show("Auditing the topics")
            judgment = await final_judgment(auditor(self._config, self._folder), SETTLE_S / 3)
            return self._report(pool, injector, client_load, settled_s, judgment)

    def _now_s(self) -> float:
        return self._requests.now_s

    async def _start(self, pool: WorkerPool) -> None:
        self._show(f"Starting {self._scenario.workers} workers")
        workers = [pool.start() for _ in range(self._scenario.workers)]
        await asyncio.gather(*(pool.wait_ready(worker, READY_S) for worker in workers))

    async def _load_with_faults(
        self, broker: Broker, pool: WorkerPool, injector: FaultInjector, client_load: ClientLoad
    ) -> float | None:
        """When the last request ended; None when some were still open after the limit."""
        replies = await broker.consume([self._topics.replies, self._topics.dead_letters])
        self._requests = RequestLog(self._topics)  # its time begins now
        async with asyncio.TaskGroup() as tasks:
            watching = [
                tasks.create_task(self._read(replies)),
                tasks.create_task(pool.supervise()),
                tasks.create_task(self._sample_open()),
            ]
            faults = tasks.create_task(self._inject(injector))
            client = tasks.create_task(self._load_client(client_load))
            await self._load(broker, faults)
            injector.too_late = True
            await faults
            await client
            self._show("The load is over; waiting for open requests")
            settled_s = await self._settle()
            for task in watching:
                task.cancel()
        return settled_s

    async def _load(self, broker: Broker, faults: "asyncio.Task[None]") -> None:
        """The calm, then the storm until the last fault has ended, within a limit."""
        generator = LoadGenerator(broker, self._topics, self._requests.sent)
        scenario = self._scenario
        self._show("Calm")
        calm = requests(scenario.mix, "calm", self._seed)
        await generator.send(calm, self._pace(calm=True), lambda: self._now_s() >= self._calm_s)

        def over() -> bool:
            left_s = self._seconds - self._now_s()
            return left_s <= 0 and (faults.done() or left_s <= -self._seconds * MAX_LONGER)

        storm = requests(scenario.storm_mix, "storm", self._seed)
        await generator.send(storm, self._pace(calm=False), over)
        self._loaded_s = self._now_s()
        await generator.flush(FLUSH_S)

    async def _load_client(self, client_load: ClientLoad) -> None:
        if per_s := self._scenario.customer_per_s:
            await client_load.send(per_s, time.monotonic() + self._seconds)

    def _pace(self, *, calm: bool) -> Pace:
        load = self._scenario.load
        if not calm and load.times_capacity:
            warm_s = self._calm_s * WARM_SHARE
            return ConstantRate(
                load.times_capacity * answered_per_s(self._requests.seen, warm_s, self._calm_s)
            )
        if load.burst:
            return Bursts(load.burst, load.burst_every_s)
        if load.open:
            return Saturating(load.open, lambda: self._requests.open)
        return ConstantRate(load.per_s)

    async def _inject(self, injector: FaultInjector) -> None:
        async with asyncio.TaskGroup() as tasks:
            for fault in self._planned:
                await asyncio.sleep(max(0.0, fault.at_s - self._now_s()))
                self._show(f"{fault.kind.replace('_', ' ')} ({self._requests.open} requests open)")
                tasks.create_task(injector.inject(fault))

    async def _read(self, replies: Consumer) -> None:
        while True:
            for record in await replies.poll(2_000, 100):
                self._requests.read(record)

    async def _sample_open(self) -> None:
        while True:
            self._open.append((self._now_s(), self._requests.open))
            await asyncio.sleep(SAMPLE_S)

    async def _settle(self) -> float | None:
        end = time.monotonic() + SETTLE_S
        while self._requests.open > 0:
            if time.monotonic() > end:
                return None
            await asyncio.sleep(POLL_S)
        return self._requests.seen[-1].at_s if self._requests.seen else 0.0

    def _report(
        self,
        pool: WorkerPool,
        injector: FaultInjector,
        client_load: ClientLoad,
        settled_s: float | None,
        judgment: Judgment,
    ) -> ChaosReport:
        statuses = pool.statuses()
        client_replies = self._requests.client_replies
        return ChaosReport(
            scenario=self._scenario,
            seed=self._seed,
            seconds=self._loaded_s,
            calm_s=self._calm_s,
            skipped=injector.skipped,
            planned=self._planned,
            happened=injector.injected,
            exits=pool.exits,
            seen=self._requests.seen,
            sent=self._requests.sent_at,
            open=self._open,
            memory_mb=pool.memory_mb,
            rebalances=max((status.rebalances for status in statuses), default=0),
            device=DeviceCounts(
                rows=sum(status.rows for status in statuses),
                late_rows=sum(status.late_rows for status in statuses),
                latest_s=max((status.latest_s for status in statuses), default=0.0),
            ),
            settled_s=settled_s,
            judgment=judgment,
            customer_answers=len(client_load.answers),
            customer_doubled=client_load.doubled,
            customer_repeated=client_replies.total() - len(client_replies),
            customer_unanswered=client_load.unanswered,
            ready_s=pool.ready_s,
        )


def config_of(scenario: Scenario, bootstrap: str) -> Config:
    """The scenario's settings. One lane for each worker: brokers and load share the CPU."""
    tables: dict[str, dict[str, Any]] = {
        "kafka": {"bootstrap": bootstrap, "partitions": scenario.partitions, "replication": scenario.brokers},
        "engine": {"lanes": 1},
        "cache": {"enabled": scenario.cache},
    }
    for name, changes in scenario.config.items():
        tables[name] = tables.get(name, {}) | changes
    return msgspec.convert(tables, Config)


def answered_per_s(seen: list[ObservedEnd], begin_s: float, end_s: float) -> float:
    """Results per second between two times; at least 1, because a pace must not be 0."""
    results = sum(begin_s <= end.at_s < end_s and end.code == "result" for end in seen)
    return max(1.0, results / (end_s - begin_s))
