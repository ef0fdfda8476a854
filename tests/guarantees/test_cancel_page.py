"""The commands of docs/cancel.md, run with kcat against a real Kafka."""

import asyncio
import re
import subprocess
from pathlib import Path

from support import ROOT
from support.broker_contract import take

from inferstream.pipeline.broker.base import TopicSpec
from inferstream.pipeline.broker.kafka.broker import KafkaBroker
from inferstream.pipeline.config import KafkaConfig
from inferstream.schemas.cancels import Cancel, Heartbeat, decode_cancel

PAGE = (ROOT / "docs" / "cancel.md").read_text()
TOPIC = re.compile(r"inferstream\.\w+\.cancels")
COMMANDS = [line for line in PAGE.splitlines() if line.startswith("echo ")]


async def test_each_command_sends_what_the_page_says(kafka: str, unique: str, kcat: Path) -> None:
    async with KafkaBroker(KafkaConfig(bootstrap=kafka)) as broker:
        await broker.ensure_topics([TopicSpec(unique, 1)])
        for command in COMMANDS:
            ours = TOPIC.sub(unique, command.replace("broker:9092", kafka))
            await asyncio.to_thread(subprocess.run, ours, shell=True, check=True, timeout=60)
        records = await take(await broker.consume([unique]), len(COMMANDS))
    assert [decode_cancel(record.value) for record in records] == [
        Cancel("t1"),
        Cancel("t1", "superseded"),
        Heartbeat("8f2c11d0"),
        Heartbeat("8f2c11d0", {"g1": 240, "g2": 12}),
    ]
    assert [record.key for record in records] == [b"t1", b"t1", b"8f2c11d0", b"8f2c11d0"]
