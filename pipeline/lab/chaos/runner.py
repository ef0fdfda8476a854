"""A chaos run: brokers, workers, load and faults, then the audit."""

import asyncio
import time
from collections.abc import Callable, Coroutine, Sequence
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path
from typing import Any, Final

from ....schemas.topics import Topics
from ...broker.base import Broker, Consumer
from ...broker.kafka.broker import KafkaBroker
from ...kafka_local.cluster import LocalKafka
from ...serving.topics import topic_specs
from ..load.pace import LoadGenerator
from ..load.requests import requests
from ..steps import Steps
from ..steps_definition import know_steps
from .auditing import Judgment, auditor, final_judgment
from .broker_times import stored_requests, with_broker_times
from .client_load import ClientLoad
from .customers import Customers
from .faults import FaultInjector, group_of
from .faulty_session import DeviceCounts
from .pacing import pace_of
from .report import ChaosReport
from .request_log import ABORTED, ObservedEnd, RequestLog
from .sampling import RunSamples
from .scenario import Scenario, config_of
from .schedule import calm_s, schedule
from .strangers import TransactionLoad, final_lag
from .topic_faults import TopicFaults
from .worker_pool import WorkerPool

SETTLE_S: Final = 90.0
FLUSH_S: Final = 60.0
POLL_S: Final = 0.2
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
        self._topics = Topics(scenario.task, self._config.kafka.topic_prefix)
        self._requests = RequestLog(self._topics)
        self._customers = Customers(scenario, self._topics, seed, self._now_s)
        self._samples = RunSamples(self._requests)
        self._pace = partial(pace_of, scenario, self._requests, self._calm_s)
        self._loaded_s = seconds

    async def run(self) -> ChaosReport:
        """Send load, inject faults, wait for open requests, audit. Raises BrokerError."""
        if self._scenario.task == Steps.name:
            know_steps()
        async with AsyncExitStack() as stack:
            broker = await stack.enter_async_context(KafkaBroker(self._config.kafka))
            specs = topic_specs(self._topics, self._config.kafka, self._config.retries)
            await broker.ensure_topics(specs)
            replies = await broker.consume([self._topics.replies, self._topics.dead_letters])
            pool = WorkerPool(self._folder, self._config, self._scenario, self._now_s)
            stack.callback(pool.stop)
            self._show(f"Starting {self._scenario.workers} workers")
            await pool.start_ready(self._scenario.workers)
            topic_faults = TopicFaults(
                broker, self._kafka.bootstrap, specs, self._requests, replies, self._read
            )
            if any(fault.kind == "send_bomb" for fault in self._planned):
                await topic_faults.prepare()
            clients = self._customers.faults(broker, self._config, self._folder)
            injector = FaultInjector(
                self._kafka, pool, self._topics, self._now_s, topic_faults, clients.kill_client
            )
            client_load = ClientLoad(broker, self._topics)
            self._requests.begin()
            watching = [self._read(replies), pool.supervise(), *self._samples.samplers()]
            settled_s = await self._load_with_faults(broker, watching, injector, client_load)
            partitions = self._scenario.partitions
            lag = await final_lag(
                self._kafka.bootstrap, group_of(self._topics), self._topics.requests, partitions
            )
            self._show("Auditing the topics")
            stored = await stored_requests(broker, self._topics.requests)
            seen = with_broker_times(self._requests.seen, stored)
            judge = auditor(self._scenario.task, self._config, self._folder, self._requests)
            judgment = await final_judgment(judge, SETTLE_S / 3)
            return self._report(pool, injector, client_load, settled_s, judgment, lag, seen)

    def _now_s(self) -> float:
        return self._requests.now_s

    async def _load_with_faults(
        self,
        broker: Broker,
        watching: Sequence[Coroutine[Any, Any, None]],
        injector: FaultInjector,
        client_load: ClientLoad,
    ) -> float | None:
        """When the last request ended; None when some were still open after the limit."""
        async with asyncio.TaskGroup() as tasks:
            watchers = [tasks.create_task(one) for one in watching]
            faults = tasks.create_task(self._inject(injector))
            loads = self._customers.loads(broker, self._seconds, self._calm_s, lambda: injector.too_late)
            loads += [self._load_client(client_load), self._load_transactions()]
            others = [tasks.create_task(one) for one in loads]
            await self._load(broker, faults)
            injector.too_late = True
            await asyncio.wait([faults, *others])
            self._show("The load is over; waiting for open requests")
            settled_s = await self._settle()
            for task in watchers:
                task.cancel()
        return settled_s

    async def _load(self, broker: Broker, faults: "asyncio.Task[None]") -> None:
        """The calm, then the storm until the last fault has ended, within a limit."""
        generator = LoadGenerator(broker, self._topics, self._requests.sent, refused=self._requests.refused)
        self._show("Calm")
        calm = requests(self._scenario.mix, "calm", self._seed)
        await generator.send(calm, self._pace(calm=True), lambda: self._now_s() >= self._calm_s)

        def over() -> bool:
            left_s = self._seconds - self._now_s()
            return left_s <= 0 and (faults.done() or left_s <= -self._seconds * MAX_LONGER)

        storm = requests(self._scenario.storm_mix, "storm", self._seed)
        await generator.send(storm, self._pace(calm=False), over)
        self._loaded_s = self._now_s()
        await generator.flush(FLUSH_S)

    async def _load_client(self, client_load: ClientLoad) -> None:
        if per_s := self._scenario.customer_per_s:
            await client_load.send(per_s, time.monotonic() + self._seconds)

    async def _load_transactions(self) -> None:
        scenario = self._scenario
        if scenario.transactions_per_s:
            await asyncio.sleep(self._calm_s)
            load = TransactionLoad(self._kafka.bootstrap, self._topics, self._requests.sent)
            plans = [requests(scenario.mix, run, self._seed) for run in ("committed", ABORTED)]
            await load.send(plans, scenario.transactions_per_s, lambda: self._now_s() >= self._seconds)

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
                if record.topic == self._topics.replies:
                    self._customers.read(record)

    async def _settle(self) -> float | None:
        end = time.monotonic() + SETTLE_S
        while self._requests.open > 0 or self._customers.open > 0:
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
        lag: int,
        seen: list[ObservedEnd],
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
            seen=seen,
            sent=self._requests.sent_at,
            open=self._samples.open,
            behind=self._samples.behind,
            memory_mb=pool.memory_mb,
            peak_mb=pool.peak_mb,
            rebalances=max((status.rebalances for status in statuses), default=0),
            device=DeviceCounts(
                rows=sum(status.rows for status in statuses),
                late_rows=sum(status.late_rows for status in statuses),
                latest_s=max((status.latest_s for status in statuses), default=0.0),
            ),
            settled_s=settled_s,
            judgment=judgment,
            lag=lag,
            aborted_answers=self._requests.aborted_answers,
            customer_answers=len(client_load.answers),
            customer_doubled=client_load.doubled,
            customer_repeated=client_replies.total() - len(client_replies),
            customer_unanswered=client_load.unanswered,
            ready_s=pool.ready_s,
            streams=self._customers.streams,
            captions=self._customers.captions,
            conversations=self._customers.conversations,
        )
