"""Multinomial logistic regression on the vectors of an encoder; regularization and temperature by cross-validation."""

from itertools import product
from typing import Any, NamedTuple

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold
from threadpoolctl import threadpool_limits

from ...tasks.triage.classifier import Classifier
from ...tasks.triage.confidence import Floats, Indices, best_temperature, negative_log_likelihood
from .report import Progress

FOLDS = 3
INVERSE_REGULARIZATIONS = (3.0, 10.0, 30.0)
MAX_ITERATIONS = 5_000
SEED = 0


class FoldClassifier(NamedTuple):
    """A classifier that was not fitted on some of the rows."""

    left: Indices  # these rows
    classifier: Classifier


class CrossFitted(NamedTuple):
    """A classifier, and what is known of it from the rows of the fit."""

    classifier: Classifier
    folds: tuple[FoldClassifier, ...]
    unseen: (
        Floats  # (rows, labels): logits before the temperature, each by one that was not fitted on the row
    )
    strength: float  # the inverse regularization that was chosen


def cross_fitted(vectors: Floats, truth: Indices, labels: tuple[str, ...], progress: Progress) -> CrossFitted:
    """A regression on unit vectors with the true labels, as indices of ``labels``; converged."""
    with threadpool_limits(
        1
    ):  # the scores too: with two threads their last bits are others, and so is what learns them
        strength, temperature, unseen, folds = _choose(vectors, truth, progress)
        fitted = _fitted(vectors, truth, strength)

    def classifier(model: Any) -> Classifier:
        return Classifier(labels, *_coefficients(model), temperature, b"")

    return CrossFitted(
        classifier(fitted),
        tuple(FoldClassifier(left, classifier(model)) for left, model in folds),
        unseen,
        strength,
    )


def fitted_alike(
    vectors: Floats, truth: Indices, labels: tuple[str, ...], strength: float, temperature: float
) -> Classifier:
    """A regression on other vectors of the same rows; regularization and temperature were chosen by `cross_fitted`."""
    return Classifier(labels, *_coefficients(_fitted(vectors, truth, strength)), temperature, b"")


def fitted_classifier(
    vectors: Floats, truth: Indices, labels: tuple[str, ...], progress: Progress
) -> Classifier:
    """The classifier of `cross_fitted`."""
    return cross_fitted(vectors, truth, labels, progress).classifier


class _Chosen(NamedTuple):
    strength: float
    temperature: float
    unseen: Floats
    folds: list[tuple[Indices, Any]]


def _choose(vectors: Floats, truth: Indices, progress: Progress) -> _Chosen:
    """The inverse regularization with the lowest loss on unseen rows, its temperature, its logits of these rows, and
    the models that gave them.
    """
    folds = list(StratifiedKFold(FOLDS, shuffle=True, random_state=SEED).split(vectors, truth))
    steps = product(INVERSE_REGULARIZATIONS, folds)
    total = len(INVERSE_REGULARIZATIONS) * FOLDS
    unseen = {
        strength: np.zeros((len(truth), truth.max() + 1), np.float32) for strength in INVERSE_REGULARIZATIONS
    }
    models: dict[float, list[tuple[Indices, Any]]] = {strength: [] for strength in INVERSE_REGULARIZATIONS}
    for done, (strength, (fitted, left)) in enumerate(steps):
        progress("cross-validating", done, total)
        model = _fitted(vectors[fitted], truth[fitted], strength)
        unseen[strength][left] = _two_columns(model.decision_function(vectors[left]))
        models[strength].append((left, model))
    progress("cross-validating", total, total)
    found = []
    for strength, logits in unseen.items():
        temperature = best_temperature(logits, truth)
        loss = negative_log_likelihood((logits / np.float32(temperature)).astype(np.float32), truth)
        found.append((loss, strength, temperature))
    _, strength, temperature = min(found)
    return _Chosen(strength, temperature, unseen[strength], models[strength])


def _fitted(vectors: Floats, truth: Indices, strength: float) -> Any:
    """In one thread: its products are small, and two threads that wait for each other take ten times as long."""
    with threadpool_limits(1):
        return LogisticRegression(C=strength, max_iter=MAX_ITERATIONS).fit(vectors, truth)


def _coefficients(model: Any) -> tuple[Floats, Floats]:
    """Weights of shape (dimensions, labels), and biases."""
    weights = _two_columns(model.coef_[0] if len(model.classes_) == 2 else model.coef_.T)
    bias = _two_columns(model.intercept_)[0] if len(model.classes_) == 2 else model.intercept_
    return weights.astype(np.float32), bias.astype(np.float32)


def _two_columns(scores: Any) -> Floats:
    """For two labels scikit-learn gives one score, that of the second label; the score of the first is 0."""
    array = np.asarray(scores, np.float32)
    return np.column_stack([np.zeros_like(array), array]) if array.ndim == 1 else array
