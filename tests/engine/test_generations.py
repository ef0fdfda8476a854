"""Generations share the steps of a lane: memory, turns, fairness, failures. The decoder is a tiny one."""

import asyncio
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from support.generator_rig import ROWS, GeneratorRig, a_generator_rig, gaps, served, text_alone, tokens_of
from support.steps_rig import until

from inferstream.pipeline.engine.crash_note import CrashNote
from inferstream.pipeline.errors import DeviceError, DeviceOutOfMemory
from inferstream.pipeline.runtime.generated_row import DECODE, LONGER, PREFILL, SHORT_CHUNK
from inferstream.pipeline.runtime.sessions import Session


async def decoding(rig: GeneratorRig, count: int, max_tokens: int) -> list["asyncio.Task[Any]"]:
    """So many rows that decode; the lane is held before a step of all of them."""
    rig.hold()
    asked = [rig.asked(f"{n} stream", max_tokens) for n in range(count)]
    await rig.begun(1)
    await until(lambda: len(rig.device.batcher) == count - 1)
    rig.hold(2 * count)
    await rig.begun(2 * count + 1)
    assert len(rig.steps[-1].rows) == count
    return asked


async def test_rows_of_different_ages_share_steps_and_have_the_texts_they_have_alone(
    tiny_decoder: Session,
) -> None:
    async with a_generator_rig(tiny_decoder) as rig:
        texts = {f"{n} text{'x' * 13 * n}": 3 + 7 * (n % 4) for n in range(12)}
        answers = await asyncio.gather(*(rig.ask(text, most) for text, most in texts.items()))
        assert max(len(step.rows) for step in rig.steps) == ROWS
        for (text, most), answer in zip(texts.items(), answers, strict=True):
            assert tokens_of(answer) == text_alone(tiny_decoder, text, most)


async def test_a_long_prompt_is_read_in_short_chunks_between_the_steps_of_others(
    tiny_decoder: Session,
) -> None:
    async with a_generator_rig(tiny_decoder) as rig:
        asked = await decoding(rig, ROWS - 1, 60)
        row = rig.steps[-1].rows[0]
        began = len(rig.steps)
        asked.append(rig.asked("y" * 200))
        await until(lambda: bool(rig.device.batcher))
        rig.release()
        await asyncio.gather(*asked)
        assert max(gaps(rig.steps[began:], row)) == LONGER * SHORT_CHUNK
        assert [sum(step.lengths) for step in rig.of("y" * 200) if step.phase == PREFILL] == [
            *[SHORT_CHUNK] * 5,
            40,
        ]


async def test_a_prompt_alone_is_read_in_long_chunks(tiny_decoder: Session) -> None:
    async with a_generator_rig(tiny_decoder) as rig:
        await rig.ask("y" * 200, 4)
        assert [sum(step.lengths) for step in rig.steps] == [64, 64, 72, 1, 1, 1]


async def test_many_long_prompts_do_not_stop_those_that_decode_nor_the_other_way_round(
    tiny_decoder: Session,
) -> None:
    async with a_generator_rig(tiny_decoder) as rig:
        asked = await decoding(rig, 1, 60)
        row = rig.steps[-1].rows[0]
        began = len(rig.steps)
        asked += [rig.asked(f"{n}" * 240, 2) for n in range(2 * ROWS)]
        await until(lambda: len(rig.device.batcher) == 2 * ROWS)
        rig.release()
        await asyncio.gather(*asked)
        phases = [step.phase for step in rig.steps[began:]]
        reading = phases[: phases.index(PREFILL) + 30]
        assert abs(reading.count(PREFILL) - reading.count(DECODE)) <= 2
        assert max(gaps(rig.steps[began:], row)) <= LONGER * SHORT_CHUNK


async def test_a_late_short_prompt_waits_for_few_steps(tiny_decoder: Session) -> None:
    """Also while a long prompt is being read."""
    async with a_generator_rig(tiny_decoder) as rig:
        asked = await decoding(rig, 2, 60)
        asked.append(rig.asked("y" * 240))
        await until(lambda: bool(rig.device.batcher))
        rig.hold(5)
        await rig.begun(len(rig.steps) + 5)
        began = len(rig.steps)
        asked.append(rig.asked("z" * 37))
        await until(lambda: bool(rig.device.batcher))
        rig.release()
        await asyncio.gather(*asked)
        first = next(number for number, step in enumerate(rig.steps[began:]) if step in rig.of("z" * 37))
        assert first <= 5, "a step of each kind that ran, those of the long prompt, and its own"
        (reading,) = [step for step in rig.of("z" * 37) if step.phase == PREFILL]
        assert reading.lengths == (37,)


async def test_rows_that_run_are_no_queue(tiny_decoder: Session) -> None:
    """So the answers of others do not linger (docs/decisions/0008)."""
    async with a_generator_rig(tiny_decoder, step_ms=100.0) as rig:
        await rig.ask("so that a step is known", 30)
        asked = rig.asked("a long answer", 200)
        await until(lambda: rig.engine.backlog_s > 5.0)
        assert not rig.engine.delays(0.4)
        await asked


Mixture = list[tuple[int, int, str, str]]
"""Length, tokens, tenant and kind: "." is plain, "s" a suspect, "!" fails at its second token, "x" is left."""
mixtures = st.lists(
    st.tuples(st.integers(1, 90), st.integers(1, 9), st.sampled_from("abc"), st.sampled_from("..s!x")),
    min_size=1,
    max_size=14,
)


@settings(max_examples=15, deadline=None)
@given(asks=mixtures, lanes=st.integers(1, 2), rows=st.integers(1, 3))
def test_no_request_finds_the_memory_in_use(
    tiny_decoder: Session, asks: Mixture, lanes: int, rows: int
) -> None:
    with TemporaryDirectory() as folder:
        note = CrashNote(Path(folder), lanes)
        answers = asyncio.run(mixed(asks, GeneratorRig(tiny_decoder, lanes=lanes, rows=rows, note=note)))
    for number, ((length, most, _, kind), answer) in enumerate(zip(asks, answers, strict=True)):
        if kind == "!" and most > 1:
            assert isinstance(answer, DeviceError), answer
            assert not isinstance(answer, DeviceOutOfMemory)
        elif kind != "x" or not isinstance(answer, asyncio.CancelledError):
            assert tokens_of(answer) == text_alone(tiny_decoder, kind + f"{number}" * length, most)


async def mixed(asks: Mixture, rig: GeneratorRig) -> list[Any]:
    run = rig._run
    suspects: set[bytes] = set()

    def poisoned(step: Sequence[Any]) -> Sequence[Any]:
        if any(row.prompt[0] == ord("!") and row.generated for row in step):
            raise DeviceError("poison")
        return run(step)

    rig._run = poisoned
    rig.device.is_suspect = lambda key: key in suspects  # type: ignore[method-assign]
    async with served(rig):
        asked = []
        for number, (length, most, tenant, kind) in enumerate(asks):
            job = rig.job(kind + f"{number}" * length, most, tenant=tenant)
            if kind == "s":
                suspects.add(rig.engine._questions.read(job)[3])
            asked.append(asyncio.create_task(rig.engine.answer(job)))
        await asyncio.sleep(0)
        for (*_, kind), task in zip(asks, asked, strict=True):
            if kind == "x":
                task.cancel()
        return await asyncio.gather(*asked, return_exceptions=True)
