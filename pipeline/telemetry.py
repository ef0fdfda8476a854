"""The catalogue of metrics, each with a sentence for the operator, and the format of log lines."""

import logging
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple
from weakref import WeakSet

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

ROWS = (1, 2, 4, 8, 16, 32, 64, 128)
SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)


STATUSES = ("miss", "memory", "disk", "flight", "off")


class TaskFigure(NamedTuple):
    """A value that a task has counted or measured. Its labels are few: not one for each name that strangers choose."""

    name: str
    sentence: str
    labels: Mapping[str, str]
    value: float
    counts: bool = False  # it only rises


class TaskMetrics:
    """The metrics of one task. They have the label ``task``."""

    def __init__(self, task: str, of_all: "WorkerMetrics") -> None:
        self._task = task
        self._of_all = of_all
        self._latency = of_all.latency.labels(task)
        self._chunks = of_all.chunks.labels(task)
        self.by_status = dict.fromkeys(STATUSES, 0)
        self.failed_requests = 0

    def answered(self, status: str, total_ms: float) -> None:
        """Count a result: the source of its answer, and the time since its record was read."""
        self.by_status[status] += 1
        if status != "memory":
            self._latency.observe(total_ms / 1e3)

    def told(self) -> None:
        """Count a part of an answer that was published while it was being made."""
        self._chunks.inc()

    def failed(self, code: str) -> None:
        """Count a failure reply or a dead letter."""
        self.failed_requests += 1
        self._of_all.failures.labels(self._task, code).inc()

    def retried(self, code: str) -> None:
        """Count a request that went to a retry topic."""
        self._of_all.retries.labels(self._task, code).inc()

    def cancelled(self, reason: str) -> None:
        """Count a request that was ended: cancelled, superseded, lease or unread."""
        self._of_all.cancels.labels(self._task, reason).inc()

    def watch(self, name: str, sentence: str, read: Callable[[], float]) -> None:
        """Add a gauge whose value is read at each scrape."""
        self._of_all.gauge(name, sentence).labels(self._task).set_function(read)


