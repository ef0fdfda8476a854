"""Worker processes that die at any step of a request that fails: nothing is lost."""

import asyncio
import json
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest
from support.failing_worker import DEADLY, GONE, HANGS, RETRIES, failing_worker

from inferstream.pipeline.broker.base import Message, Record, TopicPartition
from inferstream.pipeline.broker.embedded.broker import EmbeddedBroker
from inferstream.pipeline.config import KafkaConfig
from inferstream.pipeline.kafka_local.ports import free_ports
from inferstream.pipeline.serving.hosting import Hosted
from inferstream.pipeline.serving.serving import Serving
from inferstream.pipeline.serving.topics import topic_specs
from inferstream.schemas.codec import decode_reply
from inferstream.schemas.messages import Failure
from inferstream.schemas.topics import Header, Topics
from inferstream.workers.app import app_for
from inferstream.workers.service import Delivery

TOPICS = Topics("echo")
GROUP = "inferstream.echo"
RETRY = TOPICS.retry("0s")
PARTITIONS = 2
PATIENCE_S = 60


class Folder:
    """The folder that a worker serves, seen by producers and readers."""

    def __init__(self, directory: Path, broker: EmbeddedBroker) -> None:
        self.directory = directory
        self._broker = broker

    async def ask(self, texts: Iterable[str]) -> None:
        """Requests with the position of their text as id."""
        for number, text in enumerate(texts):
            body = json.dumps({"id": str(number), "text": text}).encode()
            await self._broker.publish(Message(TOPICS.requests, body))

    def process(self, *arguments: str) -> "subprocess.Popen[bytes]":
        return subprocess.Popen(
            [sys.executable, "-m", "support.failing_worker", str(self.directory), *arguments]
        )

    @asynccontextmanager
    async def worker(self) -> AsyncIterator[Serving]:
        """A worker in this process."""
        async with asyncio.timeout(PATIENCE_S), EmbeddedBroker(self.directory / "topics") as broker:
            serving = failing_worker(broker, self.directory / "crashes", TOPICS)
            running = asyncio.create_task(serving.run())
            try:
                yield serving
            finally:
                serving.drain()
                await running

    async def records(self, topic: str) -> list[Record]:
        reader = await self._broker.consume([topic])
        ends = await reader.end_offsets([TopicPartition(topic, number) for number in range(PARTITIONS)])
        found: list[Record] = []
        while len(found) < sum(ends.values()):
            found += await reader.poll(1_000, 100)
        await reader.close()
        return found

    async def replies(self) -> dict[str, str]:
        """How the requests ended, by id: a code, or "ok"."""
        replies = [decode_reply(record.value) for record in await self.records(TOPICS.replies)]
        return {reply.id: reply.code if isinstance(reply, Failure) else "ok" for reply in replies}

    async def is_done(self) -> bool:
        """Whether all records are committed. Call it while no worker runs."""
        groups = {TOPICS.requests: GROUP, RETRY: f"{GROUP}.retry.0s"}
        return all([await self._is_committed(topic, group) for topic, group in groups.items()])

    async def _is_committed(self, topic: str, group: str) -> bool:
        partitions = [TopicPartition(topic, number) for number in range(PARTITIONS)]
        member = await self._broker.consume([topic], group=group)
        committed, ends = await member.committed(partitions), await member.end_offsets(partitions)
        await member.close()
        return all((committed[at] or 0) == ends[at] for at in partitions)


@pytest.fixture
async def folder(tmp_path: Path) -> AsyncIterator[Folder]:
    async with EmbeddedBroker(tmp_path / "topics") as broker:
        await broker.ensure_topics(topic_specs(TOPICS, KafkaConfig(partitions=PARTITIONS), RETRIES))
        yield Folder(tmp_path, broker)


STEPS = [
    (topic, when)
    for topic in (RETRY, TOPICS.requests, TOPICS.replies, TOPICS.dead_letters)
    for when in ("before", "after")
]


@pytest.mark.parametrize(("topic", "when"), STEPS)
async def test_a_process_killed_at_any_step_leaves_nothing_undone(
    folder: Folder, topic: str, when: str
) -> None:
    """A request whose device is gone goes to a retry topic, comes back, gets a failure reply, then a dead letter."""
    await folder.ask([GONE])
    process = folder.process(topic, when)
    assert await asyncio.to_thread(process.wait, PATIENCE_S) == -signal.SIGKILL
    while not await folder.is_done():
        async with folder.worker():
            await asyncio.sleep(0.1)
    assert await folder.replies() == {"0": "device_unavailable"}
    letters = await folder.records(TOPICS.dead_letters)
    assert 1 <= len(letters) <= 4, "one more for each of the three commits that were missed"
    for letter in letters:
        headers = dict(letter.headers)
        assert json.loads(letter.value or b"") == {"id": "0", "text": GONE}
        assert headers[Header.ATTEMPT] == b"2"
        assert headers[Header.ORIGIN].startswith(TOPICS.requests.encode())
        assert [line[1] for line in json.loads(headers[Header.HISTORY])] == ["device_unavailable"]


@pytest.mark.parametrize(
    ("bad", "ending"), [(DEADLY, -signal.SIGABRT), (HANGS, 1)], ids=["ends the process", "hangs the device"]
)
async def test_a_text_that_ends_the_process_becomes_poison_and_all_others_are_answered(
    folder: Folder, bad: str, ending: int
) -> None:
    texts = [f"text {number}" for number in range(40)]
    texts[17] = f"text {bad}"
    await folder.ask(texts)
    endings: Counter[int] = Counter()
    process = folder.process()
    while len(await folder.replies()) < len(texts):
        await asyncio.sleep(0.02)
        if (status := process.poll()) is not None:
            endings[status] += 1
            assert endings.total() < 5, "it was not recognized as poison"
            process = folder.process()
    process.terminate()
    assert await asyncio.to_thread(process.wait, PATIENCE_S) == 0
    assert 2 <= endings.pop(ending) <= 3, "in a batch, then alone, twice at most"
    assert not endings
    replies = await folder.replies()
    assert replies.pop("17") == "poison"
    assert set(replies.values()) == {"ok"}
    (letter,) = await folder.records(TOPICS.dead_letters)
    assert json.loads(letter.value or b"")["id"] == "17"
    assert dict(letter.headers)[Header.ERROR_CODE] == b"poison"


async def test_the_readiness_page_says_why_nothing_is_read(tmp_path: Path) -> None:
    broker = EmbeddedBroker(tmp_path / "topics")
    serving = failing_worker(broker, tmp_path / "crashes", TOPICS)
    breaker = serving.worker.breaker
    assert breaker is not None
    (port,) = free_ports(1)
    app = app_for(Delivery(Hosted(broker, serving, 5_000)), web_host="127.0.0.1", web_port=port)
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", trust_env=False) as web:
        await app.start()
        try:
            async with asyncio.timeout(PATIENCE_S):
                while (await web.get("/readyz")).status_code != 200:  # noqa: ASYNC110
                    await asyncio.sleep(0.01)
            for _ in range(20):
                breaker.dead()
            answer = await web.get("/readyz")
            assert answer.status_code == 503
            assert "too many requests in a row became dead letters" in answer.text
            assert (await web.get("/healthz")).status_code == 200, "a restart would not help"
        finally:
            await app.stop()
