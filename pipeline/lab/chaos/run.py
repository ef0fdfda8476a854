"""A chaos run: brokers, workers, load and faults, then what the auditor says."""

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
from .crew import Crew
from .customer import Customer
from .device import Count
from .faults import Injector
from .ledger import Ledger, Seen
from .report import WARM_SHARE, Report
from .scenario import TASK, Scenario
from .schedule import Fault, calm_s, schedule

READY_S: Final = 90.0
SETTLE_S: Final = 90.0
FLUSH_S: Final = 60.0
LOOK_S: Final = 0.2
TICK_S: Final = 0.5
MAX_LONGER: Final = 0.5
"""On a slow machine faults take longer: so much of its time may the load be prolonged for them."""


class Conductor:
    """Runs one scenario on brokers that are up. ``tell`` hears what is going on."""

    def __init__(
        self,
        scenario: Scenario,
        kafka: LocalKafka,
        folder: Path,
        *,
        seconds: float,
        seed: int,
        tell: Callable[[str], None],
    ) -> None:
        self._scenario, self._kafka, self._folder, self._tell = scenario, kafka, folder, tell
        self._seconds, self._seed = seconds, seed
        self._calm_s = calm_s(scenario, seconds)
        self.config = config_of(scenario, kafka.bootstrap)
        self.topics = Topics(TASK, self.config.kafka.topic_prefix)
        self._ledger = Ledger(self.topics)
        self._open: list[tuple[float, int]] = []
        self._loaded_s = seconds

    async def run(self) -> Report:
        """Load, break, settle, judge; ends all workers that it started. Raises BrokerError where it cannot go on."""
        async with AsyncExitStack() as stack:
            broker = await stack.enter_async_context(KafkaBroker(self.config.kafka))
            await broker.ensure_topics(topic_specs(self.topics, self.config.kafka, self.config.retries))
            crew = Crew(
                self._folder,
                self.config,
                self.config.triage.model,
                self._scenario.restart_after_s,
                lambda: self._ledger.now_s,
            )
            stack.callback(crew.stop)
            await self._start(crew)
            injector = Injector(
                self._kafka, crew, self.topics.requests, group_of(self.topics), lambda: self._ledger.now_s
            )
            settled_s = await self._load_and_break(broker, crew, injector)
            self._tell("The auditor reads the topics")
            judgment = await final_judgment(auditor(self.config, self._folder), SETTLE_S / 3)
            return self._report(crew, injector, settled_s, judgment)

    async def _start(self, crew: Crew) -> None:
        self._tell(f"Starting {self._scenario.workers} workers")
        members = [crew.start() for _ in range(self._scenario.workers)]
        await asyncio.gather(*(crew.ready(member, READY_S) for member in members))

    async def _load_and_break(self, broker: Broker, crew: Crew, injector: Injector) -> float | None:
        """When the last request was seen to end; None where some were not within the limit."""
        replies = await broker.consume([self.topics.replies, self.topics.dead_letters])
        self._ledger, self._customer = Ledger(self.topics), Customer(broker, self.topics)
        async with asyncio.TaskGroup() as tasks:
            watching = [
                tasks.create_task(self._read(replies)),
                tasks.create_task(crew.supervise()),
                tasks.create_task(self._look()),
            ]
            planned = schedule(self._scenario, self._seconds, self._seed)
            faults = tasks.create_task(self._break(planned, injector))
            asking = tasks.create_task(self._ask())
            await self._load(broker, faults)
            injector.too_late = True
            await faults
            await asking
            self._tell("The load is over; waiting for what is open")
            settled_s = await self._settle()
            for task in watching:
                task.cancel()
        return settled_s

    async def _load(self, broker: Broker, faults: "asyncio.Task[None]") -> None:
        """The calm, then the storm, which goes on until the last fault is over, within a bound."""
        loadgen, ledger, scenario = (
            LoadGenerator(broker, self.topics, self._ledger.sent),
            self._ledger,
            self._scenario,
        )
        self._tell("Calm")
        calm = requests(scenario.mix, "calm", self._seed)
        await loadgen.send(calm, self._pace(calm=True), lambda: ledger.now_s >= self._calm_s)

        def over() -> bool:
            left_s = self._seconds - ledger.now_s
            return left_s <= 0 and (faults.done() or left_s <= -self._seconds * MAX_LONGER)

        storm = requests(scenario.storm_mix, "storm", self._seed)
        await loadgen.send(storm, self._pace(calm=False), over)
        self._loaded_s = ledger.now_s
        await loadgen.flush(FLUSH_S)

    async def _ask(self) -> None:
        if per_s := self._scenario.customer_per_s:
            await self._customer.ask(per_s, time.monotonic() + self._seconds)

    def _pace(self, *, calm: bool) -> Pace:
        load = self._scenario.load
        if not calm and load.times_capacity:
            warm_s = self._calm_s * WARM_SHARE
            return ConstantRate(load.times_capacity * answered_per_s(self._ledger.seen, warm_s, self._calm_s))
        if load.burst:
            return Bursts(load.burst, load.burst_every_s)
        if load.open:
            return Saturating(load.open, lambda: self._ledger.open)
        return ConstantRate(load.per_s)

    async def _break(self, planned: tuple[Fault, ...], injector: Injector) -> None:
        async with asyncio.TaskGroup() as tasks:
            for fault in planned:
                await asyncio.sleep(max(0.0, fault.at_s - self._ledger.now_s))
                self._tell(f"{fault.kind.replace('_', ' ')} ({self._ledger.open} requests open)")
                tasks.create_task(injector.inject(fault))

    async def _read(self, replies: Consumer) -> None:
        while True:
            for record in await replies.poll(2_000, 100):
                self._ledger.read(record)

    async def _look(self) -> None:
        while True:
            self._open.append((self._ledger.now_s, self._ledger.open))
            await asyncio.sleep(TICK_S)

    async def _settle(self) -> float | None:
        end = time.monotonic() + SETTLE_S
        while self._ledger.open > 0:
            if time.monotonic() > end:
                return None
            await asyncio.sleep(LOOK_S)
        return self._ledger.seen[-1].at_s if self._ledger.seen else 0.0

    def _report(self, crew: Crew, injector: Injector, settled_s: float | None, judgment: Judgment) -> Report:
        statuses = crew.statuses()
        return Report(
            scenario=self._scenario,
            seed=self._seed,
            seconds=self._loaded_s,
            calm_s=self._calm_s,
            skipped=injector.skipped,
            planned=schedule(self._scenario, self._seconds, self._seed),
            happened=injector.happened,
            exits=crew.exits,
            seen=self._ledger.seen,
            sent=self._ledger.sent_at,
            open=self._open,
            memory_mb=crew.memory_mb,
            rebalances=max((status.rebalances for status in statuses), default=0),
            device=Count(
                rows=sum(status.rows for status in statuses),
                late_rows=sum(status.late_rows for status in statuses),
                latest_s=max((status.latest_s for status in statuses), default=0.0),
            ),
            settled_s=settled_s,
            judgment=judgment,
            customer_answers=len(self._customer.answers),
            customer_doubled=self._customer.doubled,
            customer_repeated=self._ledger.customer.total() - len(self._ledger.customer),
            customer_unanswered=self._customer.unanswered,
            ready_s=crew.ready_s,
        )


def config_of(scenario: Scenario, bootstrap: str) -> Config:
    """The scenario's settings, on this Kafka; one lane a worker, since brokers and load share the machine."""
    tables: dict[str, dict[str, Any]] = {
        "kafka": {"bootstrap": bootstrap, "partitions": scenario.partitions, "replication": scenario.brokers},
        "engine": {"lanes": 1},
        "cache": {"enabled": scenario.cache},
    }
    for name, changes in scenario.config.items():
        tables[name] = tables.get(name, {}) | changes
    return msgspec.convert(tables, Config)


def group_of(topics: Topics) -> str:
    """The group that workers of a task join by default."""
    return f"{topics.prefix}.{topics.task}"


def answered_per_s(seen: list[Seen], begin_s: float, end_s: float) -> float:
    """Results a second between two times; at least one, so that it can be a pace."""
    results = sum(begin_s <= one.at_s < end_s and one.code == "result" for one in seen)
    return max(1.0, results / (end_s - begin_s))
