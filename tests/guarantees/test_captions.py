"""Partials and finals with real processes, on both brokers: what is superseded; `kill -9` loses no final."""

import asyncio
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from support.captions_worker import SLOW, release, start_captions_worker, topics_there
from support.steps_worker import broker_at

from inferstream import Caption, Client, TranslationStream
from inferstream.pipeline.broker.base import Broker, Consumer, Message
from inferstream.pipeline.lab.worker_process import WorkerProcess
from inferstream.pipeline.ops.audit.auditor import audit
from inferstream.pipeline.ops.audit.facts import Audited
from inferstream.pipeline.ops.audit.report import AuditReport
from inferstream.schemas.codec import decode_reply, encode
from inferstream.schemas.messages import Failure, Request, Result
from inferstream.schemas.topics import Topics

PATIENCE_S = 120.0
SEGMENTS = 10


class Place:
    """The topics of `translate` on one broker, the texts that reached a device, and worker processes."""

    def __init__(self, where: str, broker: Broker, topics: Topics, folder: Path) -> None:
        self.broker = broker
        self.topics = topics
        self.workers: list[WorkerProcess] = []
        self._where = where
        self._folder = folder
        self._notes = folder / "notes"
        self._notes.touch()
        self._reader: Consumer | None = None
        self.replies: list[Result | Failure] = []

    async def start(self) -> WorkerProcess:
        log = self._folder / f"worker-{len(self.workers)}.log"
        self.workers.append(start_captions_worker(self._where, self.topics, self._notes, log))
        await topics_there(self.broker, self.topics)
        return self.workers[-1]

    @property
    def ran(self) -> list[str]:
        """The texts that reached a device, in order."""
        return self._notes.read_text().splitlines()

    async def ask(self, identity: str, text: str, **more: Any) -> None:
        body = encode(Request(text, identity, **more))
        await self.broker.publish(Message(self.topics.requests, body, identity.partition("/")[0].encode()))

    async def block(self) -> None:
        """Keep the device until `release`."""
        await self.ask("block", SLOW)
        while SLOW not in self.ran:  # noqa: ASYNC110 - another process writes it
            await asyncio.sleep(0.02)

    def release(self) -> None:
        release(self._notes)

    async def replies_to(self, *identities: str) -> dict[str, str]:
        """What each request ended with first: its code, or "result"."""
        if self._reader is None:
            self._reader = await self.broker.consume([self.topics.replies])
        while not {one.id for one in self.replies} >= set(identities):
            for record in await self._reader.poll(100, 200):
                reply = decode_reply(record.value)
                assert isinstance(reply, Result | Failure)
                self.replies.append(reply)
        return {
            one.id: one.code if isinstance(one, Failure) else "result"
            for one in reversed(self.replies)
            if one.id in identities
        }

    async def report(self) -> AuditReport:
        return await audit(self.broker, Audited(self.topics), clock=time.time)


@pytest.fixture
async def place(where: str, unique: str, tmp_path: Path) -> AsyncIterator[Place]:
    async with asyncio.timeout(PATIENCE_S), broker_at(where) as broker:
        found = Place(where, broker, Topics("translate", unique), tmp_path)
        try:
            yield found
        finally:
            for worker in found.workers:
                await asyncio.to_thread(worker.kill)


async def test_a_newer_request_ends_the_partial_that_waits_and_finals_are_answered_in_order(
    place: Place,
) -> None:
    await place.start()
    await place.block()
    await place.ask("s/0/0", "one", final=False)
    await place.ask("s/0/1", "one two", final=False, supersedes="s/0/0")
    await place.ask("s/0/2", "one two three", supersedes="s/0/1")
    await place.ask("s/1/0", "four", supersedes="s/0/2")  # a final: not superseded
    await place.replies_to("s/0/0", "s/0/1")
    place.release()
    assert await place.replies_to("block", "s/0/0", "s/0/1", "s/0/2", "s/1/0") == {
        "block": "result",
        "s/0/0": "superseded",
        "s/0/1": "superseded",
        "s/0/2": "result",
        "s/1/0": "result",
    }
    assert [one.id for one in place.replies] == ["s/0/0", "s/0/1", "block", "s/0/2", "s/1/0"]
    assert place.ran == [SLOW, "one two three", "four"]
    report = await place.report()
    assert (report.requests, report.results, report.superseded, report.lost) == (5, 3, 2, False)


