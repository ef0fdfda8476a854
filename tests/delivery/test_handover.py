"""A worker that leaves or hands over commits what it has answered, also when no commit was due: on both brokers."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable
from typing import NamedTuple

import pytest
from delivery.test_worker import FakeHandler, running

from inferstream.pipeline.broker.base import Broker, Message, Record, TopicPartition, TopicSpec
from inferstream.pipeline.broker.embedded.broker import EmbeddedBroker
from inferstream.pipeline.broker.kafka.broker import KafkaBroker
from inferstream.pipeline.config import KafkaConfig, WindowConfig
from inferstream.pipeline.delivery.window import Window
from inferstream.pipeline.delivery.worker import Subscription, Worker

PARTITIONS = 4
VALUES = [b"at once %02d" % number for number in range(20)]
NO_REGULAR_COMMIT = WindowConfig(
    commit_interval_ms=600_000, revoke_timeout_ms=10_000, drain_timeout_ms=10_000
)


class Rig(NamedTuple):
    """A broker with a topic for requests and one for replies, and the group that reads the requests."""

    broker: Broker
    requests: str
    replies: str
    group: str

    def worker(self, handler: FakeHandler | None = None) -> Worker:
        handler = handler or FakeHandler(reply_topic=self.replies)
        window = Window(NO_REGULAR_COMMIT, self.broker.publish)
        return Worker(self.broker, handler, window, Subscription([self.requests], self.group))

    async def ask(self, *values: bytes) -> None:
        await asyncio.gather(
            *(
                self.broker.publish(Message(self.requests, value, partition=n % PARTITIONS))
                for n, value in enumerate(values)
            )
        )

    async def committed(self) -> list[int]:
        """The committed offset of each partition, read when no worker is left."""
        member = await self.broker.consume([self.requests], group=self.group)
        partitions = [TopicPartition(self.requests, number) for number in range(PARTITIONS)]
        offsets = await member.committed(partitions)
        await member.close()
        return [offsets[at] or 0 for at in partitions]

    async def answered(self) -> Counter[bytes | None]:
        """How often each request was answered."""
        reader = await self.broker.consume([self.replies])
        ends = sum((await reader.end_offsets(list(reader.assignment()))).values())
        found: list[Record] = []
        while len(found) < ends:
            found += await reader.poll(1_000, 100)
        await reader.close()
        return Counter(record.value for record in found)


@pytest.fixture(params=["embedded", pytest.param("kafka", marks=pytest.mark.kafka)])
async def rig(request: pytest.FixtureRequest, unique: str) -> AsyncIterator[Rig]:
    opened: Broker = EmbeddedBroker()
    if request.param == "kafka":
        opened = KafkaBroker(KafkaConfig(bootstrap=request.getfixturevalue("kafka"), heartbeat_ms=100))
    async with asyncio.timeout(60), opened as broker:
        rig = Rig(broker, f"{unique}.requests", f"{unique}.replies", unique)
        await broker.ensure_topics([TopicSpec(name, PARTITIONS) for name in (rig.requests, rig.replies)])
        yield rig


async def until(condition: Callable[[], bool]) -> None:
    while not condition():  # noqa: ASYNC110 - a worker has no event for what a test looks at
        await asyncio.sleep(0.005)


async def test_a_worker_that_hands_over_has_committed_what_it_answered(rig: Rig) -> None:
    first, second = rig.worker(), rig.worker()
    await rig.ask(*VALUES)
    async with running(first):
        await until(lambda: first.window.terminal_events == len(VALUES))
        async with running(second):
            await rig.ask(b"at once: last")
            await until(lambda: first.window.terminal_events + second.window.terminal_events > len(VALUES))
    assert await rig.answered() == Counter([*VALUES, b"at once: last"]), "nothing was answered again"
    assert sum(await rig.committed()) == len(VALUES) + 1


async def test_what_is_answered_during_a_handover_is_committed(rig: Rig) -> None:
    held = FakeHandler(b"held", reply_topic=rig.replies)
    first, second = rig.worker(held), rig.worker()
    await rig.ask(b"held", *VALUES)
    async with running(first):
        await until(lambda: first.window.terminal_events == len(VALUES))
        settle, began = first.window.settle, asyncio.Event()

        async def noticed(*arguments: object) -> bool:
            began.set()
            return await settle(*arguments)  # type: ignore[arg-type]

        first.window.settle = noticed  # type: ignore[method-assign]
        joining = asyncio.create_task(second.run())
        await began.wait()
        held.held[b"held"].set()
        await until(lambda: second.ready)
        second.drain()
        await joining
    assert await rig.answered() == Counter([b"held", *VALUES]), "nothing was answered again"
    assert sum(await rig.committed()) == len(VALUES) + 1


async def test_a_worker_that_drains_commits_what_it_answered(rig: Rig) -> None:
    worker = rig.worker()
    await rig.ask(*VALUES)
    async with running(worker):
        await until(lambda: worker.window.terminal_events == len(VALUES))
    assert sum(await rig.committed()) == len(VALUES)
    assert await rig.answered() == Counter(VALUES)
