"""What the reader of cancels does on every broker. tests/broker/kafka and tests/broker/embedded each run it."""

import asyncio
import math
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress

import pytest

from inferstream.pipeline.broker.base import Broker, Message, TopicSpec
from inferstream.pipeline.delivery import cancel_reader
from inferstream.pipeline.delivery.cancel_memory import RequestName
from inferstream.pipeline.delivery.cancel_reader import CancelReader
from inferstream.pipeline.delivery.cancels import Cancels
from inferstream.pipeline.errors import BrokerError
from inferstream.pipeline.telemetry import WorkerMetrics
from inferstream.schemas.cancels import Cancel, Heartbeat
from inferstream.schemas.codec import encode
from inferstream.schemas.topics import Header
from support.broker_contract import TIMEOUT_S, Connect, wait_until


def knows(cancels: Cancels, *ids: str, tenant: str = "") -> bool:
    return all(RequestName(tenant, identity) in cancels.known for identity in ids)


class RecordingLeases:
    """The heartbeats that were read."""

    def __init__(self) -> None:
        self.names: list[str] = []

    def heard(self, name: str, read: Mapping[str, int]) -> None:
        self.names.append(name)

    def check(self) -> None: ...


class CancelReaderContract:
    """Inherit, and add the fixture ``connect``."""

    @pytest.fixture
    async def broker(self, connect: Connect) -> AsyncIterator[Broker]:
        async with connect() as broker:
            yield broker

    @pytest.fixture
    async def topic(self, broker: Broker, unique: str) -> str:
        await broker.ensure_topics([TopicSpec(unique, 3)])
        return unique

    @asynccontextmanager
    async def reading(self, broker: Broker, topic: str, **more: float) -> AsyncIterator[CancelReader]:
        """A reader that runs and has caught up."""
        reader = CancelReader(broker, topic, WorkerMetrics().of_task("echo"), **more)
        task = asyncio.create_task(reader.run())
        try:
            await wait_until(lambda: reader.cancels.since_ms < float("inf") or task.done())
            yield reader
        finally:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task

    async def send(self, broker: Broker, topic: str, *ids: str, tenant: bytes | None = None) -> None:
        headers = ((Header.TENANT, tenant),) if tenant is not None else ()
        for identity in ids:
            await broker.publish(Message(topic, encode(Cancel(identity)), identity.encode(), headers))

    async def test_cancels_from_before_the_start_are_known_when_it_has_caught_up(
        self, broker: Broker, topic: str
    ) -> None:
        names = [f"{number}" for number in range(30)]
        await self.send(broker, topic, *names)
        async with self.reading(broker, topic) as reader:
            assert knows(reader.cancels, *names)
            await self.send(broker, topic, "later")
            await wait_until(lambda: knows(reader.cancels, "later"))

    async def test_two_readers_read_all_of_the_topic(self, broker: Broker, topic: str) -> None:
        async with self.reading(broker, topic) as first, self.reading(broker, topic) as second:
            await self.send(broker, topic, "a", "b", "c")
            await wait_until(lambda: knows(first.cancels, "a", "b", "c"))
            await wait_until(lambda: knows(second.cancels, "a", "b", "c"))

    async def test_the_tenant_is_that_of_the_header(self, broker: Broker, topic: str) -> None:
        await self.send(broker, topic, "a", tenant=b"t1")
        async with self.reading(broker, topic) as reader:
            assert knows(reader.cancels, "a", tenant="t1")
            assert not knows(reader.cancels, "a")

    async def test_what_is_no_cancel_is_passed_over(self, broker: Broker, topic: str) -> None:
        for value in (b"", b"\xff", b"[]", b"{}", b'{"id":7}', b'{"id":"' + b"x" * 2_000 + b'"}'):
            await broker.publish(Message(topic, value))
        await self.send(broker, topic, "a")
        async with self.reading(broker, topic) as reader:
            assert [name.id for name in reader.cancels.known] == ["a"]

    async def test_heartbeats_reach_the_leases(self, broker: Broker, topic: str) -> None:
        async with self.reading(broker, topic) as reader:
            leases = RecordingLeases()
            reader._leases = leases  # type: ignore[assignment]
            await broker.publish(Message(topic, encode(Heartbeat("client-1")), b"client-1"))
            await wait_until(lambda: leases.names == ["client-1"])
            assert not reader.cancels.known

    async def test_earlier_cancels_are_read_when_a_request_is_older(self, broker: Broker, topic: str) -> None:
        begin_ms = time.time() * 1e3
        await self.send(broker, topic, "early")
        await asyncio.sleep(0.05)  # the clock of the records must move on
        async with self.reading(broker, topic, span_s=0.0) as reader:
            assert not knows(reader.cancels, "early")
            assert reader.cancels.since_ms > begin_ms
            async with asyncio.timeout(TIMEOUT_S):
                await reader.cancels.cover(round(begin_ms))
            assert knows(reader.cancels, "early")
            await self.send(broker, topic, "later")
            await wait_until(lambda: knows(reader.cancels, "later"))
            assert knows(reader.cancels, "early"), "it is kept as long as requests of its age may come"

    async def test_times_before_1970_are_read_back_for_once(self, broker: Broker, topic: str) -> None:
        """A producer can write any time, each a little earlier than the one before."""
        await self.send(broker, topic, "a")
        async with self.reading(broker, topic, span_s=0.0) as reader, asyncio.timeout(TIMEOUT_S):
            await reader.cancels.cover(-1)
            assert knows(reader.cancels, "a")
            assert reader.cancels.since_ms == -math.inf

    async def test_a_topic_that_is_too_long_is_given_up_and_the_log_says_it(
        self, broker: Broker, topic: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        monkeypatch.setattr(cancel_reader, "CATCH_UP_S", 0.0)
        await self.send(broker, topic, "a")
        async with self.reading(broker, topic) as reader:
            assert "could not all be read" in caplog.text
            async with asyncio.timeout(TIMEOUT_S):
                await reader.cancels.cover(0)
            assert caplog.text.count("could not all be read") == 2

    async def test_a_topic_that_is_missing_is_an_error(self, broker: Broker, unique: str) -> None:
        with pytest.raises(BrokerError, match=f"{unique}"):
            await CancelReader(broker, unique, WorkerMetrics().of_task("echo")).run()
