"""Both tiers together: their log-probabilities, added, with a temperature of their own."""

from collections.abc import Sequence

import numpy as np

from ....tasks.triage.classifier import Classifier
from ....tasks.triage.confidence import Floats, Indices, best_temperature
from ....tasks.triage.static_tier import StaticTier
from .choosing import Texts
from .crossed import FoldTiers


def added(texts: Texts, static: StaticTier, classifier: Classifier) -> Floats:
    """The logits of both tiers, each divided by its temperature, added: of shape (texts, labels)."""
    of_encoder = classifier.scores(texts.vectors) / np.float32(classifier.temperature)
    together: Floats = static.logits(texts.windows) + of_encoder
    return together


def temperature_together(texts: Texts, truth: Indices, folds: Sequence[FoldTiers]) -> float:
    """The best one on the rows of the fit, each read by tiers that were not fitted on it."""
    logits = np.zeros((len(truth), len(folds[0].classifier.labels)), np.float32)
    for fold in folds:
        windows = [texts.windows[row] for row in fold.left.tolist()]
        of_fold = Texts(windows, texts.vectors[fold.left])
        logits[fold.left] = added(of_fold, fold.static, fold.classifier)
    return best_temperature(logits, truth)
