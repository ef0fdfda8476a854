"""Fits a triage model to labeled tickets: multinomial logistic regression on the vectors of an encoder."""

from collections import Counter
from itertools import product
from typing import Any, NamedTuple

import numpy as np
from msgspec import UNSET
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold, train_test_split

from ...errors import UsageError
from ...models.manifest import Manifest
from ...runtime.graph import Graph
from ...tasks.pooling import Tokenizes
from ...tasks.triage.classifier import Classifier
from ...tasks.triage.confidence import Floats, Indices, best_temperature, negative_log_likelihood
from ...tasks.triage.head import Head, HeadAccuracy
from ...tasks.triage.ticket_task import NONE
from .labeled import Labeled
from .report import Progress, TriageReport, embed_with, indices_of, measure, scored

MIN_ROWS = 5  # of each label, if a fifth is held out; otherwise FOLDS rows are enough
FOLDS = 3
INVERSE_REGULARIZATIONS = (3.0, 10.0, 30.0)
TEST_SHARE = 0.2
MAX_ITERATIONS = 5_000
SEED = 0


class Fitted(NamedTuple):
    """A head, and its report on tickets that it was not fitted on."""

    head: Head
    report: TriageReport
    repeated: int  # rows of ``test`` that are not measured, since their texts were fitted on


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
    if test is None:
        train, test = hold_out(train)
    _check(train, FOLDS)
    given = len(test.texts)
    test = test.without(train.texts)
    if not test.texts:
        raise UsageError(
            "All test tickets are among the tickets that the model is fitted on; give other tickets by --test."
        )
    labels = tuple(sorted(set(train.labels)))
    truth = indices_of(train.labels, labels)
    test_truth = indices_of(test.labels, labels)
    vectors = embed_with(train.texts, tokenizer, session, progress, "reading the tickets to fit on")
    test_vectors = embed_with(test.texts, tokenizer, session, progress, "reading the tickets to test on")
    classifier = fitted_classifier(vectors, truth, labels, progress)
    made = scored(classifier, test_vectors)
    before = measure(made._replace(temperature=1.0), test_truth).calibration_error
    report = measure(made, test_truth)
    measured = HeadAccuracy(
        len(train.texts), len(test.texts), report.accuracy, report.macro_f1, before, report.calibration_error
    )
    head = Head(
        base=manifest.name,
        encoder_digest=manifest.digest,
        labels=labels,
        dimensions=classifier.weights.shape[0],
        weights=classifier.weights.astype("<f4").tobytes(),
        bias=classifier.bias.astype("<f4").tobytes(),
        temperature=classifier.temperature,
        measured=measured,
        routes=train.routes,
        priorities=train.priorities,
        clean=UNSET if train.clean == NONE else train.clean,
    )
    return Fitted(head, report, given - len(test.texts))


def fitted_classifier(
    vectors: Floats, truth: Indices, labels: tuple[str, ...], progress: Progress
) -> Classifier:
    """A regression on unit vectors with the true labels, as indices of ``labels``; converged."""
    strength, temperature = _choose(vectors, truth, progress)
    weights, bias = _coefficients(_regression(strength).fit(vectors, truth))
    return Classifier(labels, weights, bias, temperature, b"")


def hold_out(data: Labeled) -> tuple[Labeled, Labeled]:
    """(rest, a fifth of the rows) with the same share of each label; texts in both are removed from the fifth."""
    _check(data, MIN_ROWS)
    rows = np.arange(len(data.texts))
    kept, held = train_test_split(rows, test_size=TEST_SHARE, stratify=data.labels, random_state=SEED)
    train = data.at(kept.tolist())
    return train, data.at(held.tolist()).without(train.texts)


def _check(data: Labeled, min_rows: int) -> None:
    counts = Counter(data.labels)
    if len(counts) < 2:
        raise UsageError("All rows have the same label; a model needs at least two.")
    label, rows = min(counts.items(), key=lambda item: item[1])
    if rows < min_rows:
        raise UsageError(
            f"The label {label!r} has {rows} row{'s' * (rows != 1)}; each label needs at least {min_rows}: "
            "add rows, or remove the label."
        )


def _choose(vectors: Floats, truth: Indices, progress: Progress) -> tuple[float, float]:
    """The inverse regularization with the lowest loss on unseen rows, and its temperature."""
    folds = list(StratifiedKFold(FOLDS, shuffle=True, random_state=SEED).split(vectors, truth))
    steps = product(INVERSE_REGULARIZATIONS, folds)
    total = len(INVERSE_REGULARIZATIONS) * FOLDS
    unseen = {
        strength: np.zeros((len(truth), truth.max() + 1), np.float32) for strength in INVERSE_REGULARIZATIONS
    }
    for done, (strength, (fitted, left)) in enumerate(steps):
        progress("cross-validating", done, total)
        model = _regression(strength).fit(vectors[fitted], truth[fitted])
        unseen[strength][left] = _two_columns(model.decision_function(vectors[left]))
    progress("cross-validating", total, total)
    found = []
    for strength, logits in unseen.items():
        temperature = best_temperature(logits, truth)
        loss = negative_log_likelihood((logits / np.float32(temperature)).astype(np.float32), truth)
        found.append((loss, strength, temperature))
    _, strength, temperature = min(found)
    return strength, temperature


def _regression(strength: float) -> Any:
    return LogisticRegression(C=strength, max_iter=MAX_ITERATIONS)


def _coefficients(model: Any) -> tuple[Floats, Floats]:
    """Weights of shape (dimensions, labels), and biases."""
    weights = _two_columns(model.coef_[0] if len(model.classes_) == 2 else model.coef_.T)
    bias = _two_columns(model.intercept_)[0] if len(model.classes_) == 2 else model.intercept_
    return weights.astype(np.float32), bias.astype(np.float32)


def _two_columns(scores: Any) -> Floats:
    """For two labels scikit-learn gives one score, that of the second label; the score of the first is 0."""
    array = np.asarray(scores, np.float32)
    return np.column_stack([np.zeros_like(array), array]) if array.ndim == 1 else array
