"""The step `prune`: a smaller encoder, see `optimize/derived/pruned`."""

from typing import Any

import msgspec

from ....models.progress import Progress
from ...derived.pruned import Pruning, prune_model
from ...pull.variants import BUILDER_VERSION
from ..making import MadeByStep, StepPlace
from ..recipe import PruneStep
from .smaller import made_by_step, measuring_s, size_mb

# Measured with minilm (91 MB) on two cores of an AMD EPYC with AVX2.
PRUNED_S_PER_MB = 0.55


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
        size = size_mb(place, self._of)
        return None if size is None else PRUNED_S_PER_MB * size + measuring_s(place)

    def make(self, place: StepPlace, progress: Progress) -> MadeByStep:
        wanted = Pruning(self._of, self._step.share, self.name, self._step.force, keep_closed=True)
        made = prune_model(place.registry, wanted, place.rows.known, progress)
        return made_by_step(made)
