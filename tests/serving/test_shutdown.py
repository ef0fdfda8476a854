"""Signals: one drains, a second one is final, and a drain has an end."""

import signal
import threading

import pytest

from inferstream.pipeline.clock import FakeClock
from inferstream.pipeline.serving.shutdown import Shutdown

LIMIT_S = 3600.0


class Process:
    """What a Shutdown did to its process, and when."""

    def __init__(self, limit_s: float = LIMIT_S) -> None:
        self.clock = FakeClock()
        self.drains = 0
        self.statuses: list[int] = []
        self.ended = threading.Event()
        self.shutdown = Shutdown(self._drain, limit_s, end=self._end, clock=self.clock)

    def _drain(self) -> None:
        self.drains += 1

    def _end(self, status: int) -> None:
        self.statuses.append(status)
        self.ended.set()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_the_first_signal_drains_and_the_second_ends_at_once(number: signal.Signals) -> None:
    process = Process()
    with process.shutdown:
        signal.raise_signal(number)
        assert (process.drains, process.statuses) == (1, [])
        process.clock.advance(1)
        signal.raise_signal(number)
    assert (process.drains, process.statuses) == (1, [128 + number])


def test_an_echo_of_a_signal_counts_once() -> None:
    process = Process()
    with process.shutdown:
        signal.raise_signal(signal.SIGINT)
        process.clock.advance(0.1)
        signal.raise_signal(signal.SIGINT)
    assert (process.drains, process.statuses) == (1, [])


def test_a_drain_that_does_not_end_is_ended(caplog: pytest.LogCaptureFixture) -> None:
    process = Process(limit_s=0.05)
    with process.shutdown:
        signal.raise_signal(signal.SIGTERM)
        assert process.ended.wait(20)
    assert process.statuses == [1]
    assert "not over in 0.05 s" in caplog.text


def test_handlers_are_put_back() -> None:
    before = signal.getsignal(signal.SIGTERM)
    with Process().shutdown:
        assert signal.getsignal(signal.SIGTERM) != before
    assert signal.getsignal(signal.SIGTERM) == before
