"""Training a static tier: it learns, repeats itself, and what is exported says what the network says."""

import json
from itertools import pairwise

import numpy as np
import pytest
from sklearn.model_selection import StratifiedKFold
from support.tiny_model import VOCABULARY, tokenizer_settings

from inferstream.pipeline.optimize.triage.fit import FitRows, Teacher
from inferstream.pipeline.optimize.triage.labeled import Labeled
from inferstream.pipeline.optimize.triage.regression import FoldClassifier
from inferstream.pipeline.optimize.triage.static import rows as rows_module
from inferstream.pipeline.optimize.triage.static.adam import Adam
from inferstream.pipeline.optimize.triage.static.export import exported
from inferstream.pipeline.optimize.triage.static.fit import FittedStatic, fit_static
from inferstream.pipeline.optimize.triage.static.meaning import fitted_meaning
from inferstream.pipeline.optimize.triage.static.network import layers, scores
from inferstream.pipeline.optimize.triage.static.rows import Rows, bags_of, chosen_rows
from inferstream.pipeline.optimize.triage.static.token_vectors import FirstTable, first_table
from inferstream.pipeline.optimize.triage.static.training import (
    TRAINING,
    TrainingSettings,
    targets_of,
    trained,
)
from inferstream.pipeline.runtime.graph import Feeds
from inferstream.pipeline.runtime.tokenizer import Tokenizer
from inferstream.pipeline.tasks.pooling import embed
from inferstream.pipeline.tasks.triage.classifier import Classifier
from inferstream.pipeline.tasks.triage.static_tier import StaticTier
from inferstream.pipeline.tasks.triage.taxonomy import load_taxonomy

DIMENSIONS = 20
QUICK = TrainingSettings(hidden=64, min_steps=120, epochs=15)


class MeanOfTokens:
    """An encoder: the mean of random vectors of its tokens."""

    def __init__(self) -> None:
        self._table = np.random.default_rng(0).normal(0, 1, (len(VOCABULARY), DIMENSIONS)).astype(np.float32)

    def run(self, feeds: Feeds) -> list[np.ndarray]:
        mask = feeds["attention_mask"][:, :, None]
        means = (self._table[feeds["input_ids"]] * mask).sum(axis=1) / mask.sum(axis=1)
        return [(means / np.linalg.norm(means, axis=1, keepdims=True)).astype(np.float32)]


ENCODER = MeanOfTokens()


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Tokenizer:
    path = tmp_path_factory.mktemp("tokenizer") / "tokenizer.json"
    path.write_text(json.dumps(tokenizer_settings()))
    return Tokenizer(path, 48)


def some_rows(labels: int, each: int, seed: int = 0) -> FitRows:
    """Tickets whose label is the word that they have, or a pair of words where there are many labels."""
    draw = np.random.default_rng(seed)
    words = [
        f"{a} {b}"
        for a in ["card", "order", "refund", "login", "parcel", "money"]
        for b in "abcdefghijklmnopq"
    ]
    texts, names = [], []
    for label in range(labels):
        for _ in range(each):
            others = draw.choice(["the", "my", "is", "not", "late", "broken"], 3)
            texts.append(" ".join([*others[:2], words[label % len(words)], others[2]]))
            names.append(f"label {label:03}")
    known = tuple(sorted(set(names)))
    truth = np.array([known.index(name) for name in names])
    data = Labeled(texts, names, {}, {})
    return FitRows(data, data, known, truth, truth, 0)


def teacher_of(rows: FitRows, tokenizer: Tokenizer) -> Teacher:
    unseen = np.random.default_rng(1).normal(0, 0.3, (len(rows.truth), len(rows.labels))).astype(np.float32)
    unseen[np.arange(len(rows.truth)), rows.truth] += 4
    vectors = embed(rows.train.texts, tokenizer, ENCODER)
    size = (DIMENSIONS, len(rows.labels))
    classifier = Classifier(rows.labels, np.zeros(size, np.float32), np.zeros(size[1], np.float32), 1.0, b"")
    folds = StratifiedKFold(3, shuffle=True, random_state=0).split(vectors, rows.truth)
    return Teacher(vectors, unseen, 0.9, tuple(FoldClassifier(left, classifier) for _, left in folds))


