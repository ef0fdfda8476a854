"""A request whose first pieces were told before: its answer begins with them, and no step makes them again."""

import asyncio
from collections.abc import Sequence

from hypothesis import given, settings
from hypothesis import strategies as st
from support.steps_rig import StepsRig, a_steps_rig, text_of, until

from inferstream.pipeline.engine.engine_answer import EngineAnswer
from inferstream.pipeline.engine.flight import Flight


def begun(rig: StepsRig, text: str, told: Sequence[str]) -> Flight:
    flight = rig.engine.begin(rig.job(text, told=told))
    assert isinstance(flight, Flight)
    return flight


@settings(max_examples=30)
@given(st.integers(0, 23), st.integers(1, 30))
def test_the_pieces_behind_what_was_told_are_those_of_the_whole_answer(told: int, row: int) -> None:
    text = "abcdefghijklmnopqrstuvw"

    async def check() -> None:
        async with a_steps_rig(max_characters=row) as rig:
            job = rig.job(text, told=list(text[:told]))
            flight = begun(rig, text, text[:told])
            assert flight.pieces == list(text[:told])
            answer = await rig.engine.arrive(flight, job)
            assert (flight.pieces, text_of(answer)) == (list(text), text)

    asyncio.run(check())


async def test_what_was_told_may_differ_from_what_this_device_would_make() -> None:
    """It was shown: it stays. What is made of it is not cached, and no equal request joins it."""
    async with a_steps_rig() as rig:
        rig.session.stall()
        job = rig.job("abcdef", told="xy")
        flight = begun(rig, "abcdef", "xy")
        answer = asyncio.create_task(rig.engine.arrive(flight, job))
        other = rig.asked("abcdef")
        await until(lambda: len(rig.engine.flights) == 1)
        rig.session.release()
        assert text_of(await answer) == "xycdef"
        assert text_of(await other) == "abcdef"
        again = await rig.ask("abcdef")
        assert (again.cache, text_of(again)) == ("memory", "abcdef")


async def test_a_cached_answer_is_not_joined_to_what_was_told() -> None:
    async with a_steps_rig() as rig:
        await rig.ask("abcdef")
        found = rig.engine.begin(rig.job("abcdef"))
        assert isinstance(found, EngineAnswer)
        job = rig.job("abcdef", told="xy")
        assert text_of(await rig.engine.arrive(begun(rig, "abcdef", "xy"), job)) == "xycdef"


async def test_a_task_says_whether_it_resumes() -> None:
    async with a_steps_rig() as rig:
        assert rig.engine.resumes("steps")
        rig.task.resumes = False  # type: ignore[misc]
        assert not rig.engine.resumes("steps")
        assert not rig.engine.resumes("unknown")
