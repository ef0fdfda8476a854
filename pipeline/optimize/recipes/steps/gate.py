"""The step `gate`: judges what was measured. Workers refuse what does not pass, unless it is forced."""

from typing import Any

from ....models.judgements import write_judgement
from ....models.metrics import Evaluation, Gate, Judgement
from ....models.progress import Progress
from ....tasks.triage.head import HeadStore
from ...evaluation.gates import DEFAULTS, checked_thresholds, judge
from ...evaluation.keeping import keep_judgement
from ..making import MadeByStep, StepPlace
from ..recipe import GateStep


class GateMaking:
    """Judges each variant of an evaluation, and keeps the judgement with the variant."""

    kind = "gate"
    reads_rows = False
    revision = 1

    def __init__(self, step: GateStep) -> None:
        self.name = step.name
        self.needs = (step.of,)
        self._step = step
        self._thresholds = checked_thresholds(step.thresholds)

    @property
    def settings(self) -> dict[str, Any]:
        return {"of": self._step.of, "thresholds": self._thresholds, "force": self._step.force}

    def reference_s(self, place: StepPlace) -> float | None:
        return 0.1

    def make(self, place: StepPlace, progress: Progress) -> MadeByStep:
        measured = place.results[self._step.of].evaluations
        found = {name: self._judged(place, name, one, progress) for name, one in measured.items()}
        notes = [
            f"{name} did not pass: {' '.join(gate.failures)}"
            for name, gate in found.items()
            if not gate.passed
        ]
        return MadeByStep(evaluations=measured, gates=found, notes=tuple(notes))

    def _judged(self, place: StepPlace, name: str, evaluation: Evaluation, progress: Progress) -> Gate:
        gate = judge(evaluation, self._thresholds or DEFAULTS[evaluation.use], force=self._step.force)
        judgement = Judgement(evaluation, gate)
        heads = HeadStore(place.registry.root.parent)
        if heads.has(name):
            return write_judgement(heads.root / name / evaluation.version, judgement).gate
        return keep_judgement(place.registry, place.registry.load(name), judgement, progress).gate
