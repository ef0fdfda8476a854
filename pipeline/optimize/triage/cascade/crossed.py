"""The answers of both tiers to texts that neither was fitted on: each fold's tiers judge the rows left to them."""

from collections import defaultdict
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from ....runtime.graph import Graph
from ....tasks.pooling import Tokenizes, embed
from ....tasks.triage.classifier import Classifier
from ....tasks.triage.confidence import Floats, Indices
from ....tasks.triage.static_tier import StaticTier
from .choosing import Pairs, Texts
from .foreign import mangled, mangled_rows, other_subjects


class FoldTiers(NamedTuple):
    """Both tiers, fitted on all rows but those that are left."""

    left: Indices
    static: StaticTier
    classifier: Classifier


class CrossedPairs(NamedTuple):
    """What the tiers of all folds make of texts they have not seen."""

    tickets: Pairs
    foreign: Pairs  # texts of other subjects, and mangled tickets


def crossed_pairs(
    texts: Sequence[str],
    vectors: Floats,
    folds: Sequence[FoldTiers],
    axis: Floats,
    tokenizer: Tokenizes,
    session: Graph,
) -> CrossedPairs:
    """``vectors``: of the encoder for the texts of the fit; ``axis`` of urgency, zeros if there is none.

    A text that occurs in several folds is left out: each of them but one was fitted on it.
    """
    encoded = tokenizer.encode(texts)
    repeated = _in_several_folds(texts, folds)
    tickets = []
    for fold in folds:
        left = [row for row in fold.left.tolist() if row not in repeated]
        of_fold = Texts([encoded[row] for row in left], vectors[left])
        tickets.append(Pairs.of(of_fold, fold.static, fold.classifier, axis))
    foreign = [
        Pairs.of(
            Texts(tokenizer.encode(some), embed(some, tokenizer, session)),
            fold.static,
            fold.classifier,
            axis,
        )
        for fold, some in zip(folds, _foreign(texts, folds), strict=True)
        if some
    ]
    return CrossedPairs(Pairs.joined(tickets), Pairs.joined(foreign) if foreign else Pairs.none())


def _in_several_folds(texts: Sequence[str], folds: Sequence[FoldTiers]) -> set[int]:
    """The rows whose text another fold has as well."""
    found: dict[str, set[int]] = defaultdict(set)
    for number, fold in enumerate(folds):
        for row in fold.left.tolist():
            found[texts[row]].add(number)
    return {row for fold in folds for row in fold.left.tolist() if len(found[texts[row]]) > 1}


def _foreign(texts: Sequence[str], folds: Sequence[FoldTiers]) -> list[list[str]]:
    """For each fold its part of the sentences of other subjects, and mangled tickets of those that are left to it."""
    others = other_subjects(len(texts))
    made = [others[number :: len(folds)] for number in range(len(folds))]
    fold_of = {row: number for number, fold in enumerate(folds) for row in fold.left.tolist()}
    rows = mangled_rows(len(texts))
    of_folds: dict[int, list[int]] = defaultdict(list)
    for row in rows:
        of_folds[fold_of[row]].append(row)
    for number, of_fold in of_folds.items():
        neighbors = np.roll(of_fold, 1).tolist()  # of the same fold, so that its tiers have seen neither
        made[number] += [
            mangled(texts[row], texts[other], turn)
            for turn, (row, other) in enumerate(zip(of_fold, neighbors, strict=True))
        ]
    return made
