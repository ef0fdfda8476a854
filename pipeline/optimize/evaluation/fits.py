"""The judgement that a fit writes: what is served beside its original, on the rows that the fit has not seen."""

from typing import Final

from ...errors import ModelError
from ...models.metrics import Judgement
from ...models.registry import ModelRegistry
from ...tasks.triage.head import ENCODER_TIER, HeadStore
from ..triage.fit import Fitted
from ..triage.report import Progress
from .extra_sets import extra_sets
from .models import MAX_JUDGED, Asked, JudgedRows, about, evaluate_models
from .originals import HowServed, keep_original

THRESHOLDS: Final = {"min_share_high": 0.97}
"""A fit often has few test rows, one of which would decide on the share itself: what is surely lower is refused."""


def judge_fit(
    registry: ModelRegistry, name: str, version: str, fitted: Fitted, taxonomy: str | None, progress: Progress
) -> Judgement:
    """Measure the fitted model on the test rows of its fit, judge it, and keep the judgement with it; without speeds.

    ``registry`` must not refuse closed gates. Raises UsageError, UnknownModel or ModelError if it cannot be measured.
    """
    heads = HeadStore(registry.root.parent)
    if heads.current(name) != version:
        raise ModelError(f"{name} was fitted again meanwhile.")
    head = heads.load(name, version)
    if head.served == ENCODER_TIER:
        keep_original(HowServed(registry), heads.root / name / version, head, fitted, progress)
    rows = fitted.rows
    judged = JudgedRows(rows.train.at([]), about(rows.test, MAX_JUDGED))
    asked = Asked((name,), taxonomy=taxonomy, thresholds=THRESHOLDS, speeds=False)
    return evaluate_models(registry, asked, judged, extra_sets(judged.unseen.texts), progress)[name]
