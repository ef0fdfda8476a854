"""The step `quantize`: a variant of an encoder in other numbers."""

from typing import Any

from ....models.manifest import ENCODER
from ....models.progress import Progress
from ...quantized import quantize_encoder
from ...variants import RECIPE
from ..making import MadeByStep, StepPlace
from ..recipe import QuantizeStep
from .prune import size_mb

QUANTIZED_S_PER_MB = 0.3  # measured with minilm (91 MB) on two cores of an AMD EPYC with AVX2


class QuantizeMaking:
    """Makes MODEL-METHOD of MODEL-fp32."""

    kind = "quantize"
    reads_rows = False
    revision = RECIPE * 100 + 1

    def __init__(self, step: QuantizeStep, of: str) -> None:
        self.name = f"{of}-{step.method}"
        self.needs = (of,)
        self._of = of
        self._step = step

    @property
    def settings(self) -> dict[str, Any]:
        return {"of": self._of, "method": self._step.method}

    def reference_s(self, place: StepPlace) -> float | None:
        if self.name in {one.name for one in place.registry.list() if one.recipe == RECIPE}:
            return 0.0
        size = size_mb(place, self._of)
        return None if size is None else QUANTIZED_S_PER_MB * size

    def make(self, place: StepPlace, progress: Progress) -> MadeByStep:
        original = place.registry.load(f"{self._of}-fp32", ENCODER)
        made = quantize_encoder(place.registry, original, self._step.method, progress)
        return MadeByStep({made.name: made.version})
