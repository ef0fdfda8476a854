"""What every Broker must do. tests/broker/kafka and tests/broker/embedded each run it on their broker."""

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Sequence
from contextlib import AbstractAsyncContextManager

import pytest

from inferstream.pipeline.broker.base import Broker, Consumer, Message, Record, TopicPartition, TopicSpec
from inferstream.pipeline.broker.partitioner import partition_of
from inferstream.pipeline.config import NEW_PARTITIONS
from inferstream.pipeline.errors import BrokerError, NotWritable, ReplyTooLarge

TIMEOUT_S = 20.0
PARTITIONS = 4

Connect = Callable[[], AbstractAsyncContextManager[Broker]]
Trim = Callable[[Broker, dict[TopicPartition, int]], Awaitable[None]]


async def take(consumer: Consumer, count: int) -> list[Record]:
    """The next ``count`` records."""
    records: list[Record] = []
    async with asyncio.timeout(TIMEOUT_S):
        while len(records) < count:
            records += await consumer.poll(count - len(records), 100)
    return records


async def all_records(broker: Broker, topic: str) -> list[Record]:
    """All records that a topic has now."""
    reader = await broker.consume([topic])
    ends = await reader.end_offsets(reader.assignment())
    found: list[Record] = []
    while len(found) < sum(ends.values()):
        found += await reader.poll(1_000, 200)
    await reader.close()
    return found


async def wait_until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(TIMEOUT_S):
        while not condition():  # noqa: ASYNC110 - a broker has no event for this
            await asyncio.sleep(0.005)


def by_partition(records: Collection[Record]) -> dict[int, list[Record]]:
    found: dict[int, list[Record]] = defaultdict(list)
    for record in records:
        found[record.partition].append(record)
    return found


class RecordingListener:
    """Records its calls. `revoked` waits until ``gate`` is set, then commits ``commit_on_revoke``."""

    def __init__(self) -> None:
        self.events: list[tuple[str, frozenset[TopicPartition]]] = []
        self.gate = asyncio.Event()
        self.gate.set()
        self.consumer: Consumer | None = None
        self.commit_on_revoke: dict[TopicPartition, int] = {}

    async def assigned(self, partitions: Collection[TopicPartition]) -> None:
        self.events.append(("assigned", frozenset(partitions)))

    async def revoked(self, partitions: Collection[TopicPartition]) -> None:
        self.events.append(("revoking", frozenset(partitions)))
        await self.gate.wait()
        if self.consumer is not None:
            await self.consumer.commit(self.commit_on_revoke)
        self.events.append(("revoked", frozenset(partitions)))


class FailingListener:
    """A listener whose `revoked` raises."""

    async def assigned(self, partitions: Collection[TopicPartition]) -> None: ...

    async def revoked(self, partitions: Collection[TopicPartition]) -> None:
        raise ValueError("the window is broken")


