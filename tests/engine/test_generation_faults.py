"""Generations that are left, fail, are suspects, or find the memory of the lane in use. The decoder is a tiny one."""

import asyncio
import itertools
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from support.generator_rig import ROWS, GeneratorRig, a_generator_rig, text_alone, tokens_of
from support.steps_rig import until

from inferstream.pipeline.engine.crash_note import CrashNote
from inferstream.pipeline.errors import (
    DeadlineExceeded,
    DeviceError,
    DeviceLost,
    DeviceOutOfMemory,
    InferstreamError,
    Overloaded,
)
from inferstream.pipeline.runtime.generated_row import DECODE, PREFILL, GeneratedRow
from inferstream.pipeline.runtime.sessions import Session

Step = Callable[[Sequence[Any]], Sequence[Any]]


async def full(rig: GeneratorRig, max_tokens: int) -> list["asyncio.Task[Any]"]:
    """A lane whose memory is in use; it is held before a decode step."""
    begun = len(rig.steps)
    rig.hold()
    asked = [rig.asked(f"{n} full", max_tokens) for n in range(ROWS)]
    await rig.begun(begun + 1)
    await until(lambda: len(rig.device.batcher) == ROWS - 1)
    rig.hold(2 * ROWS)
    await rig.begun(begun + 2 * ROWS + 1)
    return asked


async def left(task: "asyncio.Task[Any]") -> None:
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_a_generation_that_is_left_takes_no_step_in_the_queue_and_one_more_at_most_on_the_device(
    tiny_decoder: Session,
) -> None:
    async with a_generator_rig(tiny_decoder) as rig:
        neighbors = await full(rig, 80)
        waiting = rig.asked("in the queue")
        await until(lambda: bool(rig.device.batcher))
        await left(waiting)
        await left(neighbors.pop())
        reading = rig.asked("r" * 240)
        while not rig.of("r" * 240):
            begun = len(rig.steps)
            rig.hold(1)
            await rig.begun(begun + 1)
        begun = len(rig.steps)
        await left(reading)
        rig.release()
        for number, answer in enumerate(await asyncio.gather(*neighbors)):
            assert tokens_of(answer) == text_alone(tiny_decoder, f"{number} full", 80)
        assert rig.of("in the queue") == []
        assert len([step for step in rig.of(f"{ROWS - 1} full") if step.phase == DECODE]) == 2
        assert rig.steps[begun:]
        assert not [step for step in rig.steps[begun:] if step in rig.of("r" * 240)]


async def test_rows_wait_for_memory_by_tenant_and_by_when_they_are_due(tiny_decoder: Session) -> None:
    async with a_generator_rig(tiny_decoder) as rig:
        asked = await full(rig, 6)
        order = ["first a", "second a", "third a"]
        for number, text in enumerate(order):
            asked.append(rig.asked(text, tenant="a"))
            await until(lambda count=number + 1: len(rig.device.batcher) == count)  # type: ignore[misc]
            rig.clock.advance(0.01)
        asked.append(rig.asked("urgent a", tenant="a", priority=0))
        asked.append(rig.asked("first b", tenant="b"))
        await until(lambda: len(rig.device.batcher) == 5)
        rig.release()
        await asyncio.gather(*asked)
        begins = {text: rig.steps.index(rig.of(text)[0]) for text in [*order, "urgent a", "first b"]}
        assert sorted(order, key=begins.__getitem__) == order
        assert begins["urgent a"] < begins["second a"]
        assert begins["first b"] < begins["second a"]


async def test_tenants_share_the_device_by_tokens(tiny_decoder: Session) -> None:
    """One asks for few tokens many times, the other for many: both get as much of each step."""
    async with a_generator_rig(tiny_decoder, cached=False) as rig:
        rig.hold()
        asked = [rig.asked(f"{n:02} a", 40, tenant="a") for n in range(12)]
        asked += [rig.asked(f"{n:02} b", 8, tenant="b") for n in range(60)]
        await rig.begun(1)
        await until(lambda: len(rig.device.batcher) == 71)
        rig.release()
        await asyncio.gather(*asked)
        ended = max(rig.steps.index(rig.of(f"{n:02} b")[-1]) for n in range(60))
        shared = [row.tenant for step in rig.steps[:ended] for row in step.rows]
        assert 0.4 < shared.count("b") / len(shared) < 0.6


async def test_a_full_lane_refuses_what_it_cannot_begin_in_time_and_says_when_to_come_back(
    tiny_decoder: Session,
) -> None:
    async with a_generator_rig(tiny_decoder, step_ms=10.0) as rig:
        await rig.ask("so that a step is known", 60)
        asked = await full(rig, 100)
        begun = len(rig.steps)
        rig.hold(40)  # so that it is known how long a step of all rows takes
        await rig.begun(begun + 40)
        left_s = 0.01 * (100 - 40 - ROWS)
        with pytest.raises(Overloaded) as refused:
            await rig.ask("in half of the time", 2, expires=rig.clock() + left_s / 2)
        assert 0.2 * left_s < (refused.value.retry_after_ms or 0) / 1e3 < 2 * left_s
        later = rig.asked("in twice the time", 2, expires=rig.clock() + 3 * left_s)
        await until(lambda: bool(rig.device.batcher))
        rig.release()
        await asyncio.gather(*asked, later)


