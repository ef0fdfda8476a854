"""Models with defects, and predictions that are none: the request at fault fails, and all others go on."""

import asyncio
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from support.steps_rig import StepsRig, a_steps_rig, text_of, until

from inferstream.pipeline.engine import soundness
from inferstream.pipeline.engine.batching import Limits
from inferstream.pipeline.engine.crash_note import CrashNote
from inferstream.pipeline.engine.engine_answer import EngineAnswer
from inferstream.pipeline.engine.flight import Flight
from inferstream.pipeline.errors import DeviceError
from inferstream.pipeline.runtime.model import Last, More, Row
from inferstream.pipeline.tasks.base import Ask

Plant = Callable[[StepsRig], None]
BAD = "bad!text"


def in_results(change: Callable[[Row, Any], Any]) -> Plant:
    """A model that returns something else for the bad row, or changes that."""

    def plant(rig: StepsRig) -> None:
        step = rig.model.step

        def changed(rows: Sequence[Row]) -> list[Any]:
            results = zip(rows, step(rows), strict=True)
            return [change(row, one) if ord("!") in row.tokens else one for row, one in results]

        rig.model.step = changed  # type: ignore[method-assign]

    return plant


def in_rows(change: Callable[[list[Row]], Any]) -> Plant:
    """A task that prepares other rows for the bad request."""

    def plant(rig: StepsRig) -> None:
        prepare = rig.task.prepare

        def changed(asks: Sequence[Ask], max_tokens: int | None = None) -> list[Any]:
            rows = zip(asks, prepare(asks, max_tokens), strict=True)
            return [change(of_one) if "!" in ask.content else of_one for ask, of_one in rows]

        rig.task.prepare = changed  # type: ignore[method-assign]

    return plant


def with_field(name: str, value: Any) -> Callable[[Row, Any], Any]:
    def change(row: Row, result: Any) -> Any:
        setattr(row, name, value)
        return result

    return change


def all_with(name: str, value: Any) -> Callable[[list[Row]], list[Row]]:
    def change(rows: list[Row]) -> list[Row]:
        for row in rows:
            setattr(row, name, value)
        return rows

    return change


DEFECTS = {
    "pieces none": in_results(lambda row, result: More(None) if isinstance(result, More) else result),  # type: ignore[arg-type]
    "pieces number": in_results(lambda row, result: More(5) if isinstance(result, More) else result),  # type: ignore[arg-type]
    "last pieces none": in_results(lambda row, result: Last(1, None) if isinstance(result, Last) else result),  # type: ignore[arg-type]
    "unknown phase": in_results(with_field("phase", "unknown")),
    "phase list": in_results(with_field("phase", [])),
    "length 0": in_results(with_field("length", 0)),
    "length none": in_results(with_field("length", None)),
    "steps none": in_results(with_field("steps_left", None)),
    "rows steps none": in_rows(all_with("steps_left", None)),
}

GUESSES = {
    f"{place} {guess}": plant
    for guess in (math.nan, math.inf, -math.inf, -1e9, 1e300)
    for place, plant in (
        ("row", in_rows(all_with("steps_left", guess))),
        ("step", in_results(with_field("steps_left", guess))),
    )
}


async def ended_beside_others(plant: Plant) -> EngineAnswer | BaseException:
    """How the bad request ended, which ran beside two good ones. Nothing is left of what waits."""
    async with a_steps_rig() as rig:
        plant(rig)
        watch = asyncio.create_task(rig.engine.watch())
        rig.session.stall()
        tasks = [rig.asked(text) for text in ("a" * 30, BAD, "b" * 9)]
        rig.session.release()
        ended = asyncio.gather(*tasks, return_exceptions=True)
        both: list[asyncio.Future[Any]] = [watch, ended]
        await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
        assert not watch.done(), "the process would end"
        good, bad, other = await ended
        assert isinstance(good, EngineAnswer)
        assert isinstance(other, EngineAnswer)
        assert (text_of(good), text_of(other)) == ("a" * 30, "b" * 9)
        assert text_of(await rig.ask("later")) == "later"
        watch.cancel()
        return bad


@pytest.mark.parametrize("plant", DEFECTS.values(), ids=list(DEFECTS))
async def test_a_defect_of_a_model_or_a_task_fails_the_request_alone(plant: Plant) -> None:
    assert isinstance(await ended_beside_others(plant), DeviceError)


@pytest.mark.parametrize("plant", GUESSES.values(), ids=list(GUESSES))
async def test_a_prediction_that_is_no_number_of_steps_spoils_nothing(plant: Plant) -> None:
    bad = await ended_beside_others(plant)
    assert isinstance(bad, EngineAnswer)
    assert text_of(bad) == BAD


@pytest.mark.parametrize("guess", [math.nan, math.inf, -5.0])
async def test_a_task_that_expects_no_number_of_steps_is_served(guess: float) -> None:
    async with a_steps_rig() as rig:
        rig.task.further_steps = lambda ask: guess  # type: ignore[method-assign]
        await rig.ask("first")
        assert text_of(await rig.ask("ab", expires=rig.clock() + 1e9)) == "ab"


