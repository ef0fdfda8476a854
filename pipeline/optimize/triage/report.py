"""Measures a classifier on labeled tickets."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from msgspec import Struct

from ...errors import UsageError
from ...runtime.graph import Graph
from ...tasks.pooling import Tokenizes, embed
from ...tasks.triage.classifier import Classifier
from ...tasks.triage.confidence import Floats, Indices, best_temperature, calibration_error, softmax

Progress = Callable[[str, int, int], None]
"""Called with (step, done, total)."""

THRESHOLDS = (0.0, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)


class ClassReport(Struct, frozen=True):
    """The rows of one label, and the precision and recall of the classifier for it."""

    label: str
    rows: int
    precision: float
    recall: float
    f1: float
    mistaken_for: str | None  # the most frequent wrong label of its rows


class ThresholdReport(Struct, frozen=True):
    """The share of tickets at or above a confidence threshold, and the accuracy on them."""

    threshold: float
    automatic: float
    accuracy: float | None  # None if no ticket reaches the threshold


class TriageReport(Struct, frozen=True):
    """All measurements; for the calibration error see `tasks/triage/confidence`."""

    rows: int
    accuracy: float
    macro_f1: float
    calibration_error: float
    temperature: float
    best_temperature: float  # the best one for these rows
    thresholds: list[ThresholdReport]
    classes: list[ClassReport]


def embed_with(
    texts: list[str], tokenizer: Tokenizes, session: Graph, progress: Progress, step: str
) -> Floats:
    """Embed the texts; reports the number of finished windows to ``progress``."""
    done = 0

    def advance(rows: int, total: int) -> None:
        nonlocal done
        done += rows
        progress(step, done, total)

    return embed(texts, tokenizer, session, advance)


def indices_of(labels: Sequence[str], known: Sequence[str]) -> Indices:
    """The index in ``known`` of each label. Raises UsageError for a label that is not in ``known``."""
    order = {label: i for i, label in enumerate(known)}
    if unknown := sorted(set(labels) - order.keys()):
        shown = ", ".join(unknown[:5]) + (", …" if len(unknown) > 5 else "")
        raise UsageError(f"The data has labels that the model was not fitted on: {shown}.")
    return np.array([order[label] for label in labels], np.intp)


class Scored(NamedTuple):
    """What a classifier makes of some texts: logits of shape (texts, labels), before the temperature."""

    labels: Sequence[str]
    scores: Floats
    temperature: float

    @property
    def confidences(self) -> Floats:
        return softmax(self.scores / np.float32(self.temperature))


def scored(classifier: Classifier, vectors: Floats) -> Scored:
    """The scores of unit vectors (texts, dimensions)."""
    return Scored(classifier.labels, classifier.scores(vectors), classifier.temperature)


def measure(made: Scored, truth: Indices) -> TriageReport:
    """Compare with the true labels, as indices (texts,). Raises UsageError without a row."""
    if not len(truth):
        raise UsageError("There is no ticket to measure on: give tickets with a text and a label.")
    confidences = made.confidences
    given = confidences.argmax(axis=1)
    classes = class_reports(made.labels, given, truth)
    return TriageReport(
        rows=len(truth),
        accuracy=float(np.mean(given == truth)),
        macro_f1=float(np.mean([one.f1 for one in classes if one.rows])),
        calibration_error=calibration_error(confidences, truth),
        temperature=made.temperature,
        best_temperature=best_temperature(made.scores, truth),
        thresholds=[_at(threshold, confidences.max(axis=1), given == truth) for threshold in THRESHOLDS],
        classes=classes,
    )


def class_reports(names: Sequence[str], given: Indices, truth: Indices) -> list[ClassReport]:
    """For each label how the ``given`` answers to its rows are; both are indices of ``names``."""
    return [_class_report(label, names, given, truth) for label in range(len(names))]


def _class_report(label: int, names: Sequence[str], given: Indices, truth: Indices) -> ClassReport:
    hits = int(np.sum((given == label) & (truth == label)))
    rows = int(np.sum(truth == label))
    answers = int(np.sum(given == label))
    mistakes = np.bincount(given[(truth == label) & (given != label)], minlength=len(names))
    return ClassReport(
        label=names[label],
        rows=rows,
        precision=hits / answers if answers else 0.0,
        recall=hits / rows if rows else 0.0,
        f1=2 * hits / (rows + answers) if rows + answers else 0.0,
        mistaken_for=names[int(mistakes.argmax())] if mistakes.any() else None,
    )


def _at(
    threshold: float, confidence: Floats, right: np.ndarray[tuple[int], np.dtype[np.bool_]]
) -> ThresholdReport:
    kept = confidence >= threshold
    return ThresholdReport(threshold, float(kept.mean()), float(right[kept].mean()) if kept.any() else None)
