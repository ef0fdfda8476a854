"""When the static tier answers: the confidence it needs, by the threshold for a human and the level of the tenant."""

import math
from bisect import bisect_right

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inferstream.pipeline.tasks.triage.cascade import (
    Cascade,
    CascadeMeasured,
    urgency_digest,
    whole_confidences,
)
from inferstream.pipeline.tasks.triage.promise import LEVELS
from inferstream.pipeline.tasks.triage.taxonomy import load_taxonomy

MEASURED = CascadeMeasured(
    human=0.5,
    rows=1_000,
    share=0.8,
    changed=0.008,
    changed_high=0.0099,
    foreign_rows=100,
    foreign_share=0.3,
    foreign_changed=0.01,
)


def a_cascade(humans: tuple[float, ...] = (0.5, 0.9), sure: tuple[float, ...] = (0.7, 0.8)) -> Cascade:
    return Cascade(0.01, "upper", humans, sure, 0.02, b"", MEASURED)


def test_the_next_higher_threshold_for_a_human_counts() -> None:
    """With a lower one, fewer answers of the encoder need a human, so fewer answers change."""
    cascade = a_cascade()
    assert [cascade.steps(human)[0] for human in (0.0, 0.5, 0.6, 0.85, 0.9)] == [0.7, 0.7, 0.8, 0.85, 0.9]
    assert cascade.steps(0.91) == [math.inf] * (LEVELS + 1), "nothing is known of it: the encoder answers all"


def test_each_level_halves_what_may_be_missing_to_certainty() -> None:
    steps = a_cascade().steps(0.5)
    assert steps[:3] == pytest.approx([0.7, 0.85, 0.925])
    assert steps[LEVELS] == math.inf
    assert len(steps) == LEVELS + 1


def test_too_few_rows_mean_that_the_encoder_answers_all() -> None:
    assert a_cascade(sure=(2.0, 2.0)).steps(0.5) == [math.inf] * (LEVELS + 1)


share = st.floats(0, 1)


@given(share, share, share, share)
def test_what_the_static_tier_answers_never_needs_a_human(
    first: float, second: float, human: float, confidence: float
) -> None:
    steps = a_cascade((0.5, 0.9), (first, second)).steps(human)
    assert steps == sorted(steps)
    if bisect_right(steps, confidence):
        assert confidence >= human
        assert confidence >= min(first, second)


def test_the_digest_of_urgent_phrases_has_their_words_and_margin() -> None:
    urgency = load_taxonomy().urgency
    assert urgency is not None
    assert urgency_digest(None) == b""
    assert urgency_digest(urgency) == urgency_digest(urgency) != b""
    changed = type(urgency)(urgency.urgent, urgency.calm, urgency.margin + 0.01)
    assert urgency_digest(changed) != urgency_digest(urgency)


def test_the_whole_answer_is_less_sure_where_the_text_may_be_urgent() -> None:
    """One standard deviation below the margin, the encoder finds 16 of 100 texts urgent."""
    ones = [1.0] * 3
    assert whole_confidences([0.9] * 3, ones, [-1.0, 0.04, 0.06], 0.06, 0.02) == [0.9, 0.7572, 0.45]
    assert whole_confidences([0.9], ones[:1], [0.061], 0.06, 0.02) == [0.0], (
        "the static tier finds it urgent itself"
    )
    assert whole_confidences([0.9], ones[:1], [5.0], math.inf, 0.0) == [0.9], "nothing is urgent"
    assert whole_confidences([0.9] * 2, ones[:2], [0.06, 0.07], 0.06, 0.0) == [0.9, 0.0]
    assert whole_confidences([0.9] * 2, [0.5, 0.0], [0.0, 0.0], math.inf, 0.0) == [0.45, 0.0], (
        "of another label"
    )