@pytest.mark.parametrize("results", [[], None, 5])
async def test_a_step_without_a_result_for_each_row_fails_its_rows_and_no_later_ones(
    results: Any, tmp_path: Path
) -> None:
    """Its rows have had their step: they cannot be given again."""
    async with a_steps_rig(note=CrashNote(tmp_path, 1)) as rig:
        step = rig.model.step
        rig.model.step = lambda rows: results if ord("!") in rows[0].tokens else step(rows)  # type: ignore[method-assign]
        with pytest.raises(DeviceError, match="returned 0 results of a step for 1 rows"):
            await rig.ask("!")
        assert text_of(await rig.ask("later")) == "later"


async def test_rows_that_have_had_a_step_are_not_given_again() -> None:
    """Halving such a step would let its rows skip one, and answer with a character less."""
    async with a_steps_rig() as rig:
        step = rig.model.step

        def fewer(rows: Sequence[Row]) -> Sequence[Any]:
            results = step(rows)
            return results[:-1] if len(rows) > 1 and rows[0].state == 3 else results

        rig.model.step = fewer  # type: ignore[method-assign]
        rig.session.stall()
        held = rig.asked("z")
        await rig.begun(1)
        tasks = [rig.asked(character * 9) for character in "abc"]
        await until(lambda: len(rig.device.batcher) == 3)
        rig.session.release()
        answers = await asyncio.gather(*tasks, return_exceptions=True)
        assert any(isinstance(answer, DeviceError) for answer in answers)
        whole = [text_of(answer) for answer in answers if isinstance(answer, EngineAnswer)]
        assert set(whole) <= {character * 9 for character in "abc"}
        await held


async def test_a_model_that_cannot_free_rows_ends_nothing(caplog: pytest.LogCaptureFixture) -> None:
    async with a_steps_rig() as rig:
        drop = rig.model.drop

        def failing(rows: Sequence[Row]) -> None:
            drop(rows)
            raise KeyError("no such row")

        rig.model.drop = failing  # type: ignore[method-assign]
        rig.session.stall()
        left = rig.asked("x", repeat=3_000)
        await rig.begun(1)
        left.cancel()
        await asyncio.wait([left])
        rig.session.release()
        assert text_of(await rig.ask("ab")) == "ab"
    assert "A defect in the model: it could not free 1 rows" in caplog.text


async def test_a_row_that_never_ends_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    """A request may have no deadline: it would run, and its pieces would grow, for ever."""
    monkeypatch.setattr(soundness, "MAX_STEPS", 50)
    async with a_steps_rig(limits=Limits(4_096, 4)) as rig:
        neighbor = rig.asked("y" * 40)
        with pytest.raises(DeviceError, match="has not ended after 50 steps"):
            await rig.ask("x", repeat=1_000)
        assert text_of(await neighbor) == "y" * 40


async def test_rows_of_which_no_further_step_is_expected_do_not_fill_the_device() -> None:
    """A task that does not know how many steps come leaves `Row.steps_left` at 0."""
    async with a_steps_rig(limits=Limits(4_096, 2, max_running=3)) as rig:
        all_with_none = in_results(with_field("steps_left", 0.0))
        prepare = rig.task.prepare

        def unknowing(asks: Sequence[Ask], max_tokens: int | None = None) -> list[list[Row]]:
            return [all_with("steps_left", 0.0)(rows) for rows in prepare(asks, max_tokens)]

        rig.task.prepare = unknowing  # type: ignore[method-assign]
        all_with_none(rig)
        most = 0
        step = rig.model.step

        def watched(rows: Sequence[Row]) -> Sequence[Any]:
            nonlocal most
            results = step(rows)
            most = max(most, len(rig.model.running))
            return results

        rig.model.step = watched  # type: ignore[method-assign]
        await asyncio.gather(*(rig.ask(f"{n:05}!" + "x" * 30) for n in range(20)))
        assert most <= 3 + 2


async def test_pieces_that_come_while_the_flight_lands_end_no_lane() -> None:
    """A row of the flight has failed on another lane; the event loop lands it between two reads of this one."""
    async with a_steps_rig(max_characters=2) as rig:
        rig.session.stall()
        found = rig.engine.begin(rig.job("abcd"))
        assert isinstance(found, Flight)
        await rig.begun(1)
        entries = found.entries

        flight = found

        class Landing(list[Any]):
            def __len__(self) -> int:
                flight.entries = []
                return super().__len__()

        found.entries = Landing(entries)
        found.add_pieces(entries[0], ["a"], 0.0)
        entries[0].has_output = True
        found.entries = Landing(entries)
        found._next_rows_turn()
        found.entries = entries
        rig.session.release()
        await rig.engine.arrive(found, rig.job("abcd"))