async def test_a_partial_that_is_read_again_after_a_kill_ends_by_the_newer_request(place: Place) -> None:
    dying = await place.start()
    await place.block()
    await place.ask("s/0/0", "one", final=False)
    await asyncio.to_thread(dying.kill)
    await place.ask("s/0/1", "one two", supersedes="s/0/0")
    await place.start()
    await place.replies_to("s/0/0")
    place.release()
    assert await place.replies_to("block", "s/0/0", "s/0/1") == {
        "block": "result",
        "s/0/0": "superseded",
        "s/0/1": "result",
    }
    assert "one" not in place.ran
    assert not (await place.report()).lost


async def speak(stream: TranslationStream) -> None:
    """Segments that grow word by word."""
    for segment in range(SEGMENTS):
        words = [stream.name, f"s{segment}", "is", "spoken", "word", "by", "word"]
        for count in range(2, 8):
            await stream.send(" ".join(words[:count]), final=False)
            await asyncio.sleep(0.02)
        await stream.send(" ".join(words) + ".")
    await stream.end()


async def spoken(stream: TranslationStream, counted: asyncio.Semaphore) -> list[Caption]:
    """All captions of a speaker. Each final is counted when it comes."""
    captions = []
    async with stream, asyncio.TaskGroup() as tasks:
        tasks.create_task(speak(stream))
        async for caption in stream:
            captions.append(caption)
            if caption.final:
                counted.release()
    return captions


async def test_workers_that_are_killed_lose_no_final_and_repeat_none(place: Place) -> None:
    """Eight speakers in three modes; each final comes once, in order, whatever is killed."""
    await place.start()
    counted = asyncio.Semaphore(0)
    modes: list[Any] = ["stable", "live", "final", "stable", "live", "final", "stable", "live"]
    async with Client(broker=place.broker, prefix=place.topics.prefix) as client:
        streams = [
            client.translate_stream("en", "pt", name=f"n{number}", mode=mode, timeout_s=PATIENCE_S)
            for number, mode in enumerate(modes)
        ]
        running = asyncio.gather(*(spoken(stream, counted) for stream in streams))
        for finals in (10, 20):
            for _ in range(finals):
                await counted.acquire()
            await asyncio.to_thread(place.workers[-1].kill)
            await place.start()
        found = await running
    for number, captions in enumerate(found):
        assert [(one.segment, one.text, one.error) for one in captions if one.final] == [
            (segment, f"N{number} S{segment} IS SPOKEN WORD BY WORD.", None) for segment in range(SEGMENTS)
        ]
        assert [one.segment for one in captions] == sorted(one.segment for one in captions)
    report = await place.report()
    assert (report.missing, report.out_of_order, report.dead_letters) == (0, 0, 0)


async def test_under_overload_all_finals_are_answered_and_each_reader_sees_partials(place: Place) -> None:
    """Twenty speakers whose partials are four times what the device runs."""
    await place.start()

    async def hear(stream: TranslationStream) -> list[Caption]:
        async with stream, asyncio.TaskGroup() as tasks:
            tasks.create_task(speak_quickly(stream))
            return [caption async for caption in stream]

    async with Client(broker=place.broker, prefix=place.topics.prefix) as client:
        streams = [
            client.translate_stream("en", "pt", name=f"n{number}", mode="live", timeout_s=PATIENCE_S)
            for number in range(20)
        ]
        found = await asyncio.gather(*map(hear, streams))
    for number, captions in enumerate(found):
        finals = [(caption.segment, caption.error) for caption in captions if caption.final]
        assert finals == [(segment, None) for segment in range(3)]
        assert any(not caption.final for caption in captions), f"the reader of n{number} saw no partial"
    superseded = sum(stream.report().superseded for stream in streams)
    assert superseded > 100
    report = await place.report()
    assert (report.missing, report.out_of_order) == (0, 0)
    assert report.superseded >= superseded


async def speak_quickly(stream: TranslationStream) -> None:
    """Segments that grow ten times a second."""
    for segment in range(3):
        text = f"{stream.name} s{segment}"
        for _ in range(10):
            text += " word"
            await stream.send(text, final=False)
            await asyncio.sleep(0.1)
        await stream.send(f"{text}.")
    await stream.end()
