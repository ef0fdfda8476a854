"""The engine over a fake session: one run per content, one answer in any batch, deadlines."""

import asyncio
import gc
import math
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest
from support.echo import a_job, echoed
from support.engine_rig import LARGE, POISON, SMALL, EngineRig, an_engine_rig

from inferstream.pipeline.engine.batching import Entry, Limits
from inferstream.pipeline.engine.engine_answer import EngineAnswer
from inferstream.pipeline.engine.flight import Flight
from inferstream.pipeline.errors import (
    DeadlineExceeded,
    DeviceError,
    InferstreamError,
    Overloaded,
    UnknownModel,
    UnknownOption,
)


async def settled(tasks: list["asyncio.Task[EngineAnswer]"]) -> list[Any]:
    return await asyncio.gather(*tasks, return_exceptions=True)


async def test_the_same_text_at_the_same_time_runs_once() -> None:
    async with an_engine_rig() as rig:
        rig.session.stall()
        tasks = rig.asked(*["one text"] * 20)
        await rig.begun(1)
        tasks += rig.asked(*["one text"] * 20)
        await asyncio.sleep(0)
        rig.session.release()
        answers = await asyncio.gather(*tasks)
        assert {answer.output for answer in answers} == {echoed("one text")}
        assert sorted(answer.cache for answer in answers) == ["flight"] * 39 + ["miss"]
        again = await rig.ask("one text")
        assert (again.cache, again.output, again.batch) == ("memory", echoed("one text"), None)
        assert rig.session.shapes == [(1, 8)]


async def test_begin_answers_from_memory_without_waiting() -> None:
    async with an_engine_rig() as rig:
        first = rig.engine.begin(a_job("text"))
        assert isinstance(first, Flight)
        await rig.engine.arrive(first, a_job("text"))
        found = rig.engine.begin(a_job("text"))
        assert isinstance(found, EngineAnswer)
        assert (found.cache, found.model, found.version) == ("memory", SMALL, "echo-small-1")


@pytest.mark.parametrize("limits", [Limits(4_096, 64), Limits(64, 3), Limits(1, 1)])
async def test_an_answer_is_the_same_in_any_batch(limits: Limits) -> None:
    texts = [f"{n} " + "ab" * (n * 7 % 60) + "end" for n in range(120)]
    async with an_engine_rig(limits=limits) as rig:
        answers = await asyncio.gather(*rig.asked(*texts))
        assert [answer.output for answer in answers] == [echoed(text) for text in texts]
        for answer in answers:
            assert answer.batch is not None
            assert answer.batch.rows <= limits.max_rows
            assert min(msgspec.to_builtins(answer.timings).values()) >= 0


async def test_a_text_over_the_limit_becomes_several_rows_in_order() -> None:
    text = "".join(chr(0x100 + n) for n in range(500))
    async with an_engine_rig(lanes=4, limits=Limits(64, 2)) as rig:
        assert (await rig.ask(text)).output == echoed(text)
        assert sum(rows for rows, _ in rig.session.shapes) == math.ceil(500 / 32)


async def test_options_models_and_tenants_are_kept_apart() -> None:
    async with an_engine_rig() as rig:
        plain, loud = await rig.ask("text"), await rig.ask("text", options={"shout": True})
        assert (plain.output, loud.output) == (echoed("text"), echoed("TEXT"))
        assert (await rig.ask("text", options={"shout": False})).cache == "memory", "the default, spelled out"
        large = await rig.ask("text", model=LARGE)
        assert (large.cache, large.model, large.version) == ("miss", LARGE, "echo-large-1")
        assert (await rig.ask("text", tenant="other")).cache == "miss"
        assert (await rig.ask("text", tenant="other")).cache == "memory"


async def test_a_tenant_never_shares_a_flight() -> None:
    async with an_engine_rig() as rig:
        rig.session.stall()
        tasks = [*rig.asked("text", tenant="a"), *rig.asked("text", tenant="b")]
        await rig.begun(1)
        rig.session.release()
        assert [answer.cache for answer in await asyncio.gather(*tasks)] == ["miss", "miss"]


async def test_texts_that_are_equal_after_normalization_share_an_answer() -> None:
    async with an_engine_rig() as rig:
        await rig.ask("cafe\u0301")
        again = await rig.ask("  caf\u00e9\n")
        assert (again.cache, again.output) == ("memory", echoed("caf\u00e9"))


