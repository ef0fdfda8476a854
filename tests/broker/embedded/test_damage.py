"""A log that cannot be used: the error names the directory."""

import asyncio
import os
from pathlib import Path

import pytest
from support.broker_contract import take

from inferstream.pipeline.broker.base import Message, TopicSpec
from inferstream.pipeline.broker.embedded.broker import EmbeddedBroker
from inferstream.pipeline.broker.embedded.database import FILE_NAME
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


async def test_a_directory_that_cannot_be_created_is_named(tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("a file")
    with pytest.raises(BrokerError, match="taken"):
        async with EmbeddedBroker(tmp_path / "taken"):
            pass
