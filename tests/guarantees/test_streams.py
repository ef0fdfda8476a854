"""Answers in pieces with real worker processes, on both brokers: whole and in order, also over `kill -9`."""

import asyncio
import signal
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import msgspec
import pytest
from support.steps_place import Place, a_place
from support.steps_worker import ENDS, know_steps

from inferstream import Client, Poison
from inferstream.schemas.codec import decode_reply
from inferstream.schemas.messages import Chunk, Failure

PATIENCE_S = 120.0
STEPS = 400


@pytest.fixture
async def place(where: str, unique: str, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Place]:
    know_steps(monkeypatch)
    async with a_place(where, unique, PATIENCE_S) as found:
        yield found


def texts(count: int) -> Iterator[str]:
    for number in range(count):
        yield f"{number}-" * (STEPS // 2)


async def test_a_worker_that_is_killed_tears_no_stream(place: Place) -> None:
    """The next one goes on behind what it told; the client shows each piece once."""
    killed = place.start()
    await place.ready()
    shown = asyncio.Semaphore(0)
    asked: dict[str, str] = {}

    async def read(client: Client, text: str, key: bytes | None) -> None:
        pieces = []
        async with client.stream("steps", text, key=key, timeout_s=None) as stream:
            asked[stream.id] = text
            async for piece in stream:
                pieces.append(piece)
                shown.release()
        assert "".join(pieces) == text
        assert (await stream.answer()).output.text == text

    async with (
        Client(broker=place.broker, prefix=place.topics.prefix) as client,
        asyncio.TaskGroup() as reading,
    ):
        for number, text in enumerate(texts(6)):
            reading.create_task(read(client, text, b"k" if number % 2 else None))
        for _ in range(200):
            await shown.acquire()
        killed.kill()
        place.start()
    report = await place.report()
    assert (report.requests, report.results, report.repeats) == (6, 6, 0)
    assert (report.lost, report.torn, report.late_chunks, report.out_of_order) == (False, 0, 0, 0)
    assert report.resumed > 0, "the worker was killed while it told"
    assert (report.repeated_pieces, report.duplicated_chunks) == (0, 0), "nothing was told twice"
    assert report.chunks > 20
    for chunk in await place.chunks():
        told = "".join(msgspec.json.decode(chunk.output, type=list[str]))
        assert asked[chunk.id].startswith(told, chunk.from_), "what any worker tells is at its position"


@pytest.mark.parametrize("where", ["embedded"], indirect=True)
async def test_a_step_that_ends_the_process_is_found_and_the_streams_beside_it_are_whole(
    place: Place, tmp_path: Path
) -> None:
    """The crash note knows the contents of a step; nothing of this depends on the broker."""
    notes = str(tmp_path / "notes")
    worker = place.start(notes)
    crashes = 0
    await place.ready()

    async def supervise() -> None:
        nonlocal worker, crashes
        while True:
            await asyncio.sleep(0.02)
            if worker.poll() is not None:
                crashes += 1
                worker = place.start(notes)

    async def read(client: Client, text: str) -> str:
        async with client.stream("steps", text, timeout_s=None) as stream:
            return "".join([piece async for piece in stream])

    beside = [text[:150] for text in texts(3)]
    supervising = asyncio.create_task(supervise())
    try:
        async with Client(broker=place.broker, prefix=place.topics.prefix) as client:
            reading = [asyncio.create_task(read(client, text)) for text in beside]
            with pytest.raises(Poison):
                await read(client, "before" + ENDS + "after")
            assert await asyncio.gather(*reading) == beside
    finally:
        supervising.cancel()
    assert 2 <= crashes <= 3, "once beside the others, twice alone"
    report = await place.report()
    assert (report.requests, report.results, report.failures) == (4, 3, {"poison": 1})
    assert not report.lost, report


@pytest.mark.parametrize("where", [pytest.param("kafka", marks=pytest.mark.kafka)], indirect=True)
async def test_a_worker_that_was_suspended_and_goes_on_tears_no_stream(place: Place) -> None:
    """It publishes what it had begun, beside the worker that has its partitions now.

    On Kafka only: an embedded broker has one worker process, and no other while that is suspended.
    """
    suspended = place.start()
    await place.ready()
    text = "a1b2" * (STEPS // 4)
    async with Client(broker=place.broker, prefix=place.topics.prefix) as client:
        async with client.stream("steps", text, key=b"k", timeout_s=None) as stream:
            shown = [await anext(stream) for _ in range(STEPS // 8)]
            suspended.send_signal(signal.SIGSTOP)
            place.start()
            while len(shown) < STEPS // 2:  # the other one has taken over
                shown.append(await anext(stream))
            suspended.send_signal(signal.SIGCONT)
            shown += [piece async for piece in stream]
        assert "".join(shown) == text
        assert (await client.request("steps", "later", key=b"k", timeout_s=None)).output.text == "later"
    report = await place.report()
    assert (report.requests, report.results, report.lost) == (2, 2, False)


async def test_a_stream_that_is_left_ends_after_what_was_told(place: Place) -> None:
    place.start()
    await place.ready()
    reader = await place.broker.consume([place.topics.replies])
    async with Client(broker=place.broker, prefix=place.topics.prefix) as client:
        async with client.stream("steps", "x" * 9_000, id="t1") as stream:
            async for _ in stream:
                break
        replies = []
        while not replies or isinstance(replies[-1], Chunk):
            replies += [decode_reply(record.value) for record in await reader.poll(100, 100)]
    await reader.close()
    end = replies[-1]
    assert isinstance(end, Failure)
    assert (end.code, end.seq) == ("cancelled", len(replies) - 1)
    positions = [reply.from_ for reply in replies if isinstance(reply, Chunk)]
    assert positions == sorted(positions)
    assert positions[-1] < 9_000
    assert not (await place.report()).lost