def fitted(rows: FitRows, tokenizer: Tokenizer) -> FittedStatic:
    teacher = teacher_of(rows, tokenizer)
    return fit_static(rows, teacher, tokenizer, ENCODER, load_taxonomy(), lambda *_: None, QUICK)


@pytest.mark.parametrize(("labels", "each"), [(2, 5), (2, 40), (90, 3)])
def test_few_rows_two_labels_and_many_labels(labels: int, each: int, tokenizer: Tokenizer) -> None:
    rows = some_rows(labels, each)
    found = fitted(rows, tokenizer)
    tier = StaticTier(found.arrays)
    logits = tier.logits(tokenizer.encode(rows.train.texts))
    assert logits.shape == found.unseen.shape == (labels * each, labels)
    assert np.isfinite(found.unseen).all()
    assert (logits.argmax(axis=1) == rows.truth).mean() > 0.95
    assert (found.unseen.argmax(axis=1) == rows.truth).mean() > 0.7
    assert np.isfinite(tier.vectors(tokenizer.encode(["x", "", "card"]))).all()
    assert tier.dimensions == DIMENSIONS


def test_the_same_rows_give_the_same_bytes_and_report_each_step(tokenizer: Tokenizer) -> None:
    rows = some_rows(3, 6)
    steps: dict[str, list[tuple[int, int]]] = {}

    def note(step: str, done: int, total: int) -> None:
        steps.setdefault(step, []).append((done, total))

    teacher = teacher_of(rows, tokenizer)
    first, again = (
        fit_static(rows, teacher, tokenizer, ENCODER, load_taxonomy(), note, QUICK).arrays.encoded()
        for _ in range(2)
    )
    assert first == again
    assert list(steps) == [
        "reading the vocabulary",
        *(f"cross-fitting the static tier, {number} of 3" for number in (1, 2, 3)),
        "training the static tier",
    ]
    assert all(done[-1][0] == done[-1][1] for done in steps.values())


def test_each_row_is_judged_by_a_tier_that_has_not_seen_its_label(tokenizer: Tokenizer) -> None:
    """Labels by chance: a tier knows those of its own rows, and not those of others."""
    rows = some_rows(2, 30)
    draw = np.random.default_rng(3)
    texts = [" ".join(draw.choice(list("abcdefghijklmnopqrstuvwxyz"), 6)) for _ in rows.truth]
    by_chance = rows._replace(train=rows.train._replace(texts=texts), truth=draw.permutation(rows.truth))
    teacher = teacher_of(rows, tokenizer)._replace(unseen=np.zeros((60, 2), np.float32))
    found = fit_static(by_chance, teacher, tokenizer, ENCODER, load_taxonomy(), lambda *_: None, QUICK)
    own = StaticTier(found.arrays).logits(tokenizer.encode(texts))
    assert (own.argmax(axis=1) == by_chance.truth).mean() > 0.95
    assert (found.unseen.argmax(axis=1) == by_chance.truth).mean() < 0.75


