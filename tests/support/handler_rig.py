"""A handler whose device fails in every way that there is, and what any outcome of it must be."""

import asyncio
from typing import Any, Final, Self

from inferstream.pipeline.broker.base import Message, Record
from inferstream.pipeline.clock import FakeClock
from inferstream.pipeline.config import LimitConfig, RetryConfig
from inferstream.pipeline.delivery.handler import Handler
from inferstream.pipeline.delivery.outcome import Outcome
from inferstream.pipeline.delivery.replies import ReplyTopics
from inferstream.pipeline.engine.batching import Limits
from inferstream.pipeline.engine.cache.memory import MemoryCache
from inferstream.pipeline.engine.cost import Cost
from inferstream.pipeline.engine.device import Device
from inferstream.pipeline.engine.engine import Engine, ModelEntry
from inferstream.pipeline.engine.lanes import LaneSettings
from inferstream.pipeline.errors import DeviceUnavailable
from inferstream.pipeline.runtime.fake_session import FakeSession
from inferstream.pipeline.telemetry import Metrics
from inferstream.schemas.codec import decode_reply
from inferstream.schemas.messages import Failure, Result
from inferstream.schemas.topics import Header, Topics
from support.echo import Echo

TOPICS: Final = Topics("echo")
MINE: Final = f"{TOPICS.replies}.mine"
THERE: Final = {TOPICS.replies: 4, MINE: 3}
NOW_S: Final = 1_700_000_000.0
HEADERS: Final = [getattr(Header, name) for name in vars(Header) if name.isupper()]
ALWAYS_FITS: Final = 10_000
"""Bytes that any broker takes: what the last resort of an outcome must not exceed."""


class FailingSession(FakeSession):
    """A row with one of these characters on it fails in its way."""

    def run(self, feeds: Any) -> Any:
        ids = feeds["input_ids"]
        if (ids == ord("?")).any():
            raise DeviceUnavailable("The device is gone: it is tried again.")
        if (ids == ord("%")).any():
            raise MemoryError
        return super().run(feeds)


class Desk:
    """Use it with ``with``. Its time stands still."""

    def __init__(self) -> None:
        self._session, clock = FailingSession(poison=[ord("!")]), FakeClock()
        cost = Cost((10.0, 0.01, 0.0001, 1e-7))
        device = Device(self._session, Limits(4_096, 64), cost, LaneSettings(1, clock, clock))
        self._task = Echo()
        self._engine = Engine(
            {"echo-small": ModelEntry(self._task, device)},
            default="echo-small",
            memory=MemoryCache(100_000),
            disk=None,
            clock=clock,
        )
        limits = LimitConfig(max_request_bytes=10_000, max_reply_bytes=20_000)
        self._handler = Handler(
            self._engine,
            TOPICS,
            limits,
            ReplyTopics(TOPICS, limits, self._partitions),
            Metrics(),
            retries=RetryConfig(tiers_s=[0], max_attempts=3, budget_share=1.0),
            clock=clock,
            wall_clock=lambda: NOW_S,
        )
        self._runner = asyncio.Runner()

    def __enter__(self) -> Self:
        self._runner.run(self._engine.__aenter__())
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._runner.run(self._engine.__aexit__(None, None, None))
        self._runner.close()

    async def _partitions(self, topic: str) -> int | None:
        return THERE.get(topic)

    def outcome(self, record: Record) -> Outcome:
        """The outcome of the record. Raises what the handler raises, which is to be nothing."""
        self._session.runs.clear()
        self._task.prepared.clear()
        found = self._handler.handle(record)
        return found if isinstance(found, Outcome) else self._runner.get_loop().run_until_complete(found)


def check(record: Record, outcome: Outcome) -> None:
    """One message, a known one, and whatever the broker refuses there is something smaller in its place."""
    _check(record, outcome)
    resorts = 0
    while outcome.if_too_large is not None:
        outcome = outcome.if_too_large()
        _check(record, outcome)
        resorts += 1
        assert resorts <= 3
    (last,) = outcome.messages
    assert _size(last) <= ALWAYS_FITS
    if outcome.then is not None:
        check(record, outcome.then)


def _check(record: Record, outcome: Outcome) -> None:
    (message,) = outcome.messages
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
