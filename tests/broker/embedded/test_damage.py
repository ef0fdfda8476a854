"""A log that cannot be used: the error names the directory."""

import asyncio
import os
from pathlib import Path

import pytest
from support.broker_contract import take
from support.open_files import has_proc, open_files_in

from inferstream.pipeline.broker.base import Message, TopicSpec
from inferstream.pipeline.broker.embedded.broker import EmbeddedBroker
from inferstream.pipeline.broker.embedded.database import FILE_NAME
from inferstream.pipeline.broker.embedded.group import LOCK_DIRECTORY
from inferstream.pipeline.errors import BrokerError


async def test_a_file_that_is_not_a_log_is_named(tmp_path: Path) -> None:
    (tmp_path / FILE_NAME).write_bytes(b"not a database, but long enough to be taken for one" * 100)
    with pytest.raises(BrokerError, match=f"{tmp_path} is damaged"):
        async with EmbeddedBroker(tmp_path):
            pass


async def test_a_damaged_log_fails_the_reader(tmp_path: Path) -> None:
    async with EmbeddedBroker(tmp_path) as broker:
        await broker.ensure_topics([TopicSpec("t", 1)])
        await asyncio.gather(*(broker.publish(Message("t", os.urandom(5_000))) for _ in range(400)))
    file = tmp_path / FILE_NAME
    content = file.read_bytes()
    file.write_bytes(content[:20_480] + b"\xff" * (len(content) - 20_480))
    async with EmbeddedBroker(tmp_path) as broker:
        reader = await broker.consume(["t"])
        with pytest.raises(BrokerError, match="damaged"):
            await take(reader, 400)


@has_proc
async def test_a_lock_of_a_group_that_cannot_be_used_is_named_and_closed(tmp_path: Path) -> None:
    lock = tmp_path / LOCK_DIRECTORY / "g.lock"
    lock.parent.mkdir()
    lock.write_bytes(b"not a database, but long enough to be taken for one" * 100)
    async with EmbeddedBroker(tmp_path) as broker:
        await broker.ensure_topics([TopicSpec("t", 1)])
        with pytest.raises(BrokerError, match=r"Cannot lock .*g\.lock \(file is not a database\)") as refused:
            await broker.consume(["t"], group="g")
        assert refused.tb is not None, "it keeps the lock alive"
        assert open_files_in(lock.parent) == []


async def test_a_directory_that_cannot_be_created_is_named(tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("a file")
    with pytest.raises(BrokerError, match="taken"):
        async with EmbeddedBroker(tmp_path / "taken"):
            pass


async def test_a_full_disk_is_named_and_the_broker_goes_on_when_there_is_room(tmp_path: Path) -> None:
    """SQLite rolls a transaction back by itself when the disk is full: no second rollback hides that."""
    async with EmbeddedBroker(tmp_path) as broker:
        await broker.ensure_topics([TopicSpec("t", 1)])
        run = broker._database.run
        pages = await run(lambda: broker._database.connection.execute("PRAGMA page_count").fetchone()[0])
        await run(lambda: broker._database.connection.execute(f"PRAGMA max_page_count = {pages}"))
        with pytest.raises(BrokerError, match=f"{tmp_path} .*full.*: free disk space"):
            await broker.ensure_topics([TopicSpec("x" * 200 + str(n), 9) for n in range(200)])
        with pytest.raises(BrokerError, match=r"full.*: free disk space"):
            await broker.publish(Message("t", os.urandom(500_000)))
        await run(lambda: broker._database.connection.execute("PRAGMA max_page_count = 1000000"))
        await broker.publish(Message("t", b"after"))
        assert (await take(await broker.consume(["t"]), 1))[0].value == b"after"
