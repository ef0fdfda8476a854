"""The step `evaluate`: what variants keep and cost, see `optimize/evaluation`."""

from collections.abc import Iterable, Sequence
from typing import Any, Final

from msgspec.structs import replace

from ....errors import UsageError
from ....models.manifest import ENCODER
from ....models.metrics import Evaluation
from ....models.progress import Progress
from ....tasks.triage.definition import TRIAGE
from ...evaluation.candidate import Candidate
from ...evaluation.candidates import fitted_encoder
from ...evaluation.classifiers import evaluate
from ...evaluation.extra_sets import extra_sets
from ...evaluation.memory import resident_bytes
from ...evaluation.models import JudgedRows, split_rows
from ..machine import this_machine, versions
from ..making import MadeByStep, StepPlace
from ..recipe import EvaluateStep, Recipe

# Measured with minilm and 77 labels on two cores of an AMD EPYC with AVX2.
READ_S_PER_ROW: Final = 0.001
FITTED_S_PER_ROW_AND_LABEL: Final = 5e-6
SPEED_S: Final = 7.0  # of one variant, its memory among it


class EvaluateMaking:
    """Measures encoders, each with a head that is fitted anew on its vectors of the known rows."""

    kind = "evaluate"
    reads_rows = True
    revision = 1

    def __init__(self, step: EvaluateStep, recipe: Recipe, makers: Sequence[str]) -> None:
        """``makers``: the names of the steps that make variants."""
        self.name = step.name
        self._step = step
        self._original = f"{recipe.model.name}-fp32"
        self._provider = recipe.provider
        self._makers = {maker: _made_by(maker, makers) for maker in step.of} if step.of else {}
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
        rows = split_rows(place.rows.known, place.rows.unseen)
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
        return MadeByStep(
            evaluations={name: _with_memory(place, name, one, progress) for name, one in found.items()}
        )

    def _names(self, place: StepPlace) -> list[str]:
        """What is measured, the original first."""
        found = [self._original]
        for need in self.needs:
            found += _worth_measuring(place.results[need].models)
        if self._makers:
            found = [self._original]
            for name, maker in self._makers.items():
                made = place.results[maker].models
                found += [name] if name in made else _worth_measuring(made)
        return list(dict.fromkeys(found))

    def _candidate(self, place: StepPlace, name: str, rows: JudgedRows, progress: Progress) -> Candidate:
        manifest = place.registry.load(name, ENCODER)
        return fitted_encoder(manifest, rows.fitted, self._provider, progress)


def _made_by(name: str, makers: Sequence[str]) -> str:
    """The step that makes the variant ``name``, which may be the name of the step itself."""
    found = [maker for maker in makers if name == maker or name.startswith(f"{maker}-")]
    if not found:
        raise UsageError(
            f"The step evaluate is of {name!r}, which no step makes; they make {', '.join(makers)}."
        )
    return max(found, key=len)


def _worth_measuring(models: Iterable[str]) -> list[str]:
    """Not the float32 variants: what serves is smaller, and the original is measured in any case."""
    return [name for name in models if not name.endswith("-fp32")]


def _with_memory(place: StepPlace, name: str, found: Evaluation, progress: Progress) -> Evaluation:
    """With what a process takes to serve it, where speeds were measured."""
    if not found.speeds:
        return found
    progress(f"measuring the memory of {name}", 0, None)
    (speed,) = found.speeds
    home = place.registry.root.parent
    taken = resident_bytes(home, TRIAGE, name, speed.served_by.provider, max(speed.tokens))
    return replace(found, speeds=(replace(speed, resident_bytes=taken),))
