"""A request for which its task needs no model: the answer comes from preparing, and the device never sees it."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from support.echo import echoed
from support.engine_rig import SMALL, EngineRig, an_engine_rig

from inferstream.pipeline.tasks.base import Ask, Prepared


def without_rows_for_dots(rig: EngineRig) -> list[str]:
    """Answers texts of dots at once; returns the texts that were prepared."""
    texts: list[str] = []
    rows_of = rig.tasks[SMALL].prepare

    def prepare(asks: Sequence[Ask], max_tokens: int | None = None) -> Sequence[Prepared]:
        texts.extend(ask.content for ask in asks)
        return [
            echoed("dots") if set(ask.content) == {"."} else rows_of([ask], max_tokens)[0] for ask in asks
        ]

    rig.tasks[SMALL].prepare = prepare  # type: ignore[method-assign,assignment]
    return texts


@pytest.mark.parametrize("cached", [True, False])
async def test_it_is_answered_without_the_device(cached: bool) -> None:
    async with an_engine_rig(cached=cached) as rig:
        texts = without_rows_for_dots(rig)
        answers = [await rig.ask("..."), await rig.ask("...")]
        assert [answer.output for answer in answers] == [echoed("dots")] * 2
        assert [answer.cache for answer in answers] == (["miss", "memory"] if cached else ["off", "off"])
        assert all(answer.batch is None for answer in answers)
        assert texts == ["..."] * (1 if cached else 2)
        assert rig.session.runs == []
        assert rig.engine.backlog_s == 0


async def test_it_shares_a_call_with_requests_that_need_rows() -> None:
    async with an_engine_rig() as rig:
        without_rows_for_dots(rig)
        asked = rig.asked("...", "a", "....", "b")
        found: list[Any] = [(await one).output for one in asked]
        assert found == [echoed("dots"), echoed("a"), echoed("dots"), echoed("b")]
        assert rig.engine.backlog_s == 0


async def test_it_is_not_written_to_the_disk(tmp_path: Path) -> None:
    async with an_engine_rig(disk=tmp_path) as rig:
        without_rows_for_dots(rig)
        assert (await rig.ask("...")).cache == "miss"
    async with an_engine_rig(disk=tmp_path) as rig:
        without_rows_for_dots(rig)
        assert (await rig.ask("...")).cache == "miss"
