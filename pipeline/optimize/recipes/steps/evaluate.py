"""The step `evaluate`: what variants keep and cost, see `optimize/evaluation`."""

from collections.abc import Iterable, Sequence
from typing import Any, Final

from ....models.manifest import ENCODER
from ....models.progress import Progress
from ....tasks.triage.definition import TRIAGE
from ....tasks.triage.head import HeadStore
from ...evaluation.candidate import Candidate
from ...evaluation.candidates import fitted_encoder, fitted_model
from ...evaluation.extra_sets import extra_sets
from ...evaluation.figures.classifiers import evaluate
from ...evaluation.figures.memory import MeasuredModel, with_memory
from ...evaluation.models import JudgedRows, split_rows
from ...machine.machine import this_machine, versions
from ..making import MadeByStep, StepPlace
from ..recipe import EvaluateStep, Recipe
from .made_by import made_by

# Measured with minilm and 77 labels on two cores of an AMD EPYC with AVX2.
READ_S_PER_ROW: Final = 0.001
FITTED_S_PER_ROW_AND_LABEL: Final = 5e-6
SPEED_S: Final = 7.0  # of one variant, its memory among it


class EvaluateMaking:
    """Measures fitted models as they are, and encoders with a head that is fitted anew on vectors of the known rows."""

    kind = "evaluate"
    reads_rows = True
    revision = 2

    def __init__(self, step: EvaluateStep, recipe: Recipe, makers: Sequence[str]) -> None:
        """``makers``: the names of the steps that make variants."""
        self.name = step.name
        self._step = step
        self._original = f"{recipe.model.name}-fp32"
        self._provider = recipe.provider
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
        }

    def reference_s(self, place: StepPlace) -> float | None:
        rows = split_rows(place.rows.known, place.rows.unseen)
        fitted, labels = len(rows.fitted.texts), len(set(rows.fitted.labels))
        one = (
            READ_S_PER_ROW * (fitted + len(rows.unseen.texts)) + FITTED_S_PER_ROW_AND_LABEL * fitted * labels
        )
        return (1 + len(self.needs)) * (one + SPEED_S * self._step.speeds)

    def make(self, place: StepPlace, progress: Progress) -> MadeByStep:
        rows = self._rows(place)
        candidates = [self._candidate(place, name, rows, progress) for name in self._names(place)]
        found = evaluate(
            candidates[0],
            candidates[1:],
            rows.unseen,
            extra_sets(rows.unseen.texts),
            progress,
            fitted_rows=len(rows.fitted.texts),
            speeds=self._step.speeds,
        )
        home = place.registry.root.parent
        return MadeByStep(
            evaluations={
                name: with_memory(MeasuredModel(home, TRIAGE, name), one, progress)
                for name, one in found.items()
            }
        )

    def _rows(self, place: StepPlace) -> JudgedRows:
        """Fitted models were fitted on all known rows: beside them, encoders get heads that are too."""
        rows = split_rows(place.rows.known, place.rows.unseen)
        if any(place.results[need].heads for need in self.needs):
            return rows._replace(fitted=place.rows.known)
        return rows

    def _names(self, place: StepPlace) -> list[str]:
        """What is measured, the original first."""
        wanted = self._makers or {need: need for need in self.needs}
        found = [self._original]
        for name, maker in wanted.items():
            made = place.results[maker]
            whole = name in made.models or name in made.heads
            found += [name] if whole else [*_worth_measuring(made.models), *made.heads]
        return list(dict.fromkeys(found))

    def _candidate(self, place: StepPlace, name: str, rows: JudgedRows, progress: Progress) -> Candidate:
        if HeadStore(place.registry.root.parent).has(name):
            return fitted_model(place.registry, name, self._provider)
        manifest = place.registry.load(name, ENCODER)
        return fitted_encoder(manifest, rows.fitted, self._provider, progress)


def _worth_measuring(models: Iterable[str]) -> list[str]:
    """Not the float32 variants: what serves is smaller, and the original is measured in any case."""
    return [name for name in models if not name.endswith("-fp32")]
