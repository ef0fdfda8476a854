"""A stream that is not read has no steps: its neighbors go on, and its memory is given back when others need it."""

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from support.generator_rig import ROWS, GeneratorRig, a_generator_rig, text_alone, tokens_of
from support.steps_rig import until

from inferstream.pipeline.engine.crash_note import CrashNote, _batches
from inferstream.pipeline.engine.flight import Flight
from inferstream.pipeline.engine.flight_ends import GivenBack
from inferstream.pipeline.runtime.sessions import Session

LONG = 100


class Stream:
    """One request whose reader stops and goes on as a test says."""

    def __init__(self, rig: GeneratorRig, text: str, max_tokens: int = LONG, **more: Any) -> None:
        self.text = text
        self.flight: Flight | None = None
        self.answer = asyncio.create_task(rig.engine.answer(rig.job(text, max_tokens, **more), self._follow))

    def _follow(self, flight: Flight) -> None:
        self.flight = flight

    async def begun(self, pieces: int = 3) -> None:
        await until(lambda: self.flight is not None and len(self.flight.pieces) >= pieces)

    def pause(self, *, resumes: bool = True) -> None:
        assert self.flight is not None
        self.flight.pause(self, resumes=resumes)

    def go_on(self) -> None:
        assert self.flight is not None
        self.flight.go_on(self)


async def parked(rig: GeneratorRig, streams: Sequence[Stream]) -> None:
    """Return when the lane carries these rows without steps."""
    carried = rig.device._lanes[0]._carried
    await until(lambda: {entry.flight for entry in carried.parked} >= {stream.flight for stream in streams})


def on_device(folder: Path) -> list[list[bytes]]:
    """What the crash note says."""
    return [batch for note in folder.glob("*.note") for batch in _batches(note.read_bytes())]


async def test_a_paused_stream_has_no_steps_and_its_neighbors_do_not_notice(tiny_decoder: Session) -> None:
    async with a_generator_rig(tiny_decoder) as rig:
        paused, neighbor = Stream(rig, "not read"), Stream(rig, "is read", 200)
        await paused.begun()
        await neighbor.begun()
        paused.pause()
        await parked(rig, [paused])
        steps = len(rig.of("not read"))
        assert tokens_of(await neighbor.answer) == text_alone(tiny_decoder, "is read", 200)
        assert await rig.ask("comes later")
        assert len(rig.of("not read")) == steps, "no step while it is paused"
        paused.go_on()
        assert tokens_of(await paused.answer) == text_alone(tiny_decoder, "not read", LONG)


async def test_a_lane_whose_rows_are_all_paused_sleeps_and_wakes(
    tiny_decoder: Session, tmp_path: Path
) -> None:
    async with a_generator_rig(tiny_decoder, note=CrashNote(tmp_path, 1)) as rig:
        streams = [Stream(rig, f"{n} not read") for n in range(ROWS - 1)]
        for stream in streams:
            await stream.begun()
            stream.pause()
        await parked(rig, streams)
        await until(lambda: not rig.device.batcher.busy)
        steps = len(rig.steps)
        assert rig.device.batcher.backlog_ms == pytest.approx(0.0), "nothing waits for them"
        assert on_device(tmp_path) == []
        assert await rig.ask("another")
        assert len(rig.steps) - steps == len(rig.of("another"))
        for stream in streams:
            stream.go_on()
            assert tokens_of(await stream.answer) == text_alone(tiny_decoder, stream.text, LONG)


async def test_a_request_that_finds_no_memory_gets_that_of_the_stream_that_was_paused_first(
    tiny_decoder: Session,
) -> None:
    async with a_generator_rig(tiny_decoder) as rig:
        streams = [Stream(rig, f"{n} not read") for n in range(ROWS)]
        for stream in streams:
            await stream.begun()
            stream.pause()
            await parked(rig, [stream])
        answers = await asyncio.gather(rig.ask("one more"), rig.ask("and one more"))
        assert all(answers)
        with pytest.raises(GivenBack):
            await streams[0].answer
        assert sum(stream.answer.done() for stream in streams) <= 2
        for stream in streams:
            stream.go_on()
        ends = await asyncio.gather(*(stream.answer for stream in streams), return_exceptions=True)
        for stream, end in list(zip(streams, ends, strict=True))[2:]:
            assert not isinstance(end, BaseException)
            assert tokens_of(end) == text_alone(tiny_decoder, stream.text, LONG)


