"""Cosine and label agreement of two sets of embeddings."""

from collections.abc import Sequence

import numpy as np
import pytest

from inferstream.pipeline.optimize.closeness.agreement import agreement, independence
from inferstream.pipeline.optimize.sample import load_sample
from inferstream.pipeline.runtime.graph import Feeds

ORIGINAL = np.array([[1, 0], [0.96, 0.28], [0, 1], [0.28, 0.96]], np.float32)
LABELS = ["left", "left", "up", "up"]


def test_equal_embeddings_agree() -> None:
    found = agreement(ORIGINAL, ORIGINAL, LABELS, "sample")
    assert (found.label, found.sentences, found.sample) == (1.0, 4, "sample")
    assert found.cosine_min == pytest.approx(1.0)


def test_one_changed_label_of_four_gives_an_agreement_of_three_quarters() -> None:
    variant = ORIGINAL.copy()
    variant[3] = [0.97, np.sqrt(1 - 0.97**2)]
    found = agreement(ORIGINAL, variant, LABELS, "sample")
    assert found.label == 0.75
    assert found.cosine_min == pytest.approx(0.28 * 0.97 + 0.96 * np.sqrt(1 - 0.97**2), abs=1e-5)


def test_the_sample_is_sentences_with_labels() -> None:
    texts, labels = load_sample()
    assert len(texts) == len(labels) == len(set(texts)) == 240
    assert len(set(labels)) == 12
    assert all(len(text.split()) >= 3 for text in texts)


class Words:
    """Gives a token for each word: its length."""

    pad_id = 0

    def encode(self, texts: Sequence[str], limit: int | None = None) -> list[list[list[int]]]:
        return [[[len(word) for word in text.split()]] for text in texts]


class Sociable:
    """A model whose vectors of a row turn by ``share`` of the other rows' mean."""

    def __init__(self, share: float) -> None:
        self._share = share
        self.runs: list[tuple[int, int]] = []

    def run(self, feeds: Feeds) -> list[np.ndarray]:
        ids = feeds["input_ids"]
        self.runs.append(ids.shape)
        own = np.stack([ids.max(axis=1), 9 - ids.max(axis=1)], axis=1).astype(np.float32)
        return [own + self._share * (own.mean(axis=0) - own)]


TEXTS = [*["a bb a", "a a", "bbbbbbbb", "bbbbbbb a a a"] * 3, "a bb a a a bbbb", "bbbbbbbb a a a a a a a"]
TEXT_LABELS = ["short", "short", "long", "long"] * 3


def test_rows_that_ignore_each_other_are_independent() -> None:
    model = Sociable(0)
    alone = np.array([model.run({"input_ids": np.array(windows)})[0][0] for windows in Words().encode(TEXTS)])
    alone /= np.linalg.norm(alone, axis=1, keepdims=True)
    found = independence(TEXTS, TEXT_LABELS, alone, Words(), model)
    assert (found.rows, found.labels_changed) == (14, 0)
    assert found.largest_difference < 1e-6
    assert any(rows > 1 and length > 4 for rows, length in model.runs), "short ones beside long ones"


def test_rows_that_influence_each_other_are_noticed() -> None:
    quiet = Sociable(0)
    alone = np.array([quiet.run({"input_ids": np.array(windows)})[0][0] for windows in Words().encode(TEXTS)])
    alone /= np.linalg.norm(alone, axis=1, keepdims=True)
    found = independence(TEXTS, TEXT_LABELS, alone, Words(), Sociable(0.9))
    assert found.labels_changed > 0
    assert found.largest_difference > 0.1