class BrokerContract:
    """Inherit, and add the fixtures ``connect``, and ``trim``, which deletes records before given offsets."""

    @pytest.fixture
    async def broker(self, connect: Connect) -> AsyncIterator[Broker]:
        async with connect() as broker:
            yield broker

    @pytest.fixture
    async def topic(self, broker: Broker, unique: str) -> str:
        await broker.ensure_topics([TopicSpec(unique, PARTITIONS)])
        return unique

    @pytest.fixture
    def parts(self, topic: str) -> list[TopicPartition]:
        return [TopicPartition(topic, number) for number in range(PARTITIONS)]

    async def test_the_offset_of_a_time_is_that_of_the_first_record_that_is_not_older(
        self, broker: Broker, topic: str, parts: list[TopicPartition]
    ) -> None:
        for number in range(3):
            await broker.publish(Message(topic, b"%d" % number, partition=0))
            await asyncio.sleep(0.01)  # the clock of the records must move on
        reader = await broker.consume([topic])
        times = [record.timestamp_ms for record in await take(reader, 3)]
        assert times == sorted(times)
        for offset, time_ms in enumerate(times):
            found = await reader.offsets_at({parts[0]: time_ms, parts[1]: time_ms})
            assert found == {parts[0]: times.index(times[offset]), parts[1]: 0}
        assert await reader.offsets_at({parts[0]: times[-1] + 1}) == {parts[0]: 3}
        assert await reader.offsets_at({parts[0]: times[0] - 3_600_000}) == {parts[0]: 0}
        assert await reader.offsets_at({}) == {}

    # Publishing

    async def test_each_partition_keeps_the_order_of_the_calls(self, broker: Broker, topic: str) -> None:
        async def publish(part: int) -> None:
            for number in range(500):
                broker.publish(Message(topic, b"%d" % number, partition=part))
                if number % 37 == part:
                    await asyncio.sleep(0)
            await broker.publish(Message(topic, b"500", partition=part))

        await asyncio.gather(*map(publish, range(PARTITIONS)))
        found = by_partition(await take(await broker.consume([topic]), 501 * PARTITIONS))
        for part in range(PARTITIONS):
            assert [record.offset for record in found[part]] == list(range(501))
            assert [int(record.value or b"") for record in found[part]] == list(range(501))

    async def test_a_key_chooses_the_partition_as_kafkas_clients_do(self, broker: Broker, topic: str) -> None:
        keys = [b"%d" % number for number in range(40)]
        await asyncio.gather(*(broker.publish(Message(topic, b"v", key)) for key in [*keys, *keys]))
        for record in await take(await broker.consume([topic]), 80):
            assert record.partition == partition_of(record.key or b"", PARTITIONS)

    async def test_without_a_key_all_partitions_take_turns(self, broker: Broker, topic: str) -> None:
        await asyncio.gather(*(broker.publish(Message(topic, b"v")) for _ in range(5 * PARTITIONS)))
        found = by_partition(await take(await broker.consume([topic]), 5 * PARTITIONS))
        assert {part: len(records) for part, records in found.items()} == dict.fromkeys(range(PARTITIONS), 5)

    @pytest.mark.parametrize(
        ("value", "key", "headers"),
        [
            (b"", None, ()),
            (b"", b"", (("empty", b""),)),
            (bytes(range(256)), b"\x00\xff", (("a", b"1"), ("b", b"\x00\xfe"), ("a", b"2"))),
            (b"x" * 300_000, b"k", (("größe", b"y" * 3_000),)),
        ],
    )
    async def test_a_record_is_returned_with_the_bytes_that_were_published(
        self,
        broker: Broker,
        topic: str,
        value: bytes,
        key: bytes | None,
        headers: Sequence[tuple[str, bytes]],
    ) -> None:
        await broker.publish(Message(topic, value, key, tuple(headers), 1))
        (record,) = await take(await broker.consume([topic]), 1)
        assert record == Record(topic, 1, 0, key, value, tuple(headers), record.timestamp_ms)
        assert record.timestamp_ms > 1_600_000_000_000

    async def test_only_a_record_that_is_too_large_fails(self, broker: Broker, topic: str) -> None:
        values = [b"1", b"2", b"x" * 3_000_000, b"4", b"5"]
        futures = [broker.publish(Message(topic, value, partition=0)) for value in values]
        results = await asyncio.gather(*futures, return_exceptions=True)
        assert [isinstance(result, ReplyTooLarge) for result in results] == [False, False, True, False, False]
        await broker.publish(Message(topic, b"6", partition=0))
        found = await take(await broker.consume([topic]), 5)
        assert [record.value for record in found] == [b"1", b"2", b"4", b"5", b"6"]

    async def test_a_missing_topic_is_named_in_the_error_and_not_created(
        self, broker: Broker, unique: str
    ) -> None:
        with pytest.raises(BrokerError, match=unique):
            await broker.publish(Message(unique, b"v"))
        with pytest.raises(BrokerError, match=unique):
            await broker.consume([unique])
        assert await broker.partitions(unique) is None

    async def test_a_topic_created_after_a_failure_accepts_records(self, broker: Broker, unique: str) -> None:
        with pytest.raises(BrokerError):
            await broker.publish(Message(unique, b"too early"))
        await broker.ensure_topics([TopicSpec(unique, 1)])
        await broker.publish(Message(unique, b"v"))
        assert (await take(await broker.consume([unique]), 1))[0].value == b"v"

    async def test_a_missing_partition_is_refused(self, broker: Broker, topic: str) -> None:
        with pytest.raises(BrokerError, match=f"{topic} has {PARTITIONS} partitions"):
            await broker.publish(Message(topic, b"v", partition=PARTITIONS))

    async def test_a_cancelled_future_does_not_affect_other_records(self, broker: Broker, topic: str) -> None:
        futures = [broker.publish(Message(topic, b"%d" % number, partition=0)) for number in range(3)]
        futures[1].cancel()
        await asyncio.gather(futures[0], futures[2])
        assert len(await take(await broker.consume([topic]), 3)) == 3

    async def test_stopping_flushes(self, connect: Connect, unique: str) -> None:
        async with connect() as broker:
            await broker.ensure_topics([TopicSpec(unique, PARTITIONS)])
            futures = [broker.publish(Message(unique, b"%d" % number)) for number in range(1_000)]
        assert all(future.done() and future.exception() is None for future in futures)
        async with connect() as broker:
            found = await take(await broker.consume([unique]), 1_000)
        assert {int(record.value or b"") for record in found} == set(range(1_000))

    async def test_what_cannot_be_written_is_told_from_a_failed_broker(
        self, broker: Broker, topic: str, unique: str
    ) -> None:
        """A topic that a request has named must not end a worker."""
        missing = broker.publish(Message(f"{unique}.missing", b"v"))
        await broker.publish(Message(topic, b"v"))
        with pytest.raises(NotWritable, match=f"no topic {unique}.missing"):
            await missing

    # Topics

    async def test_existing_topics_are_not_created_again(self, broker: Broker, unique: str) -> None:
        specs = [TopicSpec(f"{unique}.a", 2, retention_ms=3_600_000), TopicSpec(f"{unique}.b", 3)]
        await broker.ensure_topics(specs)
        await broker.publish(Message(f"{unique}.b", b"v", partition=2))
        await broker.ensure_topics(specs)
        assert [await broker.partitions(spec.name) for spec in specs] == [2, 3]
        await broker.ensure_topics([TopicSpec(f"{unique}.b", 1)])
        assert len(await take(await broker.consume([f"{unique}.b"]), 1)) == 1

    async def test_too_few_partitions_are_refused(self, broker: Broker, topic: str) -> None:
        with pytest.raises(BrokerError, match=f"{topic}.* has {PARTITIONS} of {PARTITIONS + 1} partitions"):
            await broker.ensure_topics([TopicSpec(topic, PARTITIONS + 1)])

    async def test_without_a_minimum_an_existing_topic_keeps_its_partitions(
        self, broker: Broker, unique: str
    ) -> None:
        await broker.ensure_topics([TopicSpec(f"{unique}.one", 1)])
        names = [f"{unique}.one", f"{unique}.new"]
        await broker.ensure_topics([TopicSpec(name) for name in names])
        assert [await broker.partitions(name) for name in names] == [1, NEW_PARTITIONS]

    async def test_two_connections_can_create_the_same_topics_at_once(
        self, connect: Connect, unique: str
    ) -> None:
        specs = [TopicSpec(f"{unique}.{number}", 2) for number in range(3)]
        async with connect() as one, connect() as two:
            await asyncio.gather(one.ensure_topics(specs), two.ensure_topics(specs))
            assert [await two.partitions(spec.name) for spec in specs] == [2, 2, 2]

    # Reading

    async def test_poll_returns_in_time_and_no_more_than_asked_for(self, broker: Broker, topic: str) -> None:
        reader = await broker.consume([topic])
        assert list(await reader.poll(10, 20)) == []
        for number in range(25):
            broker.publish(Message(topic, b"%d" % number, partition=number % 2))
        counts: list[int] = []
        async with asyncio.timeout(TIMEOUT_S):
            while sum(counts) < 25:
                counts.append(len(await reader.poll(7, 100)))
        assert max(counts) <= 7

    async def test_a_reader_begins_at_the_earliest_or_after_the_latest_record(
        self, broker: Broker, topic: str
    ) -> None:
        await asyncio.gather(
            *(broker.publish(Message(topic, b"old", partition=part)) for part in range(PARTITIONS))
        )
        earliest = await broker.consume([topic])
        latest = await broker.consume([topic], start="latest")
        await asyncio.gather(
            *(broker.publish(Message(topic, b"new", partition=part)) for part in range(PARTITIONS))
        )
        assert len(await take(earliest, 2 * PARTITIONS)) == 2 * PARTITIONS
        assert {record.value for record in await take(latest, PARTITIONS)} == {b"new"}
        assert list(await latest.poll(10, 20)) == []

    async def test_a_reader_of_several_topics(self, broker: Broker, unique: str) -> None:
        names = [f"{unique}.a", f"{unique}.b"]
        await broker.ensure_topics([TopicSpec(name, 1) for name in names])
        await asyncio.gather(*(broker.publish(Message(name, name.encode())) for name in names))
        reader = await broker.consume(names)
        assert reader.assignment() == {TopicPartition(name, 0) for name in names}
        assert {record.topic for record in await take(reader, 2)} == set(names)

    async def test_a_reader_without_a_group_commits_nothing(
        self, broker: Broker, topic: str, parts: list[TopicPartition]
    ) -> None:
        reader = await broker.consume([topic])
        with pytest.raises(BrokerError, match="group"):
            await reader.commit({parts[0]: 1})
        assert await reader.committed(parts) == dict.fromkeys(parts)

    async def test_an_end_offset_is_that_of_the_next_record(
        self, broker: Broker, topic: str, parts: list[TopicPartition]
    ) -> None:
        await asyncio.gather(*(broker.publish(Message(topic, b"v", partition=part % 3)) for part in range(5)))
        reader = await broker.consume([topic])
        assert await reader.end_offsets(parts) == dict(zip(parts, [2, 2, 1, 0], strict=True))

    async def test_a_begin_offset_is_that_of_the_oldest_record(
        self, broker: Broker, topic: str, parts: list[TopicPartition], trim: Trim
    ) -> None:
        await asyncio.gather(*(broker.publish(Message(topic, b"v", partition=part % 3)) for part in range(6)))
        reader = await broker.consume([topic])
        assert await reader.begin_offsets(parts) == dict.fromkeys(parts, 0)
        await trim(broker, {parts[0]: 1, parts[1]: 2})
        assert await reader.begin_offsets(parts) == dict(zip(parts, [1, 2, 0, 0], strict=True))
        assert await reader.end_offsets(parts) == dict(zip(parts, [2, 2, 2, 0], strict=True))

    async def test_positions_are_those_of_the_next_poll(
        self, broker: Broker, topic: str, parts: list[TopicPartition]
    ) -> None:
        for part in (0, 0, 1):
            await broker.publish(Message(topic, b"v", partition=part))
        member = await broker.consume([topic], group=topic)
        await take(member, 3)
        async with asyncio.timeout(TIMEOUT_S):
            while len(member.positions()) < PARTITIONS:
                await member.poll(1, 50)
        assert member.positions() == dict(zip(parts, [2, 1, 0, 0], strict=True))

    async def test_many_look_ups_at_once(self, broker: Broker, topic: str, unique: str) -> None:
        names = [topic, *(f"{unique}.missing.{number}" for number in range(500))]
        counts = await asyncio.gather(*map(broker.partitions, names))
        assert counts == [PARTITIONS, *[None] * 500]

    async def test_seek(self, broker: Broker, topic: str, parts: list[TopicPartition]) -> None:
        await asyncio.gather(*(broker.publish(Message(topic, b"%d" % n, partition=0)) for n in range(10)))
        reader = await broker.consume([topic])
        await take(reader, 10)
        await reader.seek({parts[0]: 7, TopicPartition("elsewhere", 0): 1})
        assert [record.offset for record in await take(reader, 3)] == [7, 8, 9]

    async def test_seek_back_with_records_fetched_ahead(
        self, broker: Broker, topic: str, parts: list[TopicPartition]
    ) -> None:
        await asyncio.gather(*(broker.publish(Message(topic, b"%d" % n, partition=0)) for n in range(10)))
        reader = await broker.consume([topic])
        await take(reader, 2)
        await reader.seek({parts[0]: 0})
        assert [record.offset for record in await take(reader, 10)] == list(range(10))

    async def test_paused_partitions_return_no_records(
        self, broker: Broker, topic: str, parts: list[TopicPartition]
    ) -> None:
        reader = await broker.consume([topic])
        reader.pause([*parts[:2], TopicPartition("elsewhere", 0)])
        await asyncio.gather(
            *(broker.publish(Message(topic, b"v", partition=part)) for part in range(PARTITIONS))
        )
        assert {record.partition for record in await take(reader, 2)} == {2, 3}
        assert list(await reader.poll(10, 100)) == []
        reader.resume(parts)
        assert {record.partition for record in await take(reader, 2)} == {0, 1}

    async def test_pausing_what_is_fetched_loses_nothing(
        self, broker: Broker, topic: str, parts: list[TopicPartition]
    ) -> None:
        await asyncio.gather(*(broker.publish(Message(topic, b"v", partition=0)) for _ in range(10)))
        reader = await broker.consume([topic])
        assert [record.offset for record in await take(reader, 3)] == [0, 1, 2]
        reader.pause(parts)
        assert list(await reader.poll(10, 20)) == []
        reader.resume(parts)
        assert [record.offset for record in await take(reader, 7)] == list(range(3, 10))

    # Groups

    async def test_a_group_resumes_where_it_committed(
        self, broker: Broker, topic: str, parts: list[TopicPartition], unique: str
    ) -> None:
        await asyncio.gather(*(broker.publish(Message(topic, b"%d" % n, partition=1)) for n in range(10)))
        member = await broker.consume([topic], group=unique)
        assert [record.offset for record in await take(member, 10)] == list(range(10))
        await member.commit({parts[1]: 4})
        assert await member.committed(parts[:2]) == {parts[0]: None, parts[1]: 4}
        await member.close()
        member = await broker.consume([topic], group=unique)
        assert [record.offset for record in await take(member, 6)] == list(range(4, 10))

    async def test_groups_are_independent(self, broker: Broker, topic: str, unique: str) -> None:
        await asyncio.gather(*(broker.publish(Message(topic, b"v")) for _ in range(8)))
        for group in (f"{unique}-1", f"{unique}-2"):
            assert len(await take(await broker.consume([topic], group=group), 8)) == 8

    async def test_members_share_the_partitions_and_release_them_on_close(
        self, broker: Broker, topic: str, parts: list[TopicPartition], unique: str
    ) -> None:
        listener = RecordingListener()
        first = await broker.consume([topic], group=unique, listener=listener)
        assert first.assignment() == set(parts)
        second = await broker.consume([topic], group=unique)
        await wait_until(lambda: len(first.assignment()) == 2)
        assert first.assignment() | second.assignment() == set(parts)
        assert not first.assignment() & second.assignment()
        await asyncio.gather(
            *(broker.publish(Message(topic, b"v", partition=part)) for part in range(PARTITIONS))
        )
        for member in (first, second):
            found = await take(member, 2)
            assert {TopicPartition(record.topic, record.partition) for record in found} == member.assignment()
        await second.close()
        await wait_until(lambda: first.assignment() == set(parts))
        names = [name for name, _ in listener.events]
        assert names == ["assigned", "revoking", "revoked", "assigned", "revoking", "revoked", "assigned"]

    async def test_a_member_hands_over_before_the_next_owner_begins(
        self, broker: Broker, topic: str, parts: list[TopicPartition], unique: str
    ) -> None:
        await asyncio.gather(*(broker.publish(Message(topic, b"%d" % n, partition=n % 4)) for n in range(40)))
        listener = RecordingListener()
        first = listener.consumer = await broker.consume([topic], group=unique, listener=listener)
        await take(first, 40)
        listener.gate.clear()
        listener.commit_on_revoke = dict.fromkeys(parts, 6)
        joining = asyncio.create_task(broker.consume([topic], group=unique))
        await wait_until(lambda: listener.events[-1][0] == "revoking")
        await asyncio.gather(
            *(broker.publish(Message(topic, b"more", partition=n)) for n in range(PARTITIONS))
        )
        assert list(await first.poll(10, 50)) == []
        assert not joining.done()
        listener.gate.set()
        second = await joining
        await wait_until(lambda: listener.events[-1][0] == "assigned")
        for member in (first, second):
            offsets = [record.offset for record in await take(member, 10)]
            assert sorted(offsets) == [6, 6, 7, 7, 8, 8, 9, 9, 10, 10]

    async def test_each_assignment_has_a_higher_generation(
        self, connect: Connect, broker: Broker, topic: str, unique: str
    ) -> None:
        assert (await broker.consume([topic])).generation() == 0, "there is no group"
        seen: list[int] = []
        for _ in range(2):
            async with connect() as alone:
                member = await alone.consume([topic], group=unique)
                seen.append(member.generation())
                other = await alone.consume([topic], group=unique)
                await wait_until(lambda one=member: len(one.assignment()) == 2)  # type: ignore[misc]
                seen.append(member.generation())
                assert other.generation() == member.generation()
                await other.close()
                await member.close()
        assert seen == sorted(set(seen))
        assert seen[0] > 0

    async def test_a_commit_of_a_lost_partition_is_ignored(
        self, broker: Broker, topic: str, parts: list[TopicPartition], unique: str
    ) -> None:
        first = await broker.consume([topic], group=unique)
        second = await broker.consume([topic], group=unique)
        await wait_until(lambda: len(first.assignment()) == 2)
        await first.commit(dict.fromkeys(parts, 3))
        found = await second.committed(parts)
        assert found == {part: 3 if part in first.assignment() else None for part in parts}

    async def test_a_pause_holds_across_a_rebalance(
        self, broker: Broker, topic: str, parts: list[TopicPartition], unique: str
    ) -> None:
        first = await broker.consume([topic], group=unique)
        first.pause(parts)
        await asyncio.gather(
            *(broker.publish(Message(topic, b"v", partition=part)) for part in range(PARTITIONS))
        )
        second = await broker.consume([topic], group=unique)
        await wait_until(lambda: len(first.assignment()) == 2)
        assert len(await take(second, 2)) == 2
        assert list(await first.poll(10, 300)) == []
        await second.close()
        await wait_until(lambda: len(first.assignment()) == PARTITIONS)
        # The partitions that came back are not paused; those that stayed still are.
        assert len(await take(first, 2)) == 2
        assert list(await first.poll(10, 100)) == []
        first.resume(parts)
        assert len(await take(first, 2)) == 2

    async def test_a_listener_that_fails_ends_the_membership(
        self, broker: Broker, topic: str, unique: str
    ) -> None:
        first = await broker.consume([topic], group=unique, listener=FailingListener())
        await broker.consume([topic], group=unique)
        with pytest.raises(BrokerError, match="the window is broken"):
            await take(first, 1)

    async def test_closing_twice_and_polling_after_it(self, broker: Broker, topic: str, unique: str) -> None:
        for group in (unique, None):
            consumer = await broker.consume([topic], group=group)
            await consumer.close()
            await consumer.close()
            with pytest.raises(BrokerError):
                await consumer.poll(1, 10)

    async def test_stopping_closes_consumers(self, connect: Connect, unique: str) -> None:
        async with connect() as broker:
            await broker.ensure_topics([TopicSpec(unique, PARTITIONS)])
            await broker.consume([unique], group=unique)
        async with connect() as broker:
            member = await broker.consume([unique], group=unique)
            assert len(member.assignment()) == PARTITIONS
