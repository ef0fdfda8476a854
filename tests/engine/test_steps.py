"""Rows of many steps: batches that rows join and leave at every step, pieces in order, state that is freed."""

import asyncio
from collections.abc import Iterable, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.steps_rig import WEIGHTS, a_steps_rig, text_of, until

from inferstream.pipeline.engine.batching import Limits
from inferstream.pipeline.engine.crash_note import CrashNote
from inferstream.pipeline.engine.flight import Flight
from inferstream.pipeline.engine.job import Job
from inferstream.pipeline.errors import DeadlineExceeded, DeviceError, DeviceOutOfMemory
from inferstream.pipeline.lab.steps import STEP
from inferstream.schemas.messages import Request


async def test_a_row_takes_a_step_for_each_character() -> None:
    async with a_steps_rig() as rig:
        answer = await rig.ask("abcdef")
        assert text_of(answer) == "abcdef"
        assert rig.session.shapes == [(1, 6), *[(1, 1)] * 6]
        assert (answer.timings.run_ms, answer.timings.wait_ms, answer.timings.first_ms) == (7.0, 0.0, 2.0)
        assert answer.batch is not None
        assert answer.batch.steps == 7
        assert (await rig.ask("abcdef")).cache == "memory"


async def test_a_short_row_joins_the_batches_of_a_long_one_and_ends_first() -> None:
    """Two steps late at most: the one that runs when it comes, and its own start."""
    async with a_steps_rig() as rig:
        rig.session.stall()
        long = rig.asked("x" * 500)
        await rig.begun(1)
        short = rig.asked("ab")
        await until(lambda: bool(rig.device.batcher))
        rig.session.release()
        answer = await short
        ran_before = len(rig.session.runs)
        assert text_of(answer) == "ab"
        assert answer.timings.run_ms <= 3 + 2, "its own three steps, and two of others"
        assert text_of(await long) == "x" * 500
        assert len(rig.session.runs) >= ran_before
        assert sum(rows for rows, _ in rig.session.shapes) == 1 + 500 + 1 + 2
        assert (2, 1) in rig.session.shapes, "they share steps"


async def test_the_pieces_come_while_the_request_runs() -> None:
    async with a_steps_rig() as rig:
        rig.session.stall()
        found = rig.engine.begin(rig.job("hello"))
        assert isinstance(found, Flight)
        told: list[str] = []
        found.watchers.append(lambda: told.append("".join(found.pieces)))
        rig.session.release()
        answer = await rig.engine.arrive(found, rig.job("hello"))
        assert told[-1] == text_of(answer) == "hello"
        assert told == sorted(told, key=len)
        assert set(told) <= {"hello"[:end] for end in range(6)}


async def test_a_watcher_that_looks_again_by_itself_is_not_called() -> None:
    async with a_steps_rig() as rig:
        rig.session.stall()
        quiet, called = rig.engine.begin(rig.job("hello")), rig.engine.begin(rig.job("world"))
        assert isinstance(quiet, Flight)
        assert isinstance(called, Flight)
        told: list[str] = []
        quiet.watchers.append(lambda: told.append("quiet"))
        quiet.not_calling = 1
        called.watchers.append(lambda: told.append("called"))
        rig.session.release()
        answers = await asyncio.gather(
            rig.engine.arrive(quiet, rig.job("hello")), rig.engine.arrive(called, rig.job("world"))
        )
        assert [text_of(answer) for answer in answers] == ["hello", "world"]
        assert set(told) == {"called"}


async def test_the_pieces_of_several_rows_keep_their_order() -> None:
    async with a_steps_rig(max_characters=2) as rig:
        found = rig.engine.begin(rig.job("abcde"))
        assert isinstance(found, Flight)
        told: list[str] = []
        found.watchers.append(lambda: told.append("".join(found.pieces)))
        assert text_of(await rig.engine.arrive(found, rig.job("abcde"))) == "abcde"
        assert all("abcde".startswith(one) for one in told)


async def test_a_request_that_joins_has_the_pieces_so_far() -> None:
    async with a_steps_rig() as rig:
        rig.session.stall()
        first = rig.engine.begin(rig.job("hello"))
        second = rig.engine.begin(rig.job("hello"))
        assert first is second
        rig.session.release()
        assert isinstance(first, Flight)
        answers = await asyncio.gather(*(rig.engine.arrive(first, rig.job("hello")) for _ in range(2)))
        assert [answer.cache for answer in answers] == ["miss", "flight"]
        assert first.pieces == list("hello")


