"""The broker contract on the embedded broker, and tests of its log on disk."""

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from support import ROOT
from support.broker_contract import (
    TIMEOUT_S,
    BrokerContract,
    Connect,
    RecordingListener,
    Trim,
    take,
    wait_until,
)

from inferstream.pipeline.broker.base import Message, TopicPartition, TopicSpec
from inferstream.pipeline.broker.embedded.batches import BATCH_RECORDS
from inferstream.pipeline.broker.embedded.broker import EmbeddedBroker
from inferstream.pipeline.broker.embedded.database import FILE_NAME
from inferstream.pipeline.errors import BrokerError

PUBLISH_FOREVER = """
import asyncio, sys
from pathlib import Path
from inferstream.pipeline.broker.base import Message, TopicSpec
from inferstream.pipeline.broker.embedded.broker import EmbeddedBroker

async def main():
    async with EmbeddedBroker(Path(sys.argv[1])) as broker:
        await broker.ensure_topics([TopicSpec("t", 2)])
        number = 0
        while True:
            futures = [broker.publish(Message("t", b"%d" % (number + n), partition=n % 2)) for n in range(10)]
            await asyncio.gather(*futures)
            number += 10
            print(number, flush=True)

asyncio.run(main())
"""

JOIN = """
import asyncio, sys
from pathlib import Path
from inferstream.pipeline.broker.embedded.broker import EmbeddedBroker
from inferstream.pipeline.errors import BrokerError

async def main():
    async with EmbeddedBroker(Path(sys.argv[1])) as broker:
        try:
            member = await broker.consume(["t"], group="g")
        except BrokerError as error:
            print("refused:", error)
        else:
            print("joined with", len(member.assignment()), "partitions")

asyncio.run(main())
"""


class ManualClock:
    """The Unix time in milliseconds, as the test sets it."""

    def __init__(self) -> None:
        self.now = 1_700_000_000_000

    def __call__(self) -> int:
        return self.now


