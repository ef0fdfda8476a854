"""What the page of metrics says about releases."""

from collections.abc import Iterable, Sequence

from prometheus_client import Counter
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from ...telemetry import WorkerMetrics
from .followed import ReleasedModels


class ReleaseMetrics:
    """Counts swaps and refusals, and shows which releases are loaded."""

    def __init__(self, metrics: WorkerMetrics, followed: Sequence[ReleasedModels]) -> None:
        self._swaps = Counter(
            "inferstream_release_swaps",
            "Releases that have taken the place of another one.",
            ["task"],
            registry=metrics.registry,
        )
        self._refusals = Counter(
            "inferstream_release_refusals",
            "Releases that were refused, each once for each reason.",
            ["task"],
            registry=metrics.registry,
        )
        for models in followed:
            self._swaps.labels(models.task)
            self._refusals.labels(models.task)
        metrics.registry.register(_Loaded(followed))

    def swapped(self, task: str) -> None:
        """Count a release that answers now."""
        self._swaps.labels(task).inc()

    def refused(self, task: str) -> None:
        """Count a release that is refused."""
        self._refusals.labels(task).inc()


class _Loaded(Collector):
    def __init__(self, followed: Sequence[ReleasedModels]) -> None:
        self._followed = followed

    def collect(self) -> Iterable[Metric]:
        """Which version each alias has, and whether it can be followed."""
        loaded = GaugeMetricFamily(
            "inferstream_release_loaded",
            "1 for each release of an alias that is loaded: stable, candidate, or kept for a rollback.",
            labels=["task", "alias", "version", "role"],
        )
        behind = GaugeMetricFamily(
            "inferstream_release_behind",
            "1 while an alias means another version than the one that is served, or cannot be read.",
            labels=["task", "alias"],
        )
        for models in self._followed:
            for alias in models.aliases.values():
                roles = {"stable": alias.stable, "candidate": alias.candidate, "kept": alias.kept}
                for role, release in roles.items():
                    if release is not None:
                        loaded.add_metric([models.task, alias.name.alias, release.version, role], 1)
                behind.add_metric([models.task, alias.name.alias], alias.is_behind)
        return loaded, behind