async def test_answers_that_may_vary_are_neither_shared_nor_kept() -> None:
    async with a_steps_rig() as rig:
        job = Job("steps", Request(text="ab", options={"unsure": True}))
        answers = await asyncio.gather(*(rig.engine.answer(job) for _ in range(2)), rig.engine.answer(job))
        assert [answer.cache for answer in answers] == ["miss"] * 3


async def test_a_row_that_is_left_stops_after_the_running_step() -> None:
    async with a_steps_rig() as rig:
        rig.session.stall()
        neighbor = rig.asked("y", repeat=3_000)
        await rig.begun(1)
        left = rig.asked("x", repeat=3_000)
        await until(lambda: bool(rig.device.batcher))
        rig.session.release()
        await until(lambda: (2, 1) in rig.session.shapes)
        rig.session.stall()
        await rig.begun(len(rig.session.runs) + 1)
        left.cancel()
        await asyncio.gather(left, return_exceptions=True)
        ran = len(rig.session.runs)
        rig.session.release()
        assert text_of(await neighbor) == "y" * 3_000
        assert all((ids != ord("x")).all() for ids in rig.session.runs[ran + 1 :]), "one more step at most"


@pytest.mark.parametrize("error", [DeviceError, DeviceOutOfMemory])
async def test_a_row_that_fails_at_a_later_step_fails_alone(error: type[DeviceError]) -> None:
    async with a_steps_rig(fail_on={ord("!"): error}, cached=False) as rig:
        alone = [text_of(await rig.ask(text)) for text in ("a" * 30, "b" * 9, "c" * 4)]
        rig.session.stall()
        tasks = [rig.asked(text) for text in ("a" * 30, "bad text!", "b" * 9, "c" * 4)]
        rig.session.release()
        good, bad, *others = await asyncio.gather(*tasks, return_exceptions=True)
        assert isinstance(bad, error)
        assert [text_of(answer) for answer in (good, *others)] == alone  # type: ignore[arg-type]


async def test_a_step_that_does_not_fit_runs_in_halves_and_loses_nothing() -> None:
    async with a_steps_rig(cached=False) as rig:
        rig.session.stall()
        tasks = [rig.asked(chr(ord("a") + n) * 20) for n in range(16)]
        await rig.begun(1)
        rig.session.max_padded_tokens = 40
        rig.session.release()
        answers = await asyncio.gather(*tasks)
        assert [text_of(answer) for answer in answers] == [chr(ord("a") + n) * 20 for n in range(16)]


async def test_few_steps_fail_where_the_memory_has_room_for_few_rows() -> None:
    """A step that does not fit teaches the next ones: else each of them would first fail, then run in halves."""
    async with a_steps_rig(cached=False) as rig:
        failed = ran = 0
        step = rig.model.step

        def small(rows: Sequence[Any]) -> Sequence[Any]:
            nonlocal failed, ran
            if len(rows) > 8 and rows[0].phase == STEP:
                failed += 1
                raise DeviceOutOfMemory("Eight rows fit.")
            ran += 1
            return step(rows)

        rig.model.step = small  # type: ignore[method-assign]
        texts = [chr(200 + n) * 200 for n in range(32)]
        answers = await asyncio.gather(*map(rig.asked, texts))
        assert [text_of(answer) for answer in answers] == texts
        assert failed <= ran / 8


async def test_a_deadline_ends_a_row_between_two_steps() -> None:
    async with a_steps_rig(weights=[weight / 1e4 for weight in WEIGHTS]) as rig:
        with pytest.raises(DeadlineExceeded):
            await rig.ask("x" * 5_000, expires=rig.clock() + 0.02)
        assert text_of(await rig.ask("ab")) == "ab"
        assert len(rig.session.runs) < 100


async def test_rows_of_another_phase_take_turns_with_those_that_run() -> None:
    """Requests that begin all the time do not hold up those that run, nor the other way round."""
    async with a_steps_rig(limits=Limits(4_096, 1)) as rig:
        texts = [f"{n} text" for n in range(12)]
        answers = await asyncio.gather(*(rig.ask(text) for text in texts))
        assert [text_of(answer) for answer in answers] == texts
        steps = [length for _, length in rig.session.shapes]
        begun = [n for n, length in enumerate(steps) if length > 1]
        assert all(later - earlier <= 12 for earlier, later in pairwise(begun))


