"""The gate: thresholds that are relative to the original, and the judgement by them."""

from collections.abc import Callable, Mapping
from typing import Final, NamedTuple

from ...errors import UsageError
from ...models.metrics import CLASSIFY, FITTED, GENERATE, TRANSLATE, ZERO_SHOT, Estimate, Evaluation, Gate

Figure = float | Estimate | None


class Threshold(NamedTuple):
    """A limit of one figure: where it is in an evaluation, and a sentence for one that is missed."""

    figure: Callable[[Evaluation], Figure]
    says: str  # {value} and {limit}
    is_percent: bool = True
    is_most: bool = False  # the limit is the highest value, not the lowest


def _minus(first: float | None, second: float | None) -> float | None:
    return None if first is None or second is None else first - second


def _ratio(first: float | None, second: float | None) -> float | None:
    return None if first is None or not second else first / second


THRESHOLDS: Final[Mapping[str, Threshold]] = {
    "min_share": Threshold(
        lambda one: one.share, "it keeps {value} of the accuracy of {original}, and {limit} are needed"
    ),
    "min_share_low": Threshold(
        lambda one: one.share and one.share.low,
        "the share of the accuracy of {original} may be as low as {value}, and {limit} are needed",
    ),
    "min_share_high": Threshold(
        lambda one: one.share and one.share.high,
        "it keeps at most {value} of the accuracy of {original} (95 % interval), and {limit} are needed",
    ),
    "min_agreement": Threshold(
        lambda one: one.agreement, "{value} of its answers are those of {original}, and {limit} are needed"
    ),
    "max_calibration_rise": Threshold(
        lambda one: _minus(one.calibration_error, one.original_calibration_error),
        "its calibration error is {value} above that of {original}, and {limit} are allowed",
        is_most=True,
    ),
    "max_out_of_scope_drop": Threshold(
        lambda one: _minus(one.original_out_of_scope, one.out_of_scope),
        "it sends {value} fewer of the foreign texts to a human than {original}, and {limit} are allowed",
        is_most=True,
    ),
    "max_negation_drop": Threshold(
        lambda one: _minus(one.original_negation, one.negation),
        "it is right on {value} fewer of the negated texts than {original}, and {limit} are allowed",
        is_most=True,
    ),
    "min_negation_agreement": Threshold(
        lambda one: one.negation_agreement,
        "{value} of its answers to negated texts are those of {original}, and {limit} are needed",
    ),
    "min_cosine": Threshold(
        lambda one: one.cosine_mean,
        "its vectors have the mean cosine {value} to those of {original}, and {limit} is needed",
        is_percent=False,
    ),
    "min_bleu": Threshold(
        lambda one: one.bleu,
        "its translations have a BLEU of {value} against those of {original}, and {limit} is needed",
        is_percent=False,
    ),
    "min_chrf": Threshold(
        lambda one: one.chrf,
        "its translations have a chrF of {value} against those of {original}, and {limit} is needed",
        is_percent=False,
    ),
    "max_reference_bleu_drop": Threshold(
        lambda one: _minus(one.original_reference_bleu, one.reference_bleu),
        "its BLEU against the references is {value} below that of {original}, and {limit} is allowed",
        is_percent=False,
        is_most=True,
    ),
    "max_kl": Threshold(
        lambda one: one.kl,
        "its next tokens diverge from those of {original} by {value} nats, and {limit} are allowed",
        is_percent=False,
        is_most=True,
    ),
    "min_top1": Threshold(
        lambda one: one.top1,
        "it expects the next token of {original} at {value} of the places, and {limit} are needed",
    ),
    "max_perplexity_ratio": Threshold(
        lambda one: _ratio(one.perplexity, one.original_perplexity),
        "its perplexity is {value} times that of {original}, and {limit} times are allowed",
        is_percent=False,
        is_most=True,
    ),
}

DEFAULTS: Final[Mapping[str, Mapping[str, float]]] = {
    FITTED: {"min_share": 0.97},
    ZERO_SHOT: {"min_share": 0.97},
    CLASSIFY: {"min_share": 0.97},
    TRANSLATE: {"min_bleu": 80.0},
    GENERATE: {"max_kl": 0.05, "min_top1": 0.9},
}


def checked_thresholds(given: Mapping[str, float]) -> dict[str, float]:
    """The thresholds as they are. Raises UsageError for one that there is not, and for a limit that is no number."""
    for name, limit in given.items():
        if name not in THRESHOLDS:
            raise UsageError(f"There is no threshold {name!r}; there are: {', '.join(THRESHOLDS)}.")
        if limit != limit or limit in (float("inf"), float("-inf")):
            raise UsageError(f"The threshold {name} must be a number, not {limit}.")
    return dict(given)


def judge(evaluation: Evaluation, thresholds: Mapping[str, float], *, force: bool = False) -> Gate:
    """The judgement. A figure that was not measured misses its threshold. Raises UsageError for a wrong threshold.

    An original is as good as itself, whatever the thresholds are. ``force``: publish it although it does not pass.
    """
    limits = checked_thresholds(thresholds)
    if evaluation.version == evaluation.original_version:
        return Gate(limits, passed=True)
    missed = [sentence for name, limit in limits.items() if (sentence := _missed(evaluation, name, limit))]
    return Gate(limits, not missed, tuple(missed), forced=force and bool(missed))


def _missed(evaluation: Evaluation, name: str, limit: float) -> str | None:
    threshold = THRESHOLDS[name]
    figure = threshold.figure(evaluation)
    value = figure.value if isinstance(figure, Estimate) else figure
    if value is None:
        return f"{name} was not measured."
    if value <= limit if threshold.is_most else value >= limit:  # false for what is not a number
        return None
    shown = {"value": _shown(value, threshold), "limit": _shown(limit, threshold)}
    sentence = threshold.says.format(original=evaluation.original, **shown)
    return f"{sentence[0].upper()}{sentence[1:]}."


def _shown(value: float, threshold: Threshold) -> str:
    return f"{value:.2%}" if threshold.is_percent else f"{value:.4g}"
