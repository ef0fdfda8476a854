"""Fits a static tier to labeled tickets and to the encoder's classifier of them."""

from collections.abc import Callable
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import vstack

from ....runtime.graph import Graph
from ....runtime.tokenizer import Tokenizer
from ....tasks.pooling import embed
from ....tasks.triage.confidence import Floats, best_temperature
from ....tasks.triage.static_file import StaticArrays
from ....tasks.triage.static_tier import StaticTier
from ....tasks.triage.taxonomy import Taxonomy
from ...sample import load_sample
from ..fit import FitRows, Teacher
from ..report import Progress
from .export import Meaning, exported
from .meaning import GeneralTexts, fitted_meaning
from .network import Network
from .rows import bags_of, chosen_rows
from .token_vectors import first_table
from .training import TRAINING, TrainingSettings, targets_of, trained

WIDTH: Final = 96

Chosen = NDArray[np.intp]


class FittedStatic(NamedTuple):
    """A static tier, and what is known of it from the rows of the fit."""

    arrays: StaticArrays
    unseen: Floats  # (rows, labels): logits before the temperature, each by a tier that was not trained on the row
    folds: tuple[StaticTier, ...]  # those tiers, in the order of the teacher's folds


def fit_static(
    rows: FitRows,
    teacher: Teacher,
    tokenizer: Tokenizer,
    session: Graph,
    taxonomy: Taxonomy,
    progress: Progress,
    settings: TrainingSettings = TRAINING,
) -> FittedStatic:
    """Train a tier on all rows; and for its temperature, one for each of the teacher's folds on the other rows.

    ``taxonomy``: its urgent and calm phrases are among the texts whose meaning the tier learns.
    """
    texts = tokenizer.encode(rows.train.texts)
    of_table = chosen_rows(texts, tokenizer)
    first = first_table(of_table, WIDTH, tokenizer, session, _step(progress, "reading the vocabulary"))
    bags = bags_of(texts, of_table)
    general = _general_texts(taxonomy, tokenizer, session)
    general_bags = bags_of(tokenizer.encode(general.texts), of_table)
    targets = targets_of(rows.truth, teacher.unseen, teacher.temperature, settings)

    def meaning_of(network: Network, chosen: Chosen) -> Meaning:
        both = vstack([bags[chosen], general_bags]).tocsr()
        vectors = np.concatenate([teacher.vectors[chosen], general.vectors])
        return fitted_meaning(network, both, vectors, general.counts_beside(len(chosen)))

    def tier(chosen: Chosen, step: str, temperature: float = 1.0) -> StaticArrays:
        network = trained(first, bags[chosen], targets[chosen], _step(progress, step), settings)
        return exported(of_table, network, meaning_of(network, chosen), temperature)

    unseen = np.zeros_like(targets)
    everything = np.arange(len(texts))
    crossed: list[StaticArrays] = []
    count = len(teacher.folds)
    for number, (left, _) in enumerate(teacher.folds, 1):
        crossed.append(
            tier(np.setdiff1d(everything, left), f"cross-fitting the static tier, {number} of {count}")
        )
        unseen[left] = StaticTier(crossed[-1]).logits([texts[i] for i in left])
    temperature = best_temperature(unseen, rows.truth)
    folds = [StaticTier(arrays.at_temperature(temperature)) for arrays in crossed]
    return FittedStatic(tier(everything, "training the static tier", temperature), unseen, tuple(folds))


def _general_texts(taxonomy: Taxonomy, tokenizer: Tokenizer, session: Graph) -> GeneralTexts:
    sentences, _ = load_sample()
    phrases = [*taxonomy.urgency.urgent, *taxonomy.urgency.calm] if taxonomy.urgency else []
    texts = [*sentences, *phrases]
    return GeneralTexts(texts, embed(texts, tokenizer, session), len(sentences))


def _step(progress: Progress, step: str) -> Callable[[int, int], Any]:
    return lambda done, total: progress(step, done, total)
