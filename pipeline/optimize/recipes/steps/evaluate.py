"""The step `evaluate`: what variants keep and cost, see `optimize/evaluation`."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from ....errors import UsageError
from ....graphs.llama.decoder import KIND as DECODER
from ....graphs.marian.translator import KIND as TRANSLATOR
from ....models.progress import Progress
from ...evaluation.models import MAX_FITTED, MAX_JUDGED
from ...machine.machine import this_machine, versions
from ..making import MadeByStep, StepPlace
from ..model_facts import KINDS, ModelFacts
from ..recipe import EvaluateStep, Recipe
from ..taxonomies import RecipeTaxonomy
from .made_by import made_by
from .measuring import MEASURED, ToMeasure

# Measured with minilm and 77 labels on two cores of an AMD EPYC with AVX2.
READ_S_PER_ROW: Final = 0.001
FITTED_S_PER_ROW_AND_LABEL: Final = 5e-6
SPEED_S: Final = 7.0  # of one variant, its memory among it
S_PER_TEXT: Final[Mapping[str, float]] = {TRANSLATOR: 0.1, DECODER: 0.6}
"""Of one variant, each text with the original: guesses, until a run on this machine has taught better ones."""


class EvaluateMaking:
    """Measures fitted models as they are, and encoders with a head that is fitted anew on vectors of the known rows."""

    kind = "evaluate"
    reads_rows = True
    revision = 2

    def __init__(
        self,
        step: EvaluateStep,
        recipe: Recipe,
        makers: Sequence[str],
        taxonomy: RecipeTaxonomy,
        facts: ModelFacts,
    ) -> None:
        """``makers``: the names of the steps that make variants."""
        if facts.kind not in MEASURED:
            known = ", ".join(KINDS.values())
            raise UsageError(f"Nothing is measured of a {facts.kind}: there is {known}.")
        self.name = step.name
        self._step = step
        self._original = f"{recipe.model.name}-fp32"
        self._provider = recipe.provider
        self._taxonomy = taxonomy
        self._facts = facts
        self._makers = {maker: made_by(maker, makers, self.kind) for maker in step.of} if step.of else {}
        self.needs = tuple(
            dict.fromkeys([recipe.model.name, *(self._makers.values() if step.of else makers)])
        )

    @property
    def settings(self) -> dict[str, Any]:
        """Figures are those of one machine and of one version of each package."""
        where = {"machine": this_machine().name, "packages": versions()} if self._step.speeds else {}
        return {
            "of": list(self._step.of),
            "speeds": self._step.speeds,
            "original": self._original,
            "provider": self._provider,
            **where,
            **self._taxonomy.settings,
        }

    def reference_s(self, place: StepPlace) -> float | None:
        known, unseen, labels = place.rows.counts
        fitted, judged = min(known, MAX_FITTED), min(unseen, MAX_JUDGED)
        one = READ_S_PER_ROW * (fitted + judged) + FITTED_S_PER_ROW_AND_LABEL * fitted * labels
        one += S_PER_TEXT.get(self._facts.kind, 0.0) * unseen
        return (1 + len(self.needs)) * (one + SPEED_S * self._step.speeds)

    def make(self, place: StepPlace, progress: Progress) -> MadeByStep:
        wanted = ToMeasure(
            tuple(self._names(place)),
            self._provider,
            self._step.speeds,
            self._taxonomy,
            any(place.results[need].heads for need in self.needs),
        )
        return MadeByStep(evaluations=MEASURED[self._facts.kind](place, wanted, progress))

    def _names(self, place: StepPlace) -> list[str]:
        """What is measured, the original first."""
        wanted = self._makers or {need: need for need in self.needs}
        found = [self._original]
        for name, maker in wanted.items():
            made = place.results[maker]
            whole = name in made.models or name in made.heads
            found += [name] if whole else [*_worth_measuring(made.models), *made.heads]
        return list(dict.fromkeys(found))


def _worth_measuring(models: Iterable[str]) -> list[str]:
    """Not the float32 variants: what serves is smaller, and the original is measured in any case."""
    return [name for name in models if not name.endswith("-fp32")]
