"""One measured run: a filled topic, a process that answers it, and what its reply topic and CPU clocks say."""

import asyncio
import itertools
import statistics
import time
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import AbstractContextManager, asynccontextmanager
from typing import Self

import msgspec
import psutil
from msgspec import Struct

from ....schemas import codec
from ....schemas.messages import Failure, Request, Result
from ....schemas.topics import Topics
from ...broker.base import Broker, Consumer, Message, Record, TopicSpec
from ...broker.kafka.broker import KafkaBroker
from ...config import Config
from ...errors import InferstreamError, Timeout
from ...serving.build import topic_specs

STALLED_S = 120
IN_FLIGHT = 4_096

Child = Callable[[Config], AbstractContextManager[psutil.Process]]


class Cpu(Struct, frozen=True):
    """CPU seconds of the measured process, of the brokers started for the run, and of this load generator."""

    measured_s: float
    broker_s: float
    generator_s: float

    @classmethod
    def now(cls, measured: psutil.Process) -> "Cpu":
        """Used up so far. Brokers that were started elsewhere are not seen."""
        this = psutil.Process()
        brokers = [child for child in this.children(recursive=True) if child.name() == "java"]
        return cls(_cpu_s(measured), sum(map(_cpu_s, brokers)), _cpu_s(this))

    def since(self, before: "Cpu") -> "Cpu":
        """What was used up from ``before`` to this."""
        return Cpu(
            self.measured_s - before.measured_s,
            self.broker_s - before.broker_s,
            self.generator_s - before.generator_s,
        )


def _cpu_s(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)


class Run(Struct, frozen=True):
    """What one run did, and the CPU time of all its ``requests``."""

    requests: int
    seconds: float
    cpu: Cpu
    labels: dict[str, str]
    padding: float
    resident_mb: list[float]

    @property
    def per_s(self) -> float:
        return self.requests / self.seconds


class Bench:
    """Runs processes against topics of their own on one Kafka."""

    def __init__(self, config: Config, broker: Broker) -> None:
        self._config, self.broker = config, broker
        self._numbers = itertools.count(int(time.time()))

    @classmethod
    @asynccontextmanager
    async def connected(cls, config: Config) -> AsyncIterator[Self]:
        """A bench on the Kafka of ``config``."""
        async with KafkaBroker(config.kafka) as broker:
            yield cls(config, broker)

    async def fresh(self) -> tuple[Config, Topics]:
        """Settings whose topics are new and empty."""
        kafka = msgspec.structs.replace(self._config.kafka, topic_prefix=f"bench.{next(self._numbers)}")
        topics = Topics("triage", kafka.topic_prefix)
        specs: Sequence[TopicSpec] = topic_specs(topics, kafka)
        await self.broker.ensure_topics(specs)
        return msgspec.structs.replace(self._config, kafka=kafka), topics

    async def fill(self, topics: Topics, texts: Iterable[str]) -> None:
        """Publish a request for each text; the id is its number."""
        batch: list[asyncio.Future[None]] = []
        for number, text in enumerate(texts):
            batch.append(self.broker.publish(request_message(topics, number, text)))
            if len(batch) == IN_FLIGHT:
                await asyncio.gather(*batch)
                batch = []
        await asyncio.gather(*batch)

    async def drain(self, texts: Sequence[str], child: Child) -> Run:
        """Fill a topic, then start ``child`` and read until every request has its reply."""
        config, topics = await self.fresh()
        await self.fill(topics, texts)
        replies = await self.broker.consume([topics.replies])
        try:
            with child(config) as process:
                before = Cpu.now(process)
                records, resident_mb = await collect(replies, len(texts), process)
                cpu = Cpu.now(process).since(before)
        finally:
            await replies.close()
        return _run(records, cpu, resident_mb)


def request_message(topics: Topics, number: int, text: str) -> Message:
    """The request of one text; without a shared key, so that it spreads over the partitions."""
    identity = str(number)
    return Message(topics.requests, codec.encode(Request(text=text, id=identity)), identity.encode())


async def collect(
    replies: Consumer, wanted: int, process: psutil.Process
) -> tuple[list[Record], list[float]]:
    """Read ``wanted`` replies, and the process's resident memory in MB about once a second."""
    records: list[Record] = []
    resident_mb: list[float] = []
    looked = heard = time.monotonic()
    while len(records) < wanted:
        polled = await replies.poll(5_000, 500)
        records += polled
        now = time.monotonic()
        if polled:
            heard = now
        if now - heard > STALLED_S:
            raise Timeout(f"Only {len(records)} of {wanted} replies came: the measured process has stalled.")
        if now - looked >= 1:
            looked = now
            resident_mb.append(process.memory_info().rss / 1e6)
    return records, resident_mb


def _run(records: Sequence[Record], cpu: Cpu, resident_mb: list[float]) -> Run:
    """The clock runs from when the first request was read until the last reply."""
    replies = [(record, _result(record)) for record in records]
    began = min(record.timestamp_ms - (reply.timings.total_ms if reply else 0) for record, reply in replies)
    results = [reply for _, reply in replies if reply]
    return Run(
        requests=len(records),
        seconds=(max(record.timestamp_ms for record in records) - began) / 1e3,
        cpu=cpu,
        labels={reply.id: msgspec.json.decode(reply.output)["category"] for reply in results},
        padding=_padding(results),
        resident_mb=resident_mb,
    )


def _result(record: Record) -> Result | None:
    """The result in a reply; None for what the echo loop sends back. Raises InferstreamError for a failure."""
    try:
        reply = codec.decode_reply(record.value)
    except codec.DecodeError:
        return None
    if isinstance(reply, Failure):
        raise InferstreamError(f"A measured request failed: {reply.message}")
    return reply if isinstance(reply, Result) else None


def _padding(results: Iterable[Result]) -> float:
    """The share of padded tokens that are padding: each reply stands for its part of the batch it ran in."""
    batches = [reply.batch for reply in results if reply.batch is not None]
    padded = sum(batch.padded_tokens / batch.rows for batch in batches)
    tokens = sum(batch.tokens / batch.rows for batch in batches)
    return 1 - tokens / padded if padded else 0.0


def percentile(values: Sequence[float], percent: int) -> float:
    """The inclusive percentile of a sample of two or more."""
    return statistics.quantiles(values, n=100, method="inclusive")[percent - 1]