async def test_a_row_that_does_not_begin_before_its_deadline_takes_no_step(tiny_decoder: Session) -> None:
    async with a_generator_rig(tiny_decoder, step_ms=10.0) as rig:
        asked = await full(rig, 100)
        job = rig.job("too late", 2, expires=rig.clock() + 0.2, waited_s=1e-9)  # is not refused
        late = asyncio.create_task(rig.engine.answer(job))
        await until(lambda: bool(rig.device.batcher))
        rig.release()
        with pytest.raises(DeadlineExceeded):
            await late
        await asyncio.gather(*asked)
        assert rig.of("too late") == []


async def test_the_share_of_the_tokens_that_are_used_is_learned(tiny_decoder: Session) -> None:
    async with a_generator_rig(tiny_decoder, cached=False) as rig:
        end = text_alone(tiny_decoder, "ends early", 30)[9]
        first = text_alone(tiny_decoder, "ends early", 30).index(end)
        cost = rig.costs[DECODE]
        assert cost.steps(199, 199) == 199
        for _ in range(50):
            answer = await rig.engine.answer(rig.job("ends early", 200, [end]))
        assert len(tokens_of(answer)) == first
        assert first <= cost.steps(199, 199) < 40
        begun = len(rig.steps)
        rig.hold()
        asked = rig.asked("another", 200)
        await rig.begun(begun + 1)
        further_ms = rig.device.batcher.further_ms
        assert further_ms == pytest.approx(cost.steps(199, 199) * cost.ms(1, 1))
        rig.release()
        await asked


async def test_suspects_take_all_steps_alone_one_after_the_other_and_others_go_on(
    tiny_decoder: Session, tmp_path: Path
) -> None:
    suspects = [f"{n} suspect" for n in range(2 * ROWS)]
    async with a_generator_rig(tiny_decoder, note=CrashNote(tmp_path, 1)) as rig:
        keys = {rig.engine._questions.read(rig.job(text))[3] for text in suspects}
        rig.device.is_suspect = keys.__contains__  # type: ignore[method-assign]
        rig.hold()
        asked = [rig.asked(text) for text in suspects]
        asked += [rig.asked(f"{n} other") for n in range(ROWS)]
        await rig.begun(1)
        await until(lambda: len(rig.device.batcher) == 3 * ROWS - 1)
        rig.release()
        answers = await asyncio.gather(*asked)
        for text, answer in zip(suspects, answers, strict=False):
            assert tokens_of(answer) == text_alone(tiny_decoder, text)
            assert {len(step.rows) for step in rig.of(text)} == {1}
        spans = sorted((rig.steps.index(rig.of(t)[0]), rig.steps.index(rig.of(t)[-1])) for t in suspects)
        assert all(end < begin for (_, end), (begin, _) in itertools.pairwise(spans))
        others_end = max(rig.steps.index(rig.of(f"{n} other")[-1]) for n in range(ROWS))
        assert others_end < spans[-1][0], "they did not wait for all suspects"


@pytest.mark.parametrize("error", [DeviceError, DeviceOutOfMemory])
@pytest.mark.parametrize("step", [1, 2, 5])
async def test_a_row_that_fails_at_any_step_fails_alone(
    tiny_decoder: Session, error: type[InferstreamError], step: int
) -> None:
    """And the rows of a step that does not fit take it in halves."""
    async with a_generator_rig(tiny_decoder, cached=False) as rig:
        fail_with(rig, error, lambda row: row.prompt[0] == ord("!") and len(row.generated) == step)
        rig.hold()
        texts = ["first", "!bad", "second", "third", "fourth", "fifth"]
        asked = [rig.asked(text) for text in texts]
        await rig.begun(1)
        await until(lambda: len(rig.device.batcher) == len(texts) - 1)
        rig.release()
        first, bad, *others = await asyncio.gather(*asked, return_exceptions=True)
        assert isinstance(bad, error)
        for text, answer in zip(["first", *texts[2:]], [first, *others], strict=True):
            assert tokens_of(answer) == text_alone(tiny_decoder, text)  # type: ignore[arg-type]


async def test_a_lost_device_ends_the_engine(tiny_decoder: Session) -> None:
    rig = GeneratorRig(tiny_decoder)
    async with asyncio.timeout(20), rig.engine:
        fail_with(rig, DeviceLost, lambda row: len(row.generated) == 2)
        asked = rig.asked("text")
        with pytest.raises(DeviceLost):
            await rig.engine.watch()
        asked.cancel()


def fail_with(
    rig: GeneratorRig, error: type[InferstreamError], fails: Callable[[GeneratedRow], bool]
) -> None:
    run: Step = rig._run

    def failing(rows: Sequence[Any]) -> Sequence[Any]:
        if any(fails(row) for row in rows):
            raise error("It failed.")
        return run(rows)

    rig._run = failing  # type: ignore[assignment]


async def test_what_steps_cost_is_measured_while_the_lanes_warm_up(tiny_decoder: Session) -> None:
    rig = GeneratorRig(tiny_decoder, lanes=2)
    assert len(rig.generator._lanes) == 2
    rig.device._settings = rig.device._settings._replace(stopwatch=Stopwatch())
    rig.device.learn(256)
    for phase in (PREFILL, DECODE):
        assert rig.costs[phase].learned
        assert math.isclose(rig.costs[phase].ms(1, 1), 5.0, rel_tol=0.3)
    before = [rig.costs[DECODE].ms(rows, 1) for rows in (1, 4)]
    rig.device.learn(256)
    assert [rig.costs[DECODE].ms(rows, 1) for rows in (1, 4)] == before
    assert all(lane.memory.free_rows == ROWS for lane in rig.generator._lanes)


class Stopwatch:
    """Each run takes 5 ms."""

    def __init__(self) -> None:
        self._now = 0.0

    def __call__(self) -> float:
        self._now += 0.005
        return self._now
