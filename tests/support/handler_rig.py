"""The one place where tests build a handler, and rigs around it."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, Final, Self

from inferstream.pipeline.broker.base import Message, Record
from inferstream.pipeline.clock import FakeClock
from inferstream.pipeline.config import BreakerConfig, LimitConfig, RetryConfig
from inferstream.pipeline.delivery.admission import Admission
from inferstream.pipeline.delivery.answers import AnswerPolicy
from inferstream.pipeline.delivery.breaker import Breaker
from inferstream.pipeline.delivery.cancels import Cancels
from inferstream.pipeline.delivery.failures import FailurePolicy, WorkerStamp
from inferstream.pipeline.delivery.handler import Handler
from inferstream.pipeline.delivery.outcome import Outcome, PendingOutcome
from inferstream.pipeline.delivery.replies import ReplyBuilder
from inferstream.pipeline.delivery.reply_topics import ReplyTopics
from inferstream.pipeline.delivery.request_reader import RequestReader
from inferstream.pipeline.delivery.resuming import Resuming
from inferstream.pipeline.delivery.slots import PartitionQueue, Slot
from inferstream.pipeline.delivery.undelivered import Undelivered
from inferstream.pipeline.engine.batching import Limits
from inferstream.pipeline.engine.cache.memory import MemoryCache
from inferstream.pipeline.engine.cost import Cost
from inferstream.pipeline.engine.device import Device
from inferstream.pipeline.engine.engine import Engine
from inferstream.pipeline.engine.lanes import LaneSettings
from inferstream.pipeline.engine.model_entry import ModelEntry
from inferstream.pipeline.engine.trials.answering import Answering
from inferstream.pipeline.errors import DeviceUnavailable
from inferstream.pipeline.runtime.encoder import Encoder
from inferstream.pipeline.runtime.fake_session import FakeSession
from inferstream.pipeline.runtime.model import RUN
from inferstream.pipeline.telemetry import TaskMetrics, WorkerMetrics
from inferstream.schemas.codec import decode_reply
from inferstream.schemas.messages import Failure, Request, Result
from inferstream.schemas.topics import Header, Topics
from support.echo import Echo
from support.engine_rig import EngineRig, an_engine_rig

TOPICS: Final = Topics("echo")
MINE: Final = f"{TOPICS.replies}.mine"
THERE: Final = {TOPICS.replies: 4, MINE: 3}
"""The reply topics that exist, with their partitions."""
NOW_S: Final = 1_700_000_000.0
LIMITS: Final = LimitConfig(max_request_bytes=10_000, max_reply_bytes=20_000)
NO_RETRIES: Final = RetryConfig(tiers_s=[])
HEADERS: Final = [getattr(Header, name) for name in vars(Header) if name.isupper()]
ALWAYS_FITS: Final = 10_000
"""Bytes that any broker takes: the last fallback of an outcome must not exceed them."""


async def partitions_of(topic: str) -> int | None:
    """The partitions of the topics that are `THERE`."""
    return THERE.get(topic)


def handler_over(
    engine: Answering,
    *,
    limits: LimitConfig = LIMITS,
    partitions: Callable[[str], Awaitable[int | None]] = partitions_of,
    metrics: TaskMetrics | None = None,
    breaker: Breaker | None = None,
    retries: RetryConfig = NO_RETRIES,
    admission: Admission | None = None,
    wall_clock: Callable[[], float] = lambda: NOW_S,
    cancels: Cancels | None = None,
    topics: Topics = TOPICS,
    kind: type[Request] = Request,
    resuming: Resuming | None = None,
) -> Handler:
    """A handler of a task over the engine, whose clock it shares. Its worker is called "w"."""
    metrics = metrics or WorkerMetrics().of_task(topics.task)
    breaker = breaker or Breaker(BreakerConfig(), engine.clock)
    reply_topics = ReplyTopics(topics, limits, partitions)
    stamp = WorkerStamp("w", wall_clock)
    undeliverable = Undelivered(topics, reply_topics, metrics, stamp)
    replies = ReplyBuilder(topics.task, limits.max_reply_bytes, undeliverable=undeliverable.end_of)
    return Handler(
        engine,
        RequestReader(topics, limits.max_request_bytes, engine.clock, wall_clock, cancels, kind),
        reply_topics,
        admission or Admission(10_000),
        AnswerPolicy(replies, metrics, breaker, resuming),
        FailurePolicy(topics, retries, replies, metrics, breaker, stamp),
    )


def a_slot(record: Record) -> Slot:
    """A slot of no window: what is said in it is not published."""
    return PartitionQueue(lambda slot: None).append(record)


def handled(handler: Handler, record: Record) -> Outcome | PendingOutcome:
    return handler.handle(record, a_slot(record))


async def outcome_of(handler: Handler, record: Record) -> Outcome:
    found = handled(handler, record)
    return found if isinstance(found, Outcome) else await found


def only(outcome: Outcome) -> Message:
    """The one message of the outcome."""
    (message,) = outcome.messages
    return message


class HandlerRig:
    """A handler over an engine, what its metrics counted, and the topics that it asked the broker for."""

    def __init__(self, rig: EngineRig, **more: Any) -> None:
        self.engine_rig = rig
        self.metrics = WorkerMetrics().of_task("echo")
        self.asked_for: list[str] = []
        self.handler = handler_over(rig.engine, partitions=self._partitions, metrics=self.metrics, **more)

    async def _partitions(self, topic: str) -> int | None:
        self.asked_for.append(topic)
        return THERE.get(topic)

    async def outcome(self, record: Record) -> Outcome:
        return await outcome_of(self.handler, record)

    async def message(self, record: Record) -> Message:
        """The one message of the outcome."""
        return only(await self.outcome(record))


@asynccontextmanager
async def a_handler_rig(**more: Any) -> AsyncIterator[HandlerRig]:
    """A handler rig over a new engine rig, which gets ``more``."""
    async with an_engine_rig(**more) as rig:
        yield HandlerRig(rig)


class FailingTextSession(FakeSession):
    """A row with one of these characters on it fails in its way."""

    def run(self, feeds: Any) -> Any:
        ids = feeds["input_ids"]
        if (ids == ord("?")).any():
            raise DeviceUnavailable("The device is gone: it is tried again.")
        if (ids == ord("%")).any():
            raise MemoryError
        return super().run(feeds)


class FailingHandlerRig:
    """A handler whose device fails as the text asks for. Use it with ``with``; its time stands still."""

    def __init__(self) -> None:
        clock = FakeClock()
        self._session = FailingTextSession(poison=[ord("!")])
        cost = Cost((10.0, 0.01, 0.0001, 1e-7))
        device = Device(Encoder(self._session), Limits(4_096, 64), {RUN: cost}, LaneSettings(1, clock, clock))
        self._task = Echo()
        self._engine = Engine(
            {"echo": {"echo-small": ModelEntry(self._task, device)}},
            memory=MemoryCache(100_000),
            disk=None,
            clock=clock,
        )
        retries = RetryConfig(tiers_s=[0], max_attempts=3, budget_share=1.0)
        self._handler = handler_over(self._engine, retries=retries)
        self._runner = asyncio.Runner()

    def __enter__(self) -> Self:
        self._runner.run(self._engine.__aenter__())
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._runner.run(self._engine.__aexit__(None, None, None))
        self._runner.close()

    def outcome(self, record: Record) -> Outcome:
        """The outcome of the record. Raises what the handler raises, which must be nothing."""
        self._session.runs.clear()
        self._task.prepared.clear()
        return self._runner.get_loop().run_until_complete(outcome_of(self._handler, record))


def check(record: Record, outcome: Outcome) -> None:
    """The outcome has one message of a known kind, and a smaller one for each that the broker may refuse."""
    _check(record, outcome)
    fallbacks = 0
    while outcome.if_too_large is not None:
        outcome = outcome.if_too_large()
        _check(record, outcome)
        fallbacks += 1
        assert fallbacks <= 3
    assert _size(only(outcome)) <= ALWAYS_FITS
    if outcome.then is not None:
        check(record, outcome.then)


def _check(record: Record, outcome: Outcome) -> None:
    message = only(outcome)
    if message.topic in THERE:
        reply = decode_reply(message.value)
        assert isinstance(reply, Result | Failure)
        assert not isinstance(reply, Failure) or (reply.code != "internal" and reply.message)
        assert message.partition is not None
        assert message.partition < THERE[message.topic]
    elif message.topic == TOPICS.retry("0s"):
        assert (message.value, message.key) == (record.value, record.key)
    else:
        assert message.topic == TOPICS.dead_letters
        assert message.value in (record.value or b"", b"")
        assert dict(message.headers)[Header.ERROR_CODE]


def _size(message: Message) -> int:
    headers = sum(len(name.encode()) + len(value) for name, value in message.headers)
    return len(message.value) + len(message.key or b"") + headers