async def test_an_unknown_model_or_option_is_named() -> None:
    async with an_engine_rig() as rig:
        with pytest.raises(UnknownModel, match=r"'gpt'.*echo-small, echo-large"):
            await rig.ask("text", model="gpt")
        with pytest.raises(UnknownOption, match="volume"):
            await rig.ask("text", options={"volume": 11})
        assert rig.tasks[SMALL].prepared == []


async def test_a_text_that_is_too_long_for_its_deadline_is_not_told_to_come_back() -> None:
    async with an_engine_rig(lanes=1) as rig:
        with pytest.raises(Overloaded, match=r"This text takes about .* longer than its deadline allows"):
            await rig.ask("word " * 100_000, expires=rig.clock() + 0.5)


async def test_a_request_that_expires_while_it_waits_never_reaches_the_device() -> None:
    async with an_engine_rig(lanes=1) as rig:
        rig.session.stall()
        held = rig.asked("held")
        await rig.begun(1)
        late = rig.asked("late", expires=rig.clock() + 600)
        in_time = rig.asked("in time", expires=rig.clock() + 900)
        await asyncio.sleep(0)
        rig.clock.advance(700)
        rig.session.release()
        (error,) = await settled(late)
        assert isinstance(error, DeadlineExceeded)
        assert [a.output for a in await asyncio.gather(*held, *in_time)] == [
            echoed("held"),
            echoed("in time"),
        ]
        assert (1, 4) not in rig.session.shapes[1:]


async def test_a_deadline_that_comes_while_the_device_runs_is_kept() -> None:
    async with an_engine_rig() as rig:
        rig.session.stall()
        with pytest.raises(DeadlineExceeded):
            await rig.ask("slow", expires=rig.clock() + 0.05)
        rig.session.release()
        assert (await rig.ask("next")).output == echoed("next")


async def test_a_request_whose_waiters_have_left_never_reaches_the_device() -> None:
    async with an_engine_rig(lanes=1) as rig:
        rig.session.stall()
        held = rig.asked("held")
        await rig.begun(1)
        left = rig.asked("left", "left")
        await asyncio.sleep(0)
        for task in left:
            task.cancel()
        await asyncio.wait(left)
        rig.session.release()
        await asyncio.gather(*held)
        await rig.ask("next one")
        assert rig.session.shapes == [(1, 4), (1, 8)]


async def test_an_urgent_request_moves_the_flight_that_it_joins() -> None:
    async with an_engine_rig(lanes=1, limits=Limits(4_096, 1)) as rig:
        rig.session.stall()
        held = rig.asked("held")
        await rig.begun(1)
        waiting = [*rig.asked("waiting", priority=2), *rig.asked("normal")]
        while len(rig.device.batcher) < 2:  # noqa: ASYNC110 - a thread of the engine fills it
            await asyncio.sleep(0.001)
        waiting += rig.asked("waiting", priority=0)
        await asyncio.sleep(0)
        rig.session.release()
        await asyncio.gather(*held, *waiting)
        assert rig.session.shapes == [(1, 4), (1, 7), (1, 6)]


async def test_without_a_cache_each_request_runs() -> None:
    async with an_engine_rig(cached=False) as rig:
        answers = await asyncio.gather(*rig.asked(*["text"] * 5))
        assert [answer.cache for answer in answers] == ["off"] * 5
        assert sum(rows for rows, _ in rig.session.shapes) == 5


async def test_an_error_is_shared_once_and_never_stored() -> None:
    async with an_engine_rig(lanes=1) as rig:
        rig.session.stall()
        tasks = rig.asked(POISON, POISON)
        await rig.begun(1)
        rig.session.release()
        assert [type(error) for error in await settled(tasks)] == [DeviceError, DeviceError]
        assert len(rig.session.runs) == 1
        with pytest.raises(DeviceError):
            await rig.ask(POISON)
        assert len(rig.session.runs) == 2, "it ran again"


async def test_a_text_that_cannot_be_tokenized_fails_alone() -> None:
    async with an_engine_rig() as rig:
        *good, bad = await settled(rig.asked(*[f"text {n}" for n in range(30)], "bad \0"))
        assert [answer.output for answer in good] == [echoed(f"text {n}") for n in range(30)]
        assert isinstance(bad, DeviceError)


