"""The thresholds of a cascade: the whole answer counts, and so do foreign texts; with too few rows nothing is sure."""

import numpy as np
import pytest
from msgspec.structs import replace

from inferstream.pipeline.optimize.triage.cascade.choosing import Pairs, chosen_cascade
from inferstream.pipeline.tasks.triage.taxonomy import load_taxonomy

TAXONOMY = load_taxonomy()
CALM = replace(TAXONOMY, urgency=None)


def pairs(rows: int = 2_000, seed: int = 0, *, wrong: float = 0.0, sure: bool = False) -> Pairs:
    """Even confidences, high ones with ``sure``; an answer of the confidence c is another one with the chance (1 - c)².

    ``wrong``: the chance of all others. The encoder is sure of all, and nothing is urgent.
    """
    draw = np.random.default_rng(seed)
    confidence = np.round(draw.uniform(0.9 if sure else 0.0, 1, rows), 4)
    other = draw.random(rows) < np.maximum((1 - confidence) ** 2, wrong)
    return Pairs(
        confidence,
        np.ones(rows, np.float32),
        np.full(rows, -0.2, np.float32),
        ~other,
        np.full(rows, 0.99),
        np.full(rows, -0.2, np.float32),
    )


def test_the_limit_is_kept_and_used() -> None:
    cascade = chosen_cascade(pairs(), pairs(100, 1), CALM, 0.01)
    measured = cascade.measured
    assert measured.changed <= 0.01
    assert measured.changed_high <= 0.01
    assert measured.share > 0.2
    more = chosen_cascade(pairs(), pairs(100, 1), CALM, 0.01, "expected").measured
    assert more.share > measured.share


def test_foreign_texts_count() -> None:
    """Those of which the static tier is wrongly sure raise the threshold."""
    without = chosen_cascade(pairs(), pairs(200, 1), CALM, 0.01)
    with_wrong = chosen_cascade(pairs(), pairs(200, 1, wrong=0.9, sure=True), CALM, 0.01)
    assert with_wrong.sure[0] > without.sure[0]
    measured = with_wrong.measured
    assert measured.foreign_changed * measured.foreign_rows + measured.changed * measured.rows <= 0.01 * 2_200


def test_a_human_whom_only_the_encoder_asks_for_is_a_change() -> None:
    """The higher the threshold for a human, the more is asked of the static tier."""
    unsure = pairs()._replace(
        encoder_confidence=np.round(np.random.default_rng(2).uniform(0.45, 1, 2_000), 4)
    )
    cascade = chosen_cascade(unsure, pairs(100, 1), CALM, 0.05)
    assert list(cascade.sure) == sorted(cascade.sure)
    assert cascade.sure[0] < 1
    assert cascade.sure[-1] > cascade.sure[0]
    assert cascade.humans[0] == TAXONOMY.threshold


def test_the_static_tier_answers_where_it_expects_the_same_of_the_encoder() -> None:
    """What it expects tells more: the answers that change are then left to the encoder, and it may answer more."""
    plain = pairs()
    knowing = plain._replace(agreed=np.where(plain.same, np.float32(1), np.float32(0.2)))
    without = chosen_cascade(plain, pairs(100, 1), CALM, 0.01).measured
    found = chosen_cascade(knowing, pairs(100, 1), CALM, 0.01).measured
    assert found.share > without.share + 0.1
    assert found.changed_high <= 0.01


def test_urgency_that_only_the_encoder_sees_is_a_change() -> None:
    urgent = np.random.default_rng(3).random(2_000) < 0.2
    some = pairs()._replace(encoder_along=np.where(urgent, np.float32(0.2), np.float32(-0.2)))
    assert TAXONOMY.urgency is not None
    blind = chosen_cascade(some, pairs(100, 1), TAXONOMY, 0.01).measured
    seen = chosen_cascade(some._replace(along=some.encoder_along), pairs(100, 1), TAXONOMY, 0.01).measured
    assert blind.share < 0.1 < seen.share


def test_too_few_rows_answer_nothing() -> None:
    cascade = chosen_cascade(pairs(200), pairs(10, 1), CALM, 0.01)
    assert set(cascade.sure) == {2.0}
    assert cascade.measured.share == 0


@pytest.mark.parametrize("foreign", [0, 3])
def test_few_foreign_rows_or_none(foreign: int) -> None:
    cascade = chosen_cascade(pairs(), pairs(foreign, 1), CALM, 0.01)
    assert cascade.measured.foreign_rows == foreign
    assert cascade.measured.share > 0
