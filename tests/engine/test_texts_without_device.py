"""Texts that a task answers without the device: what the device is expected to do for the next ones becomes less."""

from typing import Any

from support.entries import a_flight

from inferstream.pipeline.clock import FakeClock
from inferstream.pipeline.engine.batcher import Batcher
from inferstream.pipeline.engine.batching import Limits
from inferstream.pipeline.engine.cost import Cost
from inferstream.pipeline.engine.flight import Flight
from inferstream.pipeline.engine.phase_queue import PhaseQueue
from inferstream.pipeline.runtime.model import RUN, Row


class NamedTask:
    """All that the estimate asks of a task."""

    def __init__(self, name: str) -> None:
        self.name = name


TRIAGE: Any = NamedTask("triage")
EMBED: Any = NamedTask("embed")


class Waiting:
    """A batcher and its clock."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        queue = PhaseQueue(Cost((1.0, 0.05, 0.04, 1e-5)), Limits(1_024, 64))
        self.batcher = Batcher({RUN: queue}, self.clock, lambda dropped: None)

    def flight(self, task: Any) -> Flight:
        flight = a_flight(b"", batcher=self.batcher, started_at=self.clock())
        flight.task = task
        flight.size = 100
        self.batcher.expected.expect(flight)
        return flight

    def expected_ms(self, task: Any) -> float:
        flight = self.flight(task)
        ms = sum(part.ms for part in flight.expected)
        self.batcher.expected.settle(flight)
        return ms


def test_the_share_that_needs_the_device_is_learned_for_each_task() -> None:
    waiting = Waiting()
    whole_ms = waiting.expected_ms(TRIAGE)
    expected = waiting.batcher.expected
    for number in range(500):
        flight = waiting.flight(TRIAGE)
        if number % 5:
            expected.answered(flight)
        else:
            expected.settle(flight, [Row([0] * 27)])
    assert 0.1 < waiting.expected_ms(TRIAGE) / whole_ms < 0.35, "a fifth of the texts needs the device"
    assert waiting.expected_ms(EMBED) > 0.9 * whole_ms
    for _ in range(300):
        expected.settle(waiting.flight(TRIAGE), [Row([0] * 27)])
    assert waiting.expected_ms(TRIAGE) > 0.9 * whole_ms, "it is learned again when all of them need it"


def test_an_end_without_an_answer_says_nothing() -> None:
    waiting = Waiting()
    whole_ms = waiting.expected_ms(TRIAGE)
    for _ in range(100):
        waiting.batcher.expected.settle(waiting.flight(TRIAGE))
    assert waiting.expected_ms(TRIAGE) == whole_ms
