"""A stream that is not read: its worker pauses it, goes on when it is read, hands it over, and ends it after a time."""

import asyncio
import signal
from collections.abc import AsyncIterator

import pytest
from support.broker_contract import wait_until
from support.kafka_serving import running
from support.steps_place import Place, a_place
from support.steps_worker import SlowSession, know_steps, steps_worker

from inferstream import Cancelled, Client
from inferstream.pipeline.client.pieces import MAX_UNREAD_BYTES
from inferstream.pipeline.delivery.unread import MOST_PIECES
from inferstream.pipeline.engine.batching import Limits
from inferstream.pipeline.serving.serving import Serving

PATIENCE_S = 120.0
LONG = "0123456789" * 150


@pytest.fixture
async def place(where: str, unique: str, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Place]:
    know_steps(monkeypatch)
    async with a_place(where, unique, PATIENCE_S) as found:
        yield found


def parked(serving: Serving) -> int:
    (device,) = serving.engine.devices
    return len(device._lanes[0]._carried.parked)


async def test_a_stream_that_is_not_read_is_paused_and_goes_on_when_it_is(place: Place) -> None:
    session = SlowSession()
    serving = steps_worker(place.broker, place.topics, session)
    async with (
        running(serving),
        Client(broker=place.broker, prefix=place.topics.prefix) as client,
        client.stream("steps", LONG, id="unread", timeout_s=None) as unread,
    ):
        shown = [await anext(unread) for _ in range(3)]
        await wait_until(lambda: parked(serving) == 1)
        assert unread._pieces._unread_bytes < MAX_UNREAD_BYTES
        ends = []
        for _ in range(2):  # what was told before the pause has come when a neighbor has ended
            async with client.stream("steps", LONG[:1_000], timeout_s=None) as neighbor:
                assert "".join([piece async for piece in neighbor]) == LONG[:1_000], "it does not notice"
            ends.append(unread._pieces._end)
        assert MOST_PIECES <= ends[0] < len(LONG)
        assert ends[1] == ends[0], "no piece was told meanwhile"
        shown += [piece async for piece in unread]
        assert "".join(shown) == LONG
        assert (await unread.answer()).output.text == LONG
    report = await place.report()
    assert (report.requests, report.results, report.failures) == (3, 3, {})
    assert (report.lost, report.torn, report.repeated_pieces) == (False, 0, 0)


async def test_streams_that_are_not_read_give_their_memory_back_and_go_on_behind_what_was_told(
    place: Place,
) -> None:
    serving = steps_worker(place.broker, place.topics, SlowSession(), Limits(4_096, 64, max_running=2))
    async with running(serving), Client(broker=place.broker, prefix=place.topics.prefix) as client:
        streams = [client.stream("steps", f"{n}{LONG}", timeout_s=None) for n in range(3)]
        async with streams[0], streams[1], streams[2]:
            shown = [await anext(stream) for stream in streams]
            await wait_until(lambda: all(stream._pieces._end >= MOST_PIECES for stream in streams))
            answer = await client.request("steps", "one more", timeout_s=None)
            assert answer.output.text == "one more"
            for number, stream in enumerate(streams):
                assert shown[number] + "".join([piece async for piece in stream]) == f"{number}{LONG}"
                assert (await stream.answer()).output.text == f"{number}{LONG}"
    report = await place.report()
    assert (report.results, report.failures) == (4, {})
    assert (report.lost, report.torn, report.repeated_pieces) == (False, 0, 0)


async def test_a_program_that_waits_for_the_answer_alone_is_never_paused(place: Place) -> None:
    serving = steps_worker(place.broker, place.topics, SlowSession())
    async with (
        running(serving),
        Client(broker=place.broker, prefix=place.topics.prefix) as client,
        client.stream("steps", LONG, timeout_s=None) as stream,
    ):
        await anext(stream)
        assert (await stream.answer()).output.text == LONG


async def test_a_stream_that_nothing_reads_is_ended_and_says_why(place: Place) -> None:
    serving = steps_worker(place.broker, place.topics, SlowSession(), unread_s=1.0)
    async with running(serving), Client(broker=place.broker, prefix=place.topics.prefix) as client:
        async with client.stream("steps", LONG, lease_s=1, timeout_s=None) as stream:
            await wait_until(lambda: not serving.worker.window.running and stream._pieces._end > 0)
            with pytest.raises(
                Cancelled, match=r"Nothing of the answer was read for \d+ s, although \d+ of its"
            ):
                async for _ in stream:
                    pass
        assert parked(serving) == 0
    report = await place.report()
    assert (report.lost, report.failures) == (False, {"cancelled": 1})


@pytest.mark.parametrize("ending", [signal.SIGTERM, signal.SIGKILL])
async def test_a_paused_stream_is_handed_over_and_holds_up_no_drain(
    place: Place, ending: signal.Signals
) -> None:
    first = place.start()
    await place.ready()
    async with (
        Client(broker=place.broker, prefix=place.topics.prefix) as client,
        client.stream("steps", LONG, timeout_s=None) as stream,
    ):
        shown = [await anext(stream) for _ in range(3)]
        await wait_until(lambda: stream._pieces._end >= MOST_PIECES)
        first.send_signal(ending)
        status = await asyncio.to_thread(first.wait)
        assert status in (0, -signal.SIGKILL), "a drain that takes too long ends with 1"
        place.start()
        shown += [piece async for piece in stream]
        assert "".join(shown) == LONG
    report = await place.report()
    assert (report.results, report.torn, report.repeated_pieces) == (1, 0, 0)
    assert report.resumed == 1
