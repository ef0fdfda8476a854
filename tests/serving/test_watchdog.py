"""A blocked loop ends the process; a slow one does not."""

import asyncio
import subprocess
import sys
import threading

import pytest

from inferstream.pipeline.serving import watchdog
from inferstream.pipeline.serving.watchdog import STALLED, Watchdog

PATIENCE_S = 20


@pytest.fixture
def no_last_resort(monkeypatch: pytest.MonkeyPatch) -> None:
    """The interpreter's own timer would end this process, and so the run of the tests, 0.1 s after a late watchdog."""
    monkeypatch.setattr(watchdog, "LAST_RESORT", 1_000.0)


async def test_a_stalled_loop_ends_the_process(
    no_last_resort: None, caplog: pytest.LogCaptureFixture
) -> None:
    ended = threading.Event()
    statuses: list[int] = []

    def end(status: int) -> None:
        statuses.append(status)
        ended.set()

    with Watchdog(0.2, end=end):
        assert ended.wait(PATIENCE_S)  # blocks the loop on purpose
    assert statuses == [STALLED]
    assert "was blocked for 0.2 s" in caplog.text


async def test_a_loop_that_turns_lives(no_last_resort: None, caplog: pytest.LogCaptureFixture) -> None:
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


HOLDS_THE_LOCK = """
import asyncio, ctypes, re, sys, unicodedata
from inferstream.pipeline.serving.watchdog import Watchdog

def in_c():
    ctypes.PyDLL(None).sleep(600)  # a PyDLL call keeps the interpreter lock

def in_a_regular_expression():
    re.match("(a*)*b", "a" * 60)

def in_unicodedata():
    unicodedata.normalize("NFC", "a" + "\\u0301\\u0316" * 1_000_000)

async def main():
    with Watchdog(0.4):
        await asyncio.sleep(1.0)  # several beats
        print("blocks now", flush=True)
        globals()[sys.argv[1]]()

asyncio.run(main())
"""


@pytest.mark.parametrize("where", ["in_c", "in_a_regular_expression", "in_unicodedata"])
def test_a_call_that_holds_the_interpreter_lock_ends_the_process(where: str) -> None:
    """No thread of Python runs then, this watchdog's included."""
    ended = subprocess.run(
        [sys.executable, "-c", HOLDS_THE_LOCK, where], capture_output=True, text=True, timeout=60
    )
    assert (ended.returncode, ended.stdout) == (1, "blocks now\n")
    assert "Timeout (0:00:00.6" in ended.stderr
    assert f"in {where}" in ended.stderr, "the stack names the call"


async def test_a_watchdog_that_has_ended_ends_nothing() -> None:
    with Watchdog(0.5, end=lambda status: None):
        pass
    threading.Event().wait(1.0)  # longer than both limits
