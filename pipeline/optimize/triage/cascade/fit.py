"""Adds to a fitted head what its tiers are together: a cascade, and an ensemble."""

from collections.abc import Sequence
from typing import Final, NamedTuple

from msgspec.structs import replace

from ....tasks.pooling import embed
from ....tasks.triage.cascade_task import Tiers
from ....tasks.triage.classifier import urgency_axis
from ....tasks.triage.head import CASCADE, ENCODER_TIER, ENSEMBLE, STATIC_TIER, HeadAccuracy, Serve
from ....tasks.triage.settings import TriageSettings
from ....tasks.triage.static_file import STATIC_FILE
from ....tasks.triage.static_tier import StaticTier
from ....tasks.triage.taxonomy import Taxonomy
from ..fit import Fitted, accuracy_of
from ..fit_tiers import FitEncoder, FittedTiers, TierReport, fit_tiers
from ..report import Progress, Scored, TriageReport, embed_with, measure
from .cascaded import cascaded
from .choosing import Texts, chosen_cascade
from .crossed import FoldTiers, crossed_pairs
from .ensemble import added, temperature_together
from .risk import Bound

SAMPLED: Final = TriageSettings().shadow


class ChangeLimit(NamedTuple):
    """Of the share of answers that are other than the encoder's; ``bound``: what of it is within the limit."""

    share: float = 0.01
    bound: Bound = "upper"


def tiers_with_cascade(
    fitted: Fitted,
    encoder: FitEncoder,
    taxonomy: Taxonomy,
    serve: Serve,
    limit: ChangeLimit,
    progress: Progress,
) -> FittedTiers:
    """A static tier and a cascade beside the head of ``fitted``; ``serve``: what is to answer."""
    tiers = fit_tiers(fitted, encoder, taxonomy, serve, progress)
    return with_cascade(tiers, fitted, encoder, taxonomy, limit, progress)


def with_cascade(
    tiers: FittedTiers,
    fitted: Fitted,
    encoder: FitEncoder,
    taxonomy: Taxonomy,
    limit: ChangeLimit,
    progress: Progress,
) -> FittedTiers:
    """The same tiers with a cascade and an ensemble, measured on the test tickets as well.

    Its thresholds are chosen on the rows of the fit by the tiers that were not fitted on them, and hold for the urgent
    phrases of ``taxonomy``.
    """
    _, tokenizer, session = encoder
    rows = fitted.rows
    axis = urgency_axis(taxonomy, tiers.head.dimensions, lambda some: embed(some, tokenizer, session))
    folds = [
        FoldTiers(left, static, classifier)
        for (left, classifier), static in zip(fitted.teacher.folds, tiers.static_folds, strict=True)
    ]
    step = "choosing when the static tier answers"
    progress(step, 0, 2)
    crossed = crossed_pairs(rows.train.texts, fitted.teacher.vectors, folds, axis, tokenizer, session)
    cascade = chosen_cascade(crossed.tickets, crossed.foreign, taxonomy, limit.share, limit.bound)
    progress(step, 1, 2)
    vectors = embed_with(rows.test.texts, tokenizer, session, progress, "reading the tickets to test on")
    tested = Texts(tokenizer.encode(rows.test.texts), vectors)
    assert tiers.head.static  # it was fitted just now
    static = StaticTier.read(tiers.files[STATIC_FILE], tiers.head.static.weights_sha256, STATIC_FILE)
    found = cascaded(tested, Tiers(tiers.head, static, cascade), axis, taxonomy)
    report = measure(found.scored, rows.test_truth)
    measured = TierReport(
        tier=CASCADE,
        accuracy=report.accuracy,
        macro_f1=report.macro_f1,
        calibration_error=report.calibration_error,
        by_static=float(found.by_static.mean()),
        size_bytes=sum(one.size_bytes for one in tiers.reports),
        tickets_per_s=_tickets_per_s(tiers.reports, float(found.by_static.mean()) * (1 - SAMPLED)),
    )
    progress(step, 2, 2)
    train = Texts(tokenizer.encode(rows.train.texts), fitted.teacher.vectors)
    together = temperature_together(train, rows.truth, folds)
    sums = Scored(rows.labels, added(tested, static, tiers.head.classifier()), together)
    both = measure(sums, rows.test_truth)
    of_both: dict[Serve, HeadAccuracy] = {
        CASCADE: accuracy_of(rows, found.scored, report),
        ENSEMBLE: accuracy_of(rows, sums, both),
    }
    of_served = {CASCADE: report, ENSEMBLE: both}
    return tiers._replace(
        head=replace(tiers.head, cascade=cascade, together=together),
        measured_both=of_both,
        reports=[*tiers.reports, measured, _of_ensemble(tiers.reports, both)],
        report=of_served.get(tiers.head.served, tiers.report),
        changed_on_test=float(found.changed.mean()),
    )


def _of_ensemble(reports: Sequence[TierReport], report: TriageReport) -> TierReport:
    return TierReport(
        tier=ENSEMBLE,
        accuracy=report.accuracy,
        macro_f1=report.macro_f1,
        calibration_error=report.calibration_error,
        by_static=0.0,
        size_bytes=sum(one.size_bytes for one in reports),
        tickets_per_s=_tickets_per_s(reports, 0.0),
    )


def _tickets_per_s(reports: Sequence[TierReport], by_static: float) -> float:
    """Computed from the rates of the tiers: each text is read by the static tier, some by the encoder as well."""
    seconds = {one.tier: 1 / one.tickets_per_s for one in reports}
    return 1 / (seconds[STATIC_TIER] + (1 - by_static) * seconds[ENCODER_TIER])
