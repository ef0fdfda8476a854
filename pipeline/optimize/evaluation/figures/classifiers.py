"""Measures classifiers beside their original: accuracy, calibration, agreement, foreign and negated texts, speed.

Each model is measured as it is served, on rows that it was not made from, and all of them on the same rows.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import msgspec
import numpy as np

from ....errors import UsageError
from ....models.metrics import Evaluation, MachineSpeed
from ...machine.devices import served_by
from ...triage.labeled import Labeled
from ...triage.report import Progress
from ..extra_sets import ExtraSets
from ..served_model import ServedModel
from .answered import Answered, Quality, answered, cosines, quality
from .bootstrap import agreeing, kept_share, share_of
from .speed import measured_speeds


class _Found(NamedTuple):
    """The answers of one model."""

    model: ServedModel
    rows: Answered
    quality: Quality
    foreign: Answered
    negated: Answered | None
    labeled_negated: float | None


def evaluate(
    original: ServedModel,
    variants: Sequence[ServedModel],
    rows: Labeled,
    sets: ExtraSets,
    progress: Progress,
    *,
    fitted_rows: int = 0,
    speeds: bool = True,
    seed: int = 0,
) -> dict[str, Evaluation]:
    """What is measured of each variant, and of the original beside itself, by their names.

    ``fitted_rows``: on how many other rows the heads of the models were fitted for this. ``speeds``: measure
    these too; they are noisy on a machine that does other work. Raises UsageError without a row, or if the original
    is never right.
    """
    if not rows.texts:
        raise UsageError("There is no row to measure on: give rows with a text and a label.")
    models = [original, *(one for one in variants if one.name != original.name)]
    found = [_answers(one, rows, sets, progress) for one in models]
    if not found[0].quality.hits.any():
        raise UsageError(
            f"{original.name} answers no row with its label: are these the labels that the models give? See --label, "
            "and --taxonomy for --zero-shot."
        )
    measured = measured_speeds(original, models, rows.texts, progress) if speeds else {}
    common = {"rows": len(rows.texts), "rows_sha256": rows.digest, "fitted_rows": fitted_rows, "seed": seed}
    return {one.model.name: _evaluation(found[0], one, measured, common) for one in found}


def _answers(model: ServedModel, rows: Labeled, sets: ExtraSets, progress: Progress) -> _Found:
    step = f"{model.name} answers {len(rows.texts)} rows"
    progress(step, 0, len(rows.texts))
    on_rows = answered(model, rows.texts)
    labeled = sets.labeled_negated
    right = quality(answered(model, labeled.texts), labeled.labels).hits if labeled else None
    found = _Found(
        model,
        on_rows,
        quality(on_rows, rows.labels),
        answered(model, sets.foreign),
        answered(model, sets.made_negated) if sets.made_negated else None,
        None if right is None else float(right.mean()),
    )
    progress(step, len(rows.texts), len(rows.texts))
    return found


def _evaluation(
    before: _Found, after: _Found, speeds: Mapping[str, MachineSpeed], common: Mapping[str, object]
) -> Evaluation:
    original, variant = before.model, after.model
    same = before.rows.labels == after.rows.labels
    found = cosines(before.rows, after.rows)
    static = float(after.rows.by_static.mean())
    evaluation = Evaluation(
        use=variant.use,
        version=variant.version,
        original=original.name,
        original_version=original.version,
        served_by=served_by(variant.provider),
        rows=0,
        rows_sha256="",
        accuracy=share_of(after.quality.hits),
        original_accuracy=float(before.quality.hits.mean()),
        share=kept_share(before.quality.hits, after.quality.hits),
        macro_f1=after.quality.macro_f1,
        original_macro_f1=before.quality.macro_f1,
        calibration_error=after.quality.calibration_error,
        original_calibration_error=before.quality.calibration_error,
        by_label=after.quality.by_label,
        agreement=agreeing(same),
        out_of_scope=float(after.foreign.to_human.mean()),
        original_out_of_scope=float(before.foreign.to_human.mean()),
        negation=after.labeled_negated,
        original_negation=before.labeled_negated,
        negation_agreement=_agreement(before.negated, after.negated),
        static_share=static or None,
        cosine_mean=None if found is None else float(found.mean()),
        cosine_min=None if found is None else float(found.min()),
        size_bytes=variant.size_bytes,
        speeds=tuple(speed for name, speed in speeds.items() if name == variant.name),
    )
    return msgspec.structs.replace(evaluation, **common)


def _agreement(first: Answered | None, second: Answered | None) -> float | None:
    if first is None or second is None:
        return None
    return float(np.mean(first.labels == second.labels))
