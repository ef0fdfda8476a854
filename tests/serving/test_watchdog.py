"""A blocked loop ends the process; a slow one does not."""

import asyncio
import threading

import pytest

from inferstream.pipeline.serving.watchdog import STALLED, Watchdog

PATIENCE_S = 20


async def test_a_stalled_loop_ends_the_process(caplog: pytest.LogCaptureFixture) -> None:
    ended = threading.Event()
    statuses: list[int] = []

    def end(status: int) -> None:
        statuses.append(status)
        ended.set()

    with Watchdog(0.2, end=end):
        assert ended.wait(PATIENCE_S)  # blocks the loop on purpose
    assert statuses == [STALLED]
    assert "was blocked for 0.2 s" in caplog.text


async def test_a_loop_that_turns_lives(caplog: pytest.LogCaptureFixture) -> None:
    statuses: list[int] = []
    with Watchdog(0.5, end=statuses.append):
        await asyncio.sleep(
            0.8
        )  # longer than the limit, in real time: the thread under test has no other clock
    assert not statuses


async def test_a_loop_blocked_for_less_than_the_limit_lives() -> None:
    statuses: list[int] = []
    with Watchdog(5.0, end=statuses.append):
        threading.Event().wait(0.6)
        await asyncio.sleep(0)
    assert not statuses
