"""The step `quantize`: a variant in other numbers."""

from collections.abc import Mapping
from typing import Any, Final

from ....errors import ModelError, UnknownModel, UsageError
from ....models.progress import Progress
from ...compression.sensitivity import Goal
from ...derived.quantized import quantize_encoder
from ...pull.variants import BUILDER_VERSION
from ..making import MadeByStep, StepPlace
from ..model_facts import ModelFacts
from ..recipe import QuantizeStep
from .smaller import size_mb

S_PER_MB: Final[Mapping[str, float]] = {"int8": 0.2, "dynamic": 0.2, "mixed": 0.5, "fp16": 0.08}
"""Measured with minilm (91 MB) on two cores of an AMD EPYC with AVX2."""

NOT_MADE: Final[Mapping[str, str]] = {
    "int4": "an encoder with 4-bit weights ran at 0.91 times the speed of fp32 on a CPU, with a mean cosine of 0.97 "
    "and in a file of twice the size of int8's: use int8",
    "bf16": "16 bits ran as fast as fp32 on a CPU (1.0 times), and bf16 rounds 8 times as coarsely as fp16: use int8, "
    "or fp16 for a GPU",
}
"""What does not help, with figures."""


class QuantizeMaking:
    """Makes MODEL-METHOD of MODEL-fp32. What only a pull can make of a graph is taken as the pull made it."""

    kind = "quantize"
    reads_rows = False
    revision = BUILDER_VERSION * 100 + 1

    def __init__(self, step: QuantizeStep, of: str, facts: ModelFacts) -> None:
        self._pulled = facts.is_of_texts or bool(facts.graph_from)
        if step.method in NOT_MADE and not self._pulled:
            raise UsageError(f"The method {step.method} of quantize is not made: {NOT_MADE[step.method]}.")
        self.name = f"{of}-{step.method}"
        self.needs = (of,)
        self._of = of
        self._step = step

    @property
    def settings(self) -> dict[str, Any]:
        settings: dict[str, Any] = {"of": self._of, "method": self._step.method}
        return settings | self._goal._asdict() if self._step.method == "mixed" else settings

    @property
    def _goal(self) -> Goal:
        return Goal(self._step.min_cosine, self._step.min_agreement, self._step.budget)

    def reference_s(self, place: StepPlace) -> float | None:
        if self._pulled:
            return 0.0
        pulled = {one.name for one in place.registry.list() if one.builder == BUILDER_VERSION}
        if self._step.method == "int8" and self.name in pulled:
            return 0.0
        size = size_mb(place, self._of)
        return None if size is None else S_PER_MB[self._step.method] * size

    def make(self, place: StepPlace, progress: Progress) -> MadeByStep:
        if self._pulled:
            return MadeByStep({self.name: self._as_pulled(place)})
        original = place.registry.load(f"{self._of}-fp32")
        made = quantize_encoder(place.registry, original, self._step.method, self._goal, progress)
        return MadeByStep({made.manifest.name: made.manifest.version}, notes=made.notes)

    def _as_pulled(self, place: StepPlace) -> str:
        """The version. Raises ModelError if the pull has not made it."""
        try:
            return place.registry.load(self.name).version
        except (ModelError, UnknownModel) as error:
            option = " --fp16" if self._step.method == "fp16" else ""
            raise ModelError(
                f"{self.name} is not on this machine, and only the pull makes it: run `inferstream models pull "
                f"{self._of}{option}`, with the folder or the id that it came from."
            ) from error
