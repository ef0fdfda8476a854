"""The step `distill`: an encoder that is trained towards its original, see `optimize/derived/distilled`."""

from typing import Any

import msgspec

from ....models.progress import Progress
from ...derived.distilled import Distilling, check_torch, distill_model
from ...pull.variants import BUILDER_VERSION
from ..making import MadeByStep, StepPlace
from ..recipe import DistillStep
from .smaller import made_by_step, measuring_s, size_mb

# Measured with minilm, and with it pruned by 75 % and 80 %, on one core of an AMD EPYC with instructions for bfloat16.
S_PER_MB = 4e-5  # and text, in each pass; the original reads each text once, which takes as long as a pass


class DistillMaking:
    """Trains an encoder with the texts of the known rows."""

    kind = "distill"
    reads_rows = True
    revision = BUILDER_VERSION * 100 + 1

    def __init__(self, step: DistillStep, of: str) -> None:
        check_torch()
        self.name = step.name or f"{of}-distilled"
        self.needs = (of,)
        self._of = of
        self._step = step

    @property
    def settings(self) -> dict[str, Any]:
        found: dict[str, Any] = msgspec.to_builtins(self._step)
        return found | {"of": self._of, "name": self.name, "passes": self._step.passes}

    def reference_s(self, place: StepPlace) -> float | None:
        size = size_mb(place, self._of)
        if size is None:
            return None
        texts = 2 * place.rows.counts.known  # each of them once more, mangled
        return S_PER_MB * size * texts * (1 + self._step.passes) + measuring_s(place)

    def make(self, place: StepPlace, progress: Progress) -> MadeByStep:
        step = self._step
        wanted = Distilling(self._of, step.layers, step.passes, self.name, step.force, keep_closed=True)
        made = distill_model(place.registry, wanted, place.rows.known, progress)
        return made_by_step(made)