def test_special_tokens_have_no_row_and_the_table_is_bounded(
    tokenizer: Tokenizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    texts = tokenizer.encode(["my parcel is late", "my parcel is broken", "zebra"])
    rows = chosen_rows(texts, tokenizer)
    special = {VOCABULARY.index(name) for name in ("[PAD]", "[UNK]", "[CLS]", "[SEP]")}
    assert special == tokenizer.special_ids
    assert set(rows.tokens.tolist()) == set(range(len(VOCABULARY))) - special
    expected = [tuple(VOCABULARY.index(word) for word in two) for two in
                (("[CLS]", "my"), ("my", "parcel"), ("parcel", "is"))]  # fmt: skip
    assert sorted(expected) == [tuple(pair) for pair in rows.pairs.tolist()]

    monkeypatch.setattr(rows_module, "MAX_ROWS", 20)
    few = chosen_rows(texts, tokenizer)
    assert few.total == 20
    seen = {token for (window,) in texts for token in window} - special
    assert seen <= set(few.tokens.tolist()), "the tokens of the texts come first"


def test_what_is_exported_says_what_the_network_says(tokenizer: Tokenizer) -> None:
    rows = some_rows(6, 10)
    texts = tokenizer.encode(rows.train.texts)
    table = chosen_rows(texts, tokenizer)
    bags = bags_of(texts, table)
    teacher = teacher_of(rows, tokenizer)
    first = first_table(table, 12, tokenizer, ENCODER, lambda *_: None)
    network = trained(first, bags, targets_of(rows.truth, teacher.unseen, 1.0), lambda *_: None, QUICK)
    meaning = fitted_meaning(network, bags, teacher.vectors, np.ones(len(texts), np.float32))
    tier = StaticTier(exported(table, network, meaning, 0.5))
    expected = scores(network, bags) / 0.5
    np.testing.assert_allclose(tier.logits(texts), expected, atol=0.03 * np.ptp(expected))
    cosines = (tier.vectors(texts) * teacher.vectors).sum(axis=1)
    assert cosines.mean() > 0.9


def test_bags_count_rows_as_the_tier_does(tokenizer: Tokenizer) -> None:
    texts = tokenizer.encode(["my my card card card", "the card is late " * 20, "zzz"])
    table = chosen_rows(texts, tokenizer)
    bags = bags_of(texts, table).toarray()
    for text, bag in zip(texts, bags, strict=True):
        for number, token in enumerate(table.tokens.tolist()):
            assert bag[number] == sum(list(window).count(token) for window in text)
        for number, pair in enumerate(table.pairs.tolist(), len(table.tokens)):
            assert bag[number] == sum(list(pairwise(window)).count(tuple(pair)) for window in text)


def test_a_frequent_token_weighs_less_and_pairs_begin_with_nothing(tokenizer: Tokenizer) -> None:
    texts = tokenizer.encode(["my parcel is late"] * 3)
    table = chosen_rows(texts, tokenizer)
    first = first_table(table, 8, tokenizer, ENCODER, lambda *_: None)
    weights = first.log_weights[: len(table.tokens), 0]
    assert (np.diff(weights) > 0).all()
    assert (first.rows[len(table.tokens) :] == 0).all()
    assert first.rows[: len(table.tokens)].std() == pytest.approx(0.5, rel=0.05)
    wide = first_table(table, 96, tokenizer, ENCODER, lambda *_: None)
    assert wide.rows.shape[1] == 96, "an encoder of fewer dimensions fills a part of the width"


def test_adam_moves_the_used_rows_alone() -> None:
    array = np.ones((6, 2), np.float32)
    whole = np.ones((2, 2), np.float32)
    used = np.array([1, 4])
    some, all_rows = Adam(array, 0.1), Adam(whole, 0.1)
    draw = np.random.default_rng(0)
    for _ in range(20):
        gradient = draw.normal(1, 1, (2, 2)).astype(np.float32)
        some.step(gradient, 1.0, used)
        all_rows.step(gradient, 1.0)
    np.testing.assert_array_equal(array[used], whole)
    assert (array[[0, 2, 3, 5]] == 1).all()
    assert (whole < 0.5).all()


def test_targets_are_labels_and_what_the_teacher_says() -> None:
    teacher = np.float32([[2, 0], [0, 0]])
    found = targets_of(np.array([1, 0]), teacher, 1.0)
    np.testing.assert_allclose(found.sum(axis=1), 1, rtol=1e-6)
    soft = np.exp([2 / TRAINING.teacher_softness, 0]) / np.exp([2 / TRAINING.teacher_softness, 0]).sum()
    np.testing.assert_allclose(found[0], [0.7 * soft[0], 0.7 * soft[1] + 0.3], rtol=1e-5)


def test_a_table_of_which_no_text_has_a_row_is_trained_too() -> None:
    """Texts in which every token is dropped or unknown."""
    first = FirstTable(np.zeros((3, 4), np.float32), np.zeros((3, 1), np.float32))
    bags = bags_of([[[9]], [[9]]], Rows(np.array([1, 2, 3], np.int32), np.empty((0, 2), np.int32)))
    network = trained(first, bags, np.float32([[1, 0], [1, 0]]), lambda *_: None, QUICK)
    assert np.isfinite(scores(network, bags)).all()
    assert layers(network, bags).active.shape == (2, QUICK.hidden)
