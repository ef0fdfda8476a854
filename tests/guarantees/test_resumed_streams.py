"""Answers in pieces over the death, the end and the return of workers: no piece changes, is missing or doubled.

The workers that go on make capitals of the same letters, as a device of another kind might: what was shown before
must stay, and so it is seen where each piece comes from.
"""

import asyncio
import re
import signal
import subprocess
from collections.abc import AsyncIterator

import msgspec
import pytest
from support.steps_place import Place, a_place
from support.steps_worker import know_steps

from inferstream import Client
from inferstream.schemas.messages import Chunk

PATIENCE_S = 150.0
STEPS = 1_500


@pytest.fixture
async def place(where: str, unique: str, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Place]:
    know_steps(monkeypatch)
    async with a_place(where, unique, PATIENCE_S) as found:
        yield found


class Reading:
    """Streams of several texts, and what was shown of each."""

    def __init__(self, client: Client, *texts: str) -> None:
        self.shown = dict.fromkeys(texts, "")
        self.grown = asyncio.Event()
        self.tasks = [asyncio.create_task(self._read(client, text)) for text in texts]

    async def _read(self, client: Client, text: str) -> None:
        async with client.stream("steps", text, timeout_s=None) as stream:
            async for piece in stream:
                self.shown[text] += piece
                self.grown.set()
            assert (await stream.answer()).output.text == self.shown[text]

    async def until_shown(self, pieces: int) -> None:
        """Until so many pieces of each text are shown."""
        while any(len(shown) < pieces for shown in self.shown.values()):
            self.grown.clear()
            await self.grown.wait()

    async def end(self) -> None:
        await asyncio.gather(*self.tasks)
        for text, shown in self.shown.items():
            assert shown.lower() == text, "every position once"
            # A worker that was suspended may join again, and get the partition back.
            assert re.fullmatch("[a-z]+[A-Z]+[a-z]*", shown), "of one worker, and behind it of the other one"


def texts(count: int) -> list[str]:
    return [f"{chr(ord('a') + number)}xy" * (STEPS // 3) for number in range(count)]


async def ended(process: "subprocess.Popen[bytes]") -> int:
    return await asyncio.to_thread(process.wait)


async def test_what_a_killed_worker_has_shown_stays(place: Place) -> None:
    killed = place.start()
    await place.ready()
    async with Client(broker=place.broker, prefix=place.topics.prefix) as client:
        reading = Reading(client, *texts(4))
        await reading.until_shown(50)
        killed.kill()
        place.start_loud()
        await reading.end()
    await check(place, 4)


async def test_a_worker_that_stops_hands_its_streams_over(place: Place) -> None:
    """It does not wait for their end, and sends none."""
    stopped = place.start()
    await place.ready()
    async with Client(broker=place.broker, prefix=place.topics.prefix) as client:
        reading = Reading(client, *texts(4))
        await reading.until_shown(50)
        stopped.send_signal(signal.SIGTERM)
        assert await ended(stopped) == 0
        report = await place.report()
        assert (report.results, report.failures) == (0, {})
        place.start_loud()
        await reading.end()
    await check(place, 4)


@pytest.mark.parametrize("where", [pytest.param("kafka", marks=pytest.mark.kafka)], indirect=True)
async def test_what_a_suspended_worker_tells_when_it_was_replaced_does_not_count(place: Place) -> None:
    """On Kafka only: the group of a folder belongs to one process."""
    suspended = place.start()
    await place.ready()
    async with Client(broker=place.broker, prefix=place.topics.prefix) as client:
        (text,) = texts(1)
        reading = Reading(client, text)
        await reading.until_shown(50)
        suspended.send_signal(signal.SIGSTOP)
        known = len(reading.shown[text])
        place.start_loud()
        await reading.until_shown(known + 100)
        suspended.send_signal(signal.SIGCONT)
        await reading.end()
    await check(place, 1)


@pytest.mark.parametrize("where", [pytest.param("kafka", marks=pytest.mark.kafka)], indirect=True)
async def test_a_worker_that_joins_gets_its_share_of_running_streams(place: Place) -> None:
    place.start()
    await place.ready()
    async with Client(broker=place.broker, prefix=place.topics.prefix) as client:
        reading = Reading(client, *(4 * text for text in texts(6)))
        await reading.until_shown(50)
        place.start_loud()
        await asyncio.gather(*reading.tasks)
        assert all(shown.lower() == text for text, shown in reading.shown.items())
    await check(place, 6)


@pytest.mark.parametrize("way", [signal.SIGKILL, signal.SIGTERM], ids=["killed", "stopped"])
async def test_a_stream_that_is_left_while_it_has_no_worker_ends_once(
    place: Place, way: signal.Signals
) -> None:
    first = place.start()
    await place.ready()
    async with Client(broker=place.broker, prefix=place.topics.prefix) as client:
        (text,) = texts(1)
        shown = 0
        async with client.stream("steps", text, timeout_s=None) as stream:
            async for _ in stream:
                shown += 1
                if shown == 50:
                    break
            first.send_signal(way)
            await ended(first)
    place.start()
    while (await place.report()).unended:  # noqa: ASYNC110 - no broker tells it
        await asyncio.sleep(0.2)
    await asyncio.to_thread(place.stop)
    report = await place.report()
    assert (report.requests, report.results, report.failures) == (1, 0, {"cancelled": 1})
    assert (report.lost, report.torn, report.late_cancels) == (False, 0, 0)
    assert len("".join(["".join(msgspec.json.decode(one.output)) for one in await place.chunks()])) < STEPS


async def check(place: Place, count: int) -> None:
    """The same by the topics alone."""
    report = await place.report()
    assert (report.requests, report.results, report.resumed) == (count, count, count)
    assert (report.lost, report.torn, report.out_of_order) == (False, 0, 0)
    assert report.repeated_pieces == 0, await again(place)


async def again(place: Place) -> list[str]:
    """Of each request the chunks around those that tell a piece again."""
    chunks: dict[str, list[Chunk]] = {}
    for chunk in await place.chunks():
        chunks.setdefault(chunk.id, []).append(chunk)
    found = []
    for of_request in chunks.values():
        known = 0
        for number, chunk in enumerate(of_request):
            end = chunk.from_ + len(msgspec.json.decode(chunk.output))
            if chunk.from_ < known and end > chunk.from_:
                found += [
                    f"{one.epoch}/{one.seq}/{one.from_}/{bytes(one.output).decode()}"
                    for one in of_request[max(0, number - 4) : number + 3]
                ]
            known = max(known, end)
    return found
