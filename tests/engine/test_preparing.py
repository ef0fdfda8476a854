"""Preparing: calls are bounded, short texts do not wait for long ones, and a text has a largest size."""

import asyncio
import threading
from collections.abc import Sequence

import pytest
from support.echo import echoed
from support.engine_rig import SMALL, EngineRig, an_engine_rig

from inferstream.pipeline.engine.preparing import LONG_CHARACTERS
from inferstream.pipeline.engine.text_queue import MAX_CHARACTERS_PER_CALL, MAX_FLIGHTS_PER_CALL
from inferstream.pipeline.errors import DeadlineExceeded, TooLarge
from inferstream.pipeline.runtime.model import Row
from inferstream.pipeline.tasks.base import Ask


class Calls:
    """The calls of the tokenizer, in a rig; those for texts of ``held`` characters wait until `release`."""

    def __init__(self, rig: EngineRig, held: int = LONG_CHARACTERS + 1) -> None:
        self._held = held
        self.texts: list[list[str]] = []
        self.limits: set[int | None] = set()
        self.release = threading.Event()
        self._prepare = rig.tasks[SMALL].prepare
        rig.tasks[SMALL].prepare = self.prepare  # type: ignore[method-assign]

    def prepare(self, asks: Sequence[Ask], max_tokens: int | None = None) -> list[list[Row]]:
        texts = [ask.content for ask in asks]
        self.texts.append(texts)
        self.limits.add(max_tokens)
        if max(map(len, texts)) >= self._held:
            assert self.release.wait(20)
        return self._prepare(asks, max_tokens)


async def test_short_texts_do_not_wait_for_a_long_one_to_be_tokenized() -> None:
    async with an_engine_rig() as rig:
        calls = Calls(rig)
        long = "long " * LONG_CHARACTERS
        (held,) = rig.asked(long)
        assert [(await asked).output for asked in rig.asked("a", "b")] == [echoed("a"), echoed("b")]
        assert not held.done()
        calls.release.set()
        assert (await held).output == echoed(long.strip())


async def test_a_call_is_bounded_in_characters_and_texts() -> None:
    async with an_engine_rig() as rig:
        calls = Calls(rig)
        calls.release.set()
        texts = [f"{number} " + "x" * (LONG_CHARACTERS - 10) for number in range(20)]
        texts += [f"long {number} " + "x" * LONG_CHARACTERS for number in range(5)]
        texts += [f"short {number}" for number in range(200)]
        for asked, text in zip(rig.asked(*texts), texts, strict=True):
            assert (await asked).output == echoed(text)
    assert sorted(text for call in calls.texts for text in call) == sorted(texts)
    for call in calls.texts:
        assert len(call) <= MAX_FLIGHTS_PER_CALL
        longest = max(map(len, call))
        assert sum(map(len, call)) < MAX_CHARACTERS_PER_CALL + longest
        assert longest <= LONG_CHARACTERS or min(map(len, call)) > LONG_CHARACTERS


async def test_a_text_of_too_many_tokens_is_refused_with_the_limit_and_what_to_do() -> None:
    async with an_engine_rig(max_tokens=100) as rig:
        calls = Calls(rig)
        (over, fits) = rig.asked("x" * 101, "y" * 100)
        assert (await fits).output == echoed("y" * 100)
        with pytest.raises(TooLarge, match=r"more than the 100 tokens allowed.*max_request_tokens"):
            await over
        assert rig.device.batcher.backlog_ms == 0.0
        assert calls.limits == {100}, "the task need not read on"


async def test_what_nobody_waits_for_any_more_is_not_tokenized() -> None:
    async with an_engine_rig() as rig:
        calls = Calls(rig)
        long = "x" * (LONG_CHARACTERS + 1)
        first = rig.asked(long + "first")
        late = rig.asked(long + "late", expires=rig.clock() + 1e6)
        (left,) = rig.asked(long + "left")
        while not calls.texts:  # noqa: ASYNC110 - a thread of the engine fills it
            await asyncio.sleep(0.001)
        left.cancel()
        await asyncio.wait([left])
        rig.clock.advance(2e6)
        calls.release.set()
        with pytest.raises(DeadlineExceeded):
            await late[0]
        await asyncio.gather(*first, *rig.asked(long + "last"))
        assert [call[0][-4:] for call in calls.texts] == ["irst", "last"]


@pytest.mark.parametrize("long", [False, True], ids=["short texts", "long texts"])
async def test_a_tenant_waits_for_one_call_and_not_for_all_texts_of_another(long: bool) -> None:
    size = LONG_CHARACTERS + 1 if long else LONG_CHARACTERS - 10
    async with an_engine_rig(cached=False, max_tokens=1_000_000) as rig:
        calls = Calls(rig, held=size)
        asked = rig.asked(*[f"{number} ".ljust(size, "x") for number in range(30)], tenant="stranger")
        while not calls.texts:  # noqa: ASYNC110 - a thread of the engine fills it
            await asyncio.sleep(0.001)
        asked += rig.asked(*[f"mine {number} ".ljust(size, "x") for number in range(3)])
        await asyncio.sleep(0)  # a task puts its text into the queue in its first turn
        calls.release.set()
        await asyncio.gather(*asked)
    order = [text.split()[0] for call in calls.texts for text in call]
    mine = [place for place, word in enumerate(order) if word == "mine"]
    first_call = len(calls.texts[0])
    assert mine[0] <= first_call + 1, order
    assert mine[2] <= first_call + 5, "in turns"
    assert [int(word) for word in order if word != "mine"] == list(range(30)), "in order"
