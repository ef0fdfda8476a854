"""Fits the head of an encoder to labeled tickets, and measures it on others."""

from collections import Counter
from typing import NamedTuple

import numpy as np
from msgspec import UNSET
from sklearn.model_selection import train_test_split

from ...errors import UsageError
from ...models.manifest import Manifest
from ...runtime.graph import Graph
from ...tasks.pooling import Tokenizes
from ...tasks.triage.confidence import Floats, Indices
from ...tasks.triage.head import Head, HeadAccuracy
from ...tasks.triage.ticket_task import NONE
from .labeled import Labeled
from .regression import FOLDS, FoldClassifier, cross_fitted
from .report import Progress, Scored, TriageReport, embed_with, indices_of, measure, scored

MIN_ROWS = 5  # of each label, if a fifth is held out; otherwise FOLDS rows are enough
TEST_SHARE = 0.2
SEED = 0


class FitRows(NamedTuple):
    """The rows that a model is fitted on and measured on, which share no text."""

    train: Labeled
    test: Labeled
    labels: tuple[str, ...]
    truth: Indices  # of ``train``, as indices of ``labels``
    test_truth: Indices
    repeated: int  # rows of the test that are not measured, since their texts are fitted on


class Teacher(NamedTuple):
    """The encoder's classifier on the rows of the fit."""

    vectors: Floats  # (rows, dimensions), of the encoder
    unseen: Floats  # (rows, labels): logits, each by a classifier that was not fitted on the row
    temperature: float  # of these logits
    folds: tuple[FoldClassifier, ...]  # these classifiers


class Fitted(NamedTuple):
    """A head, and its report on tickets that it was not fitted on."""

    head: Head
    report: TriageReport
    repeated: int  # rows of ``test`` that are not measured, since their texts were fitted on
    rows: FitRows
    teacher: Teacher
    strength: float  # the inverse regularization of the head


def fit(
    train: Labeled,
    test: Labeled | None,
    manifest: Manifest,
    tokenizer: Tokenizes,
    session: Graph,
    progress: Progress,
) -> Fitted:
    """Fit a head on ``train`` and measure it on ``test``; without ``test``, a fifth of the rows is
    held out.

    The regularization and the temperature are chosen by cross-validation within the rows of the
    fit, so the test rows do not influence them. ``progress`` is called with (step, done, total).
    Raises UsageError for too few rows.
    """
    rows = rows_to_fit(train, test)
    vectors = embed_with(rows.train.texts, tokenizer, session, progress, "reading the tickets to fit on")
    test_vectors = embed_with(rows.test.texts, tokenizer, session, progress, "reading the tickets to test on")
    classifier, folds, unseen, strength = cross_fitted(vectors, rows.truth, rows.labels, progress)
    made = scored(classifier, test_vectors)
    report = measure(made, rows.test_truth)
    head = Head(
        base=manifest.name,
        encoder_digest=manifest.digest,
        labels=rows.labels,
        dimensions=classifier.weights.shape[0],
        weights=classifier.weights.astype("<f4").tobytes(),
        bias=classifier.bias.astype("<f4").tobytes(),
        temperature=classifier.temperature,
        measured=accuracy_of(rows, made, report),
        routes=rows.train.routes,
        priorities=rows.train.priorities,
        clean=UNSET if rows.train.clean == NONE else rows.train.clean,
    )
    teacher = Teacher(vectors, unseen, classifier.temperature, folds)
    return Fitted(head, report, rows.repeated, rows, teacher, strength)


def rows_to_fit(train: Labeled, test: Labeled | None) -> FitRows:
    """Without ``test``, a fifth of the rows is held out. Raises UsageError for too few rows."""
    if test is None:
        train, test = hold_out(train)
    check_rows(train, FOLDS)
    given = len(test.texts)
    test = test.without(train.texts)
    if not test.texts:
        raise UsageError(
            "All test tickets are among the tickets that the model is fitted on; give other tickets by --test."
        )
    labels = tuple(sorted(set(train.labels)))
    truth = indices_of(train.labels, labels)
    return FitRows(train, test, labels, truth, indices_of(test.labels, labels), given - len(test.texts))


def accuracy_of(rows: FitRows, made: Scored, report: TriageReport) -> HeadAccuracy:
    """What a head keeps of a report of ``made`` on the test rows."""
    return HeadAccuracy(
        train_rows=len(rows.train.texts),
        test_rows=len(rows.test.texts),
        accuracy=report.accuracy,
        macro_f1=report.macro_f1,
        calibration_error_before=measure(made._replace(temperature=1.0), rows.test_truth).calibration_error,
        calibration_error=report.calibration_error,
    )


def hold_out(data: Labeled) -> tuple[Labeled, Labeled]:
    """(rest, a fifth of the rows) with the same share of each label; texts in both are removed from the fifth."""
    check_rows(data, MIN_ROWS)
    rows = np.arange(len(data.texts))
    kept, held = train_test_split(rows, test_size=TEST_SHARE, stratify=data.labels, random_state=SEED)
    train = data.at(kept.tolist())
    return train, data.at(held.tolist()).without(train.texts)


def check_rows(data: Labeled, min_rows: int) -> None:
    """Raise UsageError for fewer than two labels, and for one with fewer rows."""
    counts = Counter(data.labels)
    if len(counts) < 2:
        raise UsageError("All rows have the same label; a model needs at least two.")
    label, rows = min(counts.items(), key=lambda item: item[1])
    if rows < min_rows:
        raise UsageError(
            f"The label {label!r} has {rows} row{'s' * (rows != 1)}; each label needs at least {min_rows}: "
            "add rows, or remove the label."
        )
