"""A request for which its task needs no model: the answer comes from preparing, and the device never sees it."""

import asyncio
import threading
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

import pytest
from support.echo import echoed
from support.engine_rig import SMALL, EngineRig, an_engine_rig

from inferstream.pipeline.engine.flight import Flight
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


async def test_those_of_one_call_land_together() -> None:
    async with an_engine_rig() as rig:
        texts = without_rows_for_dots(rig)
        prepare = rig.tasks[SMALL].prepare
        release = threading.Event()

        def held(asks: Sequence[Ask], max_tokens: int | None = None) -> Any:
            assert release.wait(20)
            return prepare(asks, max_tokens)

        rig.tasks[SMALL].prepare = held  # type: ignore[method-assign]
        landed: list[int] = []
        land = rig.engine._land

        def counted(flights: Collection[Flight]) -> None:
            landed.append(len(flights))
            land(flights)

        rig.engine._land = counted  # type: ignore[method-assign]
        asked = rig.asked(*("." * count for count in range(1, 31)))
        while len(rig.engine.flights) < 30:  # noqa: ASYNC110 - they begin in tasks of their own
            await asyncio.sleep(0)
        release.set()
        assert [(await one).output for one in asked] == [echoed("dots")] * 30
        assert len(texts) == sum(landed) == 30
        assert len(landed) <= 2, "the first call may have had fewer, the second has the rest"


async def test_it_is_not_written_to_the_disk(tmp_path: Path) -> None:
    async with an_engine_rig(disk=tmp_path) as rig:
        without_rows_for_dots(rig)
        assert (await rig.ask("...")).cache == "miss"
    async with an_engine_rig(disk=tmp_path) as rig:
        without_rows_for_dots(rig)
        assert (await rig.ask("...")).cache == "miss"