async def test_a_lane_carries_no_more_rows_than_it_may() -> None:
    async with a_steps_rig(limits=Limits(4_096, 2, max_running=3)) as rig:
        most = 0
        step = rig.model.step

        def watched(rows: Sequence[Any]) -> Sequence[Any]:
            nonlocal most
            results = step(rows)
            most = max(most, len(rig.model.running))
            return results

        rig.model.step = watched  # type: ignore[method-assign]
        await asyncio.gather(*(rig.ask(f"{n:05}") for n in range(20)))
        assert most == 3


async def test_rows_that_join_a_running_step_count_for_what_a_lane_may_carry() -> None:
    """A model of one phase: all that waits may join the next step."""
    async with a_steps_rig(limits=Limits(4_096, 64, max_running=5), cached=False) as rig:
        prepare = rig.task.prepare

        def begun(asks: Sequence[Any], max_tokens: int | None = None) -> list[list[Any]]:
            prepared = prepare(asks, max_tokens)
            for row in (row for rows in prepared for row in rows):
                row.phase, row.state, row.length = STEP, 0, 1
            return prepared

        rig.task.prepare = begun  # type: ignore[method-assign]
        rig.session.stall()
        asked = [rig.asked(f"{n:02} first") for n in range(3)]
        await rig.begun(1)
        asked += [rig.asked(f"{n:02} later") for n in range(30)]
        await until(lambda: len(rig.device.batcher) >= 30)
        rig.session.release()
        await asyncio.gather(*asked)
        assert max(rows for rows, _ in rig.session.shapes) <= 5


async def test_a_suspect_takes_all_of_its_steps_alone(tmp_path: Path) -> None:
    note = CrashNote(tmp_path, 1)
    async with a_steps_rig(note=note) as rig:
        suspect: set[bytes] = set()
        rig.device.is_suspect = lambda key: key in suspect  # type: ignore[method-assign]
        rig.session.stall()
        long = rig.asked("x" * 20)
        await rig.begun(1)
        found = rig.engine.begin(rig.job("!!!"))
        assert isinstance(found, Flight)
        rig.session.release()
        await rig.engine.arrive(found, rig.job("!!!"))
        await long
        suspect.add(found.key)
        again = asyncio.create_task(rig.engine.answer(rig.job("!!!", tenant="another")))
        suspect.update(rig.engine.flights._flights)
        await asyncio.gather(again, rig.ask("other text"))
        bad = [ids for ids in rig.session.runs[-40:] if (ids == ord("!")).any() and ids.size > 1]
        assert not bad or all(ids.shape[0] == 2 for ids in bad)


async def test_the_note_is_written_when_the_rows_of_a_step_change(tmp_path: Path) -> None:
    note = CrashNote(tmp_path, 1)
    written: list[list[bytes]] = []
    running = note.running

    def watched(lane: int, keys: Iterable[bytes]) -> None:
        written.append(list(keys))
        running(lane, written[-1])

    note.running = watched  # type: ignore[method-assign]
    async with a_steps_rig(note=note) as rig:
        await rig.ask("x" * 50)
        assert len(written) == 1
        await rig.ask("y" * 50)
        assert len(written) == 2


@settings(deadline=None, max_examples=40)
@given(
    st.lists(
        st.tuples(
            st.text("abc!", min_size=1, max_size=12), st.integers(0, 2), st.sampled_from(["", "t", "u"])
        ),
        min_size=1,
        max_size=25,
    ),
    st.integers(1, 3),
    st.integers(1, 6),
    st.integers(1, 8),
)
def test_every_request_ends_once_with_its_own_answer(
    requests: list[tuple[str, int, str]], lanes: int, max_rows: int, max_running: int
) -> None:
    """Any mixture, any number of lanes, poison at any step."""

    async def all_of_them() -> list[Any]:
        limits = Limits(64, max_rows, max_running=max_running)
        async with a_steps_rig(lanes=lanes, limits=limits, poison=[ord("!")], max_characters=5) as rig:
            asked = (rig.ask(text, priority=priority, tenant=tenant) for text, priority, tenant in requests)
            return await asyncio.gather(*asked, return_exceptions=True)

    for (text, _, _), answer in zip(requests, asyncio.run(all_of_them()), strict=True):
        if "!" in text:
            assert isinstance(answer, DeviceError)
        else:
            assert text_of(answer) == text
