"""Fits a static tier to labeled tickets and to the encoder's classifier of them."""

from collections.abc import Sequence
from typing import Final, NamedTuple

import numpy as np
from sklearn.model_selection import StratifiedKFold

from ....runtime.graph import Graph
from ....runtime.tokenizer import Tokenizer
from ....tasks.triage.confidence import Floats, Indices, best_temperature
from ....tasks.triage.static_file import StaticArrays
from ....tasks.triage.static_tier import StaticTier, Windows
from ..report import Progress
from .export import exported
from .meaning import fitted_meaning
from .rows import bags_of, chosen_rows
from .token_vectors import first_table
from .training import targets_of, trained

WIDTH: Final = 96
FOLDS: Final = 3
SEED: Final = 0


class Teacher(NamedTuple):
    """The encoder's classifier on the rows of the fit."""

    vectors: Floats  # (rows, dimensions), of the encoder
    unseen: Floats  # (rows, labels): logits, each by a classifier that was not fitted on the row
    temperature: float  # of these logits


class FittedStatic(NamedTuple):
    """A static tier, and what is known of it from the rows of the fit."""

    arrays: StaticArrays
    unseen: Floats  # (rows, labels): logits before the temperature, each by a tier that was not trained on the row


def fit_static(
    texts: Sequence[Windows],
    truth: Indices,
    teacher: Teacher,
    tokenizer: Tokenizer,
    session: Graph,
    progress: Progress,
) -> FittedStatic:
    """Train a tier on all rows; and for its temperature, one for each of three folds on the other two.

    ``texts``: the token ids of the rows; ``truth``: their labels, as indices. At least `FOLDS` rows of each label.
    """
    rows = chosen_rows(texts, tokenizer)
    first = first_table(
        rows, WIDTH, tokenizer, session, lambda done, total: progress("reading the vocabulary", done, total)
    )
    bags = bags_of(texts, rows)
    targets = targets_of(truth, teacher.unseen, teacher.temperature)

    def tier(
        chosen: np.ndarray[tuple[int], np.dtype[np.intp]], step: str, temperature: float
    ) -> StaticArrays:
        network = trained(
            first, bags[chosen], targets[chosen], lambda done, total: progress(step, done, total)
        )
        meaning = fitted_meaning(network, bags[chosen], teacher.vectors[chosen])
        return exported(rows, network, meaning, temperature)

    unseen = np.zeros_like(targets)
    folds = StratifiedKFold(FOLDS, shuffle=True, random_state=SEED).split(np.empty(len(truth)), truth)
    for number, (others, left) in enumerate(folds, 1):
        made = tier(others, f"cross-fitting the static tier, {number} of {FOLDS}", 1.0)
        unseen[left] = StaticTier(made).logits([texts[i] for i in left])
    temperature = best_temperature(unseen, truth)
    everything = np.arange(len(truth))
    return FittedStatic(tier(everything, "training the static tier", temperature), unseen)
