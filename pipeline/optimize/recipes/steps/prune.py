"""The step `prune`: a smaller encoder, see `optimize/derived/pruned`."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec

from ....models.manifest import Manifest
from ....models.metrics import FITTED
from ....models.progress import Progress
from ...derived.pruned import Pruning, prune_model
from ...derived.smaller import MAX_FITTED, MAX_UNSEEN
from ...pull.variants import BUILDER_VERSION
from ..making import MadeByStep, StepPlace
from ..recipe import PruneStep

# Measured with minilm (91 MB) on two cores of an AMD EPYC with AVX2.
PRUNED_S_PER_MB = 0.55
MEASURED_S_PER_ROW = 0.01  # three encoders, each with a classifier fitted anew


class PruneMaking:
    """Prunes an encoder with the known rows. A run goes on with what keeps too little, which workers refuse."""

    kind = "prune"
    reads_rows = True
    revision = BUILDER_VERSION * 100 + 1

    def __init__(self, step: PruneStep, of: str) -> None:
        self.name = step.name or f"{of}-pruned{round(step.share * 100)}"
        self.needs = (of,)
        self._of = of
        self._step = step

    @property
    def settings(self) -> dict[str, Any]:
        found: dict[str, Any] = msgspec.to_builtins(self._step)
        return found | {"of": self._of, "name": self.name, "share": self._step.share}

    def reference_s(self, place: StepPlace) -> float | None:
        rows = min(place.rows.counts.known, MAX_FITTED + MAX_UNSEEN)
        size = size_mb(place, self._of)
        return None if size is None else PRUNED_S_PER_MB * size + MEASURED_S_PER_ROW * rows

    def make(self, place: StepPlace, progress: Progress) -> MadeByStep:
        wanted = Pruning(self._of, self._step.share, self.name, self._step.force, keep_closed=True)
        made = prune_model(place.registry, wanted, place.rows.known, progress)
        return MadeByStep({one.name: one.version for one in made}, notes=not_passed(made))


def not_passed(made: Sequence[Manifest]) -> tuple[str, ...]:
    """Which of the variants that were made keep too little accuracy, in sentences."""
    return tuple(
        f"{one.name} did not pass: {' '.join(judged.gate.failures)}"
        for one in made
        if (judged := one.judgements.get(FITTED)) and not judged.gate.passed
    )


def size_mb(place: StepPlace, base: str) -> float | None:
    """Of the float32 graph of a model, if it is here."""
    for manifest in place.registry.list():
        if manifest.name == f"{base}-fp32" and Path(manifest.graph_path).exists():
            return Path(manifest.graph_path).stat().st_size / 1e6
    return None