async def test_a_running_stream_keeps_its_memory_and_a_paused_one_gives_way_to_it(
    tiny_decoder: Session,
) -> None:
    async with a_generator_rig(tiny_decoder) as rig:
        running = [Stream(rig, f"{n} is read", 200) for n in range(ROWS - 1)]
        paused = Stream(rig, "not read")
        for stream in [*running, paused]:
            await stream.begun()
        paused.pause()
        await parked(rig, [paused])
        assert await rig.ask("one more")
        assert isinstance(paused.answer.exception(), GivenBack)
        for stream in running:
            assert tokens_of(await stream.answer) == text_alone(tiny_decoder, stream.text, 200)


async def test_a_stream_that_cannot_begin_again_keeps_its_memory(tiny_decoder: Session) -> None:
    async with a_generator_rig(tiny_decoder) as rig:
        streams = [Stream(rig, f"{n} not read") for n in range(ROWS)]
        for stream in streams:
            await stream.begun()
            stream.pause(resumes=False)
        await parked(rig, streams)
        waiting = rig.asked("one more")
        await until(lambda: len(rig.device.batcher) == 1)
        steps = len(rig.steps)
        await asyncio.to_thread(rig.device.batcher.wake)
        assert len(rig.steps) == steps
        streams[2].go_on()
        assert tokens_of(await streams[2].answer) == text_alone(tiny_decoder, streams[2].text, LONG)
        assert await waiting
        for stream in streams:
            stream.go_on()
        await asyncio.gather(*(stream.answer for stream in streams))


async def test_a_paused_stream_that_is_left_frees_its_memory_at_once(tiny_decoder: Session) -> None:
    async with a_generator_rig(tiny_decoder) as rig:
        streams = [Stream(rig, f"{n} not read") for n in range(ROWS)]
        for stream in streams:
            await stream.begun()
            stream.pause()
        await parked(rig, streams)
        for stream in streams:
            stream.answer.cancel()
        (lane,) = rig.generator._lanes
        await until(lambda: lane.memory.free_rows == ROWS)


async def test_a_paused_stream_ends_at_its_deadline(tiny_decoder: Session) -> None:
    async with a_generator_rig(tiny_decoder) as rig:
        stream = Stream(rig, "not read", expires=rig.clock() + 0.4)
        await stream.begun()
        stream.pause()
        with pytest.raises(Exception, match="deadline"):
            await stream.answer
        (lane,) = rig.generator._lanes
        await until(lambda: lane.memory.free_rows == ROWS)


async def test_an_engine_that_stops_waits_for_no_reader(tiny_decoder: Session) -> None:
    async with a_generator_rig(tiny_decoder) as rig:
        stream = Stream(rig, "not read")
        await stream.begun()
        stream.pause()
        await parked(rig, [stream])
    assert tokens_of(await stream.answer) == text_alone(tiny_decoder, "not read", LONG)


async def test_a_flight_goes_on_while_one_of_its_requests_is_read(tiny_decoder: Session) -> None:
    async with a_generator_rig(tiny_decoder) as rig:
        one, other = Stream(rig, "shared", 200), Stream(rig, "shared", 200)
        await one.begun()
        assert one.flight is other.flight
        one.pause()
        await other.begun(20)
        other.pause()
        await parked(rig, [one])
        third = Stream(rig, "shared", 200)
        assert tokens_of(await third.answer) == text_alone(tiny_decoder, "shared", 200)
        assert await one.answer == await other.answer or tokens_of(await one.answer)


async def test_a_request_that_leaves_a_shared_flight_leaves_the_other_one_paused(
    tiny_decoder: Session,
) -> None:
    async with a_generator_rig(tiny_decoder) as rig:
        one, other = Stream(rig, "shared", 200), Stream(rig, "shared", 200)
        await one.begun()
        one.pause()
        other.answer.cancel()
        await parked(rig, [one])
        one.go_on()
        assert tokens_of(await one.answer) == text_alone(tiny_decoder, "shared", 200)


async def test_a_paused_suspect_is_not_in_the_way_of_the_next_one(
    tiny_decoder: Session, tmp_path: Path
) -> None:
    async with a_generator_rig(tiny_decoder, note=CrashNote(tmp_path, 1)) as rig:
        rig.device.is_suspect = lambda key: True  # type: ignore[method-assign]
        first = Stream(rig, "first suspect")
        await first.begun()
        first.pause()
        await parked(rig, [first])
        assert tokens_of(await rig.ask("second suspect")) == text_alone(tiny_decoder, "second suspect")
        with pytest.raises(GivenBack):
            await first.answer
