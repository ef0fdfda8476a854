"""A task whose code is wrong: its requests fail with a sentence that names it, and all other requests are answered."""

from collections.abc import Sequence
from typing import Any

import pytest
from support.echo import echoed
from support.engine_rig import LARGE, SMALL, an_engine_rig

from inferstream.pipeline.errors import DeviceError
from inferstream.pipeline.runtime.model import Row

PREPARED = [
    ([], "prepared 0 results for 1 of its requests"),
    (None, "prepared a NoneType for 1"),
    ([[]], "prepared 0 results as the rows of a request, which must be at least one"),
    ([None], "prepared a NoneType as the rows"),
    ([[[1, 2]]], "prepared a row that is no Row with at least one token"),
    ([[Row([])]], "prepared a row that is no Row with at least one token"),
    ([b"{none"], "made an answer that is not JSON"),
    ([[Row([1], "none-such")]], "prepared a row of the phase 'none-such'; its model has: run"),
]
FINISHED = [
    ([], "made 0 results of the outputs of 1 of its requests"),
    (None, "made a NoneType of the outputs"),
    (["{}"], "made an answer of the type str, which must be JSON in bytes"),
    ([b"{none"], "made an answer that is not JSON"),
    ([b""], "made an answer that is not JSON"),
    ([b'"\xff"'], "made an answer that is not JSON"),
]


@pytest.mark.parametrize(("made", "sentence"), PREPARED)
async def test_what_prepare_makes_wrongly_fails_its_request_alone(made: Any, sentence: str) -> None:
    await _fails_alone("prepare", made, sentence)


@pytest.mark.parametrize(("made", "sentence"), FINISHED)
async def test_what_finish_makes_wrongly_fails_its_request_alone(made: Any, sentence: str) -> None:
    await _fails_alone("finish", made, sentence)


@pytest.mark.parametrize("method", ["prepare", "finish"])
async def test_what_a_method_raises_is_one_line_that_names_the_task(method: str) -> None:
    async with an_engine_rig() as rig:

        def fail(*_: Any) -> Any:
            raise RuntimeError("a\nb " * 500)

        setattr(rig.tasks[LARGE], method, fail)
        with pytest.raises(DeviceError) as raised:
            await rig.ask("a", model=LARGE)
        assert str(raised.value).startswith("The task 'echo' could not ")
        assert "RuntimeError: a b a b" in str(raised.value)
        assert len(str(raised.value)) < 400
        assert (await rig.ask("b")).output == echoed("b")


async def test_an_answer_has_no_line_breaks() -> None:
    async with an_engine_rig() as rig:
        rig.tasks[LARGE].finish = lambda finished: [b'{\n "a": "b\\n"}\n']  # type: ignore[method-assign]
        assert (await rig.ask("a", model=LARGE)).output == b'{"a":"b\\n"}'


async def test_a_model_that_returns_too_few_results_fails_the_requests_of_the_step() -> None:
    async with an_engine_rig(lanes=1) as rig:
        model: Any = rig.device.model
        step = model.step

        def fewer(rows: Sequence[Row]) -> Any:
            return step(rows)[: -1 if any(ord("!") in row.tokens for row in rows) else None]

        model.step = fewer
        with pytest.raises(DeviceError, match="returned 0 results of a step for 1 rows"):
            await rig.ask("a!")
        assert (await rig.ask("b")).output == echoed("b")


async def _fails_alone(method: str, made: Any, sentence: str) -> None:
    async with an_engine_rig() as rig:
        setattr(rig.tasks[LARGE], method, lambda *_: made)
        with pytest.raises(DeviceError) as raised:
            await rig.ask("a", model=LARGE)
        assert str(raised.value).startswith("The task 'echo' ")
        assert sentence in str(raised.value)
        assert (await rig.ask("b", model=SMALL)).output == echoed("b")
        assert rig.device.batcher.backlog_ms == 0.0
