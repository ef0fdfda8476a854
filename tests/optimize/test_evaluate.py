"""Cosine and label agreement of two sets of embeddings."""

import numpy as np
import pytest

from inferstream.pipeline.optimize.evaluate import agreement, load_sample

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