@asynccontextmanager
async def python(code: str, directory: Path) -> AsyncIterator[asyncio.subprocess.Process]:
    """A Python process that runs ``code``; it is killed at the end."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", code, str(directory), stdout=asyncio.subprocess.PIPE, cwd=ROOT
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


async def output(code: str, directory: Path) -> str:
    async with python(code, directory) as process:
        return (await process.communicate())[0].decode()


class TestContractOnEmbedded(BrokerContract):
    @pytest.fixture
    def connect(self, tmp_path: Path) -> Connect:
        return lambda: EmbeddedBroker(tmp_path)

    @pytest.fixture
    def trim(self) -> Trim:
        return EmbeddedBroker.trim


async def test_acknowledged_records_survive_a_kill(tmp_path: Path) -> None:
    async with python(PUBLISH_FOREVER, tmp_path) as process:
        assert process.stdout
        async with asyncio.timeout(TIMEOUT_S):
            while (acknowledged := int(await process.stdout.readline())) < 2_000:
                pass
        process.kill()
        rest = await process.stdout.read()
    acknowledged = max(acknowledged, *map(int, rest.split()[:-1] or [0]))
    async with EmbeddedBroker(tmp_path) as broker:
        found = await take(await broker.consume(["t"]), acknowledged)
        await broker.publish(Message("t", b"afterwards"))
    for part in range(2):
        records = [record for record in found if record.partition == part]
        assert [record.offset for record in records] == list(range(len(records)))
        assert [int(record.value or b"") for record in records] == [part + 2 * n for n in range(len(records))]


async def test_a_waiting_reader_gets_the_records_of_another_process(tmp_path: Path) -> None:
    async with EmbeddedBroker(tmp_path) as broker:
        await broker.ensure_topics([TopicSpec("t", 2)])
        reader = await broker.consume(["t"], start="latest")
        polling = asyncio.create_task(reader.poll(1_000, int(TIMEOUT_S * 1000)))
        async with python(PUBLISH_FOREVER, tmp_path):
            found = list(await polling)
            await asyncio.gather(*(broker.publish(Message("t", b"ours", partition=0)) for _ in range(50)))
            while sum(record.value == b"ours" for record in found) < 50:
                found += await take(reader, 100)
    for part in range(2):
        offsets = [record.offset for record in found if record.partition == part]
        assert offsets == list(range(len(offsets)))


async def test_a_group_lives_in_one_process(tmp_path: Path) -> None:
    async with EmbeddedBroker(tmp_path) as broker:
        await broker.ensure_topics([TopicSpec("t", 2)])
        member = await broker.consume(["t"], group="g")
        assert (await output(JOIN, tmp_path)).startswith(
            "refused: Another process already serves the consumer group g"
        )
        await member.close()
        assert await output(JOIN, tmp_path) == "joined with 2 partitions\n"
        await broker.consume(["t"], group="g")


async def test_retention_deletes_old_records_and_keeps_offsets(tmp_path: Path) -> None:
    clock = ManualClock()
    at = TopicPartition("t", 0)
    async with EmbeddedBroker(tmp_path, clock_ms=clock, steady_ms=clock) as broker:
        await broker.ensure_topics([TopicSpec("t", 1, retention_ms=60_000), TopicSpec("kept", 1)])
        await asyncio.gather(broker.publish(Message("t", b"0")), broker.publish(Message("kept", b"0")))
        clock.now += 40_000
        await broker.publish(Message("t", b"1"))
        clock.now += 40_000
        await broker.publish(Message("t", b"2"))
        reader = await broker.consume(["t"])
        assert [(record.offset, record.value) for record in await take(reader, 2)] == [(1, b"1"), (2, b"2")]
        clock.now += 100_000
    async with EmbeddedBroker(tmp_path, clock_ms=clock, steady_ms=clock) as broker:
        reader = await broker.consume(["t"])
        assert list(await reader.poll(10, 20)) == []
        assert await reader.end_offsets([at]) == {at: 3}
        await broker.publish(Message("t", b"3"))
        assert (await take(reader, 1))[0].offset == 3
        assert len(await take(await broker.consume(["kept"]), 1)) == 1


async def test_trimming_in_the_middle_of_a_batch() -> None:
    async with EmbeddedBroker() as broker:
        await broker.ensure_topics([TopicSpec("t", 2)])
        await asyncio.gather(*(broker.publish(Message("t", b"v", partition=n % 2)) for n in range(20)))
        member = await broker.consume(["t"], group="g")
        await member.commit({TopicPartition("t", 0): 2})
        await member.close()
        await broker.trim({TopicPartition("t", 0): 7})
        found = await take(await broker.consume(["t"], group="g"), 13)
        assert [record.offset for record in found if record.partition == 0] == [7, 8, 9]


async def test_a_long_backlog_is_read_in_several_polls() -> None:
    async with EmbeddedBroker() as broker:
        await broker.ensure_topics([TopicSpec("t", 2)])
        count = 3 * BATCH_RECORDS + 5
        futures = [broker.publish(Message("t", b"x" * 1_000, partition=n % 2)) for n in range(2 * count)]
        await asyncio.gather(*futures)
        reader = await broker.consume(["t"])
        found = await take(reader, 2 * count)
        for part in range(2):
            assert [record.offset for record in found if record.partition == part] == list(range(count))
        # The partitions take turns: neither waits until the other is read to its end.
        assert {record.partition for record in found[:2_000]} == {0, 1}


async def test_a_member_that_does_not_hand_over_in_time_is_removed() -> None:
    async with EmbeddedBroker(rebalance_timeout_ms=50) as broker:
        await broker.ensure_topics([TopicSpec("t", 2)])
        listener = RecordingListener()
        slow = await broker.consume(["t"], group="g", listener=listener)
        listener.gate.clear()
        other = await broker.consume(["t"], group="g")
        assert len(other.assignment()) == 2
        with pytest.raises(BrokerError, match="50 ms"):
            await slow.poll(1, 10)
        await slow.commit({TopicPartition("t", 0): 5})
        assert await other.committed([TopicPartition("t", 0)]) == {TopicPartition("t", 0): None}


async def test_a_cancelled_join_leaves_no_member_without_partitions() -> None:
    async with EmbeddedBroker() as broker:
        await broker.ensure_topics([TopicSpec("t", 2)])
        listener = RecordingListener()
        first = await broker.consume(["t"], group="g", listener=listener)
        listener.gate.clear()
        joining = asyncio.create_task(broker.consume(["t"], group="g"))
        await wait_until(lambda: listener.events[-1][0] == "revoking")
        joining.cancel()
        listener.gate.set()
        await asyncio.wait([joining])
        assert joining.cancelled()
        await wait_until(lambda: len(first.assignment()) == 2)


async def test_a_temporary_log_is_deleted() -> None:
    async with EmbeddedBroker() as broker:
        directory = broker.directory
        assert (directory / FILE_NAME).exists()
    assert not directory.exists()