class WorkerMetrics:
    """All metrics of a worker process. Values that are read on demand are added by `watch`."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.failures = Counter(
            "inferstream_failures",
            "Requests that ended in a failure reply or a dead letter, by code.",
            ["task", "code"],
            registry=self.registry,
        )
        self.latency = Histogram(
            "inferstream_request_seconds",
            "Time from reading a record to its answer; answers of the memory cache are not counted.",
            ["task"],
            buckets=SECONDS,
            registry=self.registry,
        )
        self.chunks = Counter(
            "inferstream_chunks",
            "Parts of answers that were published while these were being made.",
            ["task"],
            registry=self.registry,
        )
        self.retries = Counter(
            "inferstream_retries",
            "Requests sent to a retry topic, by the code of the error.",
            ["task", "code"],
            registry=self.registry,
        )
        self.cancels = Counter(
            "inferstream_cancelled",
            "Requests that ended before their answer: cancelled, superseded, their client's lease ran out, or unread.",
            ["task", "reason"],
            registry=self.registry,
        )
        self.batch_rows = Histogram(
            "inferstream_batch_rows", "Rows of each batch that ran.", buckets=ROWS, registry=self.registry
        )
        self.run_seconds = Histogram(
            "inferstream_batch_seconds",
            "Time of each run of the device.",
            buckets=SECONDS,
            registry=self.registry,
        )
        self.tokens = Counter("inferstream_tokens", "Tokens of texts that ran.", registry=self.registry)
        self.padded_tokens = Counter(
            "inferstream_padded_tokens", "Tokens that ran, padding included.", registry=self.registry
        )
        self.prompt_tokens = Counter(
            "inferstream_prompt_tokens",
            "Tokens of prompts of generated texts, computed or kept.",
            registry=self.registry,
        )
        self.kept_tokens = Counter(
            "inferstream_kept_tokens",
            "Those of them that were not computed, as they were kept of an earlier prompt.",
            registry=self.registry,
        )
        self._of_tasks: dict[str, TaskMetrics] = {}
        self._gauges: dict[str, Gauge] = {}
        self.registry.register(_Answers(self._of_tasks))
        self._tasks: WeakSet[Any] = WeakSet()
        self.registry.register(_TaskFigures(self._tasks))

    def of_task(self, task: str) -> TaskMetrics:
        """The metrics of one task."""
        return self._of_tasks.setdefault(task, TaskMetrics(task, self))

    def include(self, task: Any) -> None:
        """Show the figures of a task that has the method ``figures``, until it is replaced."""
        if callable(getattr(task, "figures", None)):
            self._tasks.add(task)

    @property
    def by_status(self) -> dict[str, int]:
        """Answers of all tasks by their source."""
        return {status: sum(one.by_status[status] for one in self._of_tasks.values()) for status in STATUSES}

    @property
    def failed_requests(self) -> int:
        """Failure replies and dead letters of all tasks."""
        return sum(one.failed_requests for one in self._of_tasks.values())

    def ran(
        self, rows: int, tokens: int, padded_tokens: int, ms: float, prompt_tokens: int = 0, kept: int = 0
    ) -> None:
        """Count a batch of the device. The lanes call this from their threads."""
        self.batch_rows.observe(rows)
        self.run_seconds.observe(ms / 1e3)
        self.tokens.inc(tokens)
        self.padded_tokens.inc(padded_tokens)
        if prompt_tokens:
            self.prompt_tokens.inc(prompt_tokens)
            self.kept_tokens.inc(kept)

    def watch(self, name: str, sentence: str, read: Callable[[], float]) -> None:
        """Add a gauge whose value is read at each scrape."""
        Gauge(name, sentence, registry=self.registry).set_function(read)

    def gauge(self, name: str, sentence: str) -> Gauge:
        """The gauge with the label ``task``; one for all tasks."""
        if name not in self._gauges:
            self._gauges[name] = Gauge(name, sentence, ["task"], registry=self.registry)
        return self._gauges[name]

    def render(self) -> bytes:
        """All metrics in the Prometheus text format."""
        return generate_latest(self.registry)


class _Answers(Collector):
    """Counts in plain integers: incrementing the library's counter takes longer than a cached answer."""

    def __init__(self, of_tasks: Mapping[str, TaskMetrics]) -> None:
        self._of_tasks = of_tasks

    def collect(self) -> Iterable[Metric]:
        answers = CounterMetricFamily(
            "inferstream_answers",
            "Answers by source: memory, disk, flight (an equal request in progress), miss or off (the device).",
            labels=["task", "cache"],
        )
        for task, one in self._of_tasks.items():
            for status, count in one.by_status.items():
                answers.add_metric([task, status], count)
        yield answers


class _TaskFigures(Collector):
    def __init__(self, tasks: Iterable[Any]) -> None:
        self._tasks = tasks

    def collect(self) -> Iterable[Metric]:
        families: dict[str, Any] = {}
        shown: set[tuple[str, ...]] = set()  # a version that was loaded again is shown once
        for task in list(self._tasks):
            of_task = {"task": task.name, "model": task.model, "version": task.version}
            for figure in task.figures():
                labels = of_task | dict(figure.labels)
                series = (figure.name, *labels.values())
                if series in shown:
                    continue
                shown.add(series)
                if figure.name not in families:
                    kind = CounterMetricFamily if figure.counts else GaugeMetricFamily
                    families[figure.name] = kind(figure.name, figure.sentence, labels=list(labels))
                families[figure.name].add_metric(list(labels.values()), figure.value)
        yield from families.values()


def configure_logging(level: str = "INFO") -> None:
    """Write log lines to standard error."""
    logging.basicConfig(
        level=level.upper(), format="%(asctime)s %(levelname)s %(name)s: %(message)s", force=True
    )