async def test_a_failing_text_does_not_affect_others() -> None:
    texts = [f"text {n}" for n in range(100)]
    texts[13], texts[77] = f"{POISON} 13", f"{POISON} 77"
    async with an_engine_rig() as rig:
        answers = await settled(rig.asked(*texts))
        for text, answer in zip(texts, answers, strict=True):
            assert isinstance(answer, DeviceError) if POISON in text else answer.output == echoed(text)


async def test_an_answer_on_disk_survives_a_restart(tmp_path: Path) -> None:
    async with an_engine_rig(disk=tmp_path) as rig:
        await rig.ask("text")
    async with an_engine_rig(disk=tmp_path) as rig:
        answer = await rig.ask("text")
        assert (answer.cache, answer.output) == ("disk", echoed("text"))
        assert (await rig.ask("text")).cache == "memory"
        assert (await rig.ask("else")).cache == "miss"
        assert rig.session.shapes == [(1, 4)]


async def test_closing_lands_all_flights() -> None:
    async with an_engine_rig() as rig:
        tasks = rig.asked(*[f"text {n}" for n in range(40)])
        await asyncio.sleep(0)
    assert [task.result().output for task in tasks] == [echoed(f"text {n}") for n in range(40)]


def break_the_lane(rig: EngineRig) -> None:
    def dies(_: object) -> None:
        raise LookupError("a defect")

    rig.device.on_batch = dies


def break_the_preparer(rig: EngineRig) -> None:
    def dies(*_: object) -> list[Any]:
        raise LookupError("a defect")

    rig.device.batcher.expected.arrivals = dies  # type: ignore[method-assign]


@pytest.mark.parametrize("break_it", [break_the_lane, break_the_preparer])
async def test_an_error_in_a_thread_ends_the_engine(break_it: Callable[[EngineRig], None]) -> None:
    async with an_engine_rig() as rig:
        break_it(rig)
        (asked,) = rig.asked("text")
        with pytest.raises((LookupError, ValueError)):
            await rig.engine.watch()
        asked.cancel()


async def test_watching_a_healthy_engine_never_returns() -> None:
    async with an_engine_rig() as rig:
        watching = asyncio.create_task(rig.engine.watch())
        await rig.ask("text")
        assert not watching.done()
        watching.cancel()


@contextmanager
def nothing_left_to_collect() -> Iterator[None]:
    """Fails if the block leaves flights or rows that only the garbage collector would free."""
    gc.collect()
    gc.disable()
    try:
        yield
        gc.set_debug(gc.DEBUG_SAVEALL)
        gc.collect()
        left = [found for found in gc.garbage if isinstance(found, Flight | Entry)]
    finally:
        gc.set_debug(0)
        gc.garbage.clear()
        gc.enable()
    assert left == []


async def test_requests_leave_no_reference_cycles() -> None:
    """A worker collects garbage rarely: reference counts must free finished requests."""
    async with an_engine_rig() as rig:
        await rig.ask("warm")
        with nothing_left_to_collect():
            await asyncio.gather(
                *rig.asked(*[f"text {n}" for n in range(50)], "long " * 50, "twice", "twice")
            )


async def ask_and_fail(rig: EngineRig, *texts: str, **more: Any) -> None:
    assert {isinstance(error, InferstreamError) for error in await settled(rig.asked(*texts, **more))} == {
        True
    }


async def fail_on_the_device(rig: EngineRig) -> None:
    await ask_and_fail(rig, POISON, POISON, f"{POISON} once more", POISON + "long " * 50)


async def fail_in_the_tokenizer(rig: EngineRig) -> None:
    await ask_and_fail(rig, "\0", "\0", "also \0")


async def fail_for_the_deadline(rig: EngineRig) -> None:
    rig.session.stall()
    runs = len(rig.session.shapes)
    running = rig.asked(f"after {runs} runs")
    await rig.begun(runs + 1)
    await ask_and_fail(rig, *[f"late after {runs} runs"] * 2, expires=rig.clock() + 0.05)
    rig.session.release()
    await settled(running)


@pytest.mark.parametrize("fail", [fail_on_the_device, fail_in_the_tokenizer, fail_for_the_deadline])
async def test_failed_requests_leave_no_reference_cycles(
    fail: Callable[[EngineRig], Coroutine[Any, Any, None]],
) -> None:
    """An error has the frames that it was raised in, and these have the flight, which has the error."""
    async with an_engine_rig() as rig:
        await rig.ask("warm")
        await fail(rig)
        with nothing_left_to_collect():
            await fail(rig)
            await asyncio.sleep(0)  # the event loop lets go of the errors
