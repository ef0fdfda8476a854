"""Figures of tasks on the page of metrics: with the labels of the model, and only as long as it is served."""

import gc
from collections.abc import Iterable

from inferstream.pipeline.telemetry import TaskFigure, WorkerMetrics


class Counting:
    """A task that counts."""

    name = "triage"
    model = "shop"

    def __init__(self, version: str) -> None:
        self.version = version
        self.count = 3

    def figures(self) -> Iterable[TaskFigure]:
        yield TaskFigure("inferstream_of_a_tier", "Answers by tier.", {"tier": "static"}, self.count, True)
        yield TaskFigure("inferstream_of_a_tier", "Answers by tier.", {"tier": "encoder"}, 1, True)
        yield TaskFigure("inferstream_level", "The level.", {}, 0.5)


def lines(metrics: WorkerMetrics) -> list[str]:
    return [
        line for line in metrics.render().decode().splitlines() if "of_a_tier" in line or "_level" in line
    ]


def test_they_are_read_at_each_scrape() -> None:
    metrics = WorkerMetrics()
    task = Counting("1")
    metrics.include(task)
    metrics.include(object())
    task.count = 4
    labels = 'model="shop",task="triage",{}version="1"'
    assert set(lines(metrics)) == {
        "# HELP inferstream_of_a_tier_total Answers by tier.",
        "# TYPE inferstream_of_a_tier_total counter",
        'inferstream_of_a_tier_total{model="shop",task="triage",tier="static",version="1"} 4.0',
        'inferstream_of_a_tier_total{model="shop",task="triage",tier="encoder",version="1"} 1.0',
        "# HELP inferstream_level The level.",
        "# TYPE inferstream_level gauge",
        f"inferstream_level{{{labels.format('')}}} 0.5",
    }


def test_a_task_that_is_replaced_disappears_and_one_that_is_loaded_twice_is_shown_once() -> None:
    metrics = WorkerMetrics()
    old, new, same = Counting("1"), Counting("2"), Counting("2")
    for task in (old, new, same):
        metrics.include(task)
    assert sum(line.startswith("inferstream_level") for line in lines(metrics)) == 2
    del old, task
    gc.collect()
    assert not any('version="1"' in line for line in lines(metrics))
