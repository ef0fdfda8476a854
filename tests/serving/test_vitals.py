"""What a worker logs about itself."""

import logging

import pytest

from inferstream.pipeline.clock import FakeClock
from inferstream.pipeline.serving.vitals import TICK_S, Vitals
from inferstream.pipeline.telemetry import WorkerMetrics


@pytest.fixture
def metrics() -> WorkerMetrics:
    return WorkerMetrics()


def test_report_counts_since_the_last_one(metrics: WorkerMetrics, caplog: pytest.LogCaptureFixture) -> None:
    vitals = Vitals(metrics, lambda: 3)
    for status in ("miss", "memory", "flight", "off"):
        metrics.of_task("a").answered(status, 1.0)
    metrics.of_task("b").failed("not_json")
    with caplog.at_level(logging.INFO):
        vitals.report()
        metrics.of_task("b").answered("memory", 1.0)
        vitals.report()
        vitals.report()
    assert [record.getMessage() for record in caplog.records] == [
        "3 requests in flight; 5 ended since the last report, 50% of the answers from the cache.",
        "3 requests in flight; 1 ended since the last report, 100% of the answers from the cache.",
        "3 requests in flight; 0 ended since the last report.",
    ]


def test_a_late_event_loop_is_measured_and_logged(
    metrics: WorkerMetrics, caplog: pytest.LogCaptureFixture
) -> None:
    clock = FakeClock()
    vitals = Vitals(metrics, lambda: 0, clock=clock)
    vitals.tick()
    clock.advance(TICK_S + 0.5)
    vitals.tick()
    assert not caplog.records
    assert b"inferstream_event_loop_lag_seconds 0.5" in metrics.render()
    clock.advance(TICK_S + 2)
    vitals.tick()
    assert [record.getMessage() for record in caplog.records] == [
        "The event loop was blocked for 2.0 s; heartbeats and replies had to wait."
    ]
