"""Normalized erasure and the lag of words, by the formulas and by hand."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inferstream.pipeline.client.captions.measures import Measures, StreamReport, Trace, word_lags

TEXTS = st.lists(st.lists(st.sampled_from("abc"), max_size=6).map(" ".join), min_size=1, max_size=8)


def erasure(captions: list[str]) -> int:
    """The sum of the formula, written as it stands in the paper."""
    total = 0
    for earlier, later in pairwise(captions):
        one, other = earlier.split(), later.split()
        prefix = 0
        while prefix < min(len(one), len(other)) and one[prefix] == other[prefix]:
            prefix += 1
        total += len(one) - prefix
    return total


@given(TEXTS)
def test_the_erasure_is_that_of_the_formula(captions: list[str]) -> None:
    trace = Trace()
    for now, text in enumerate(captions):
        trace.shown(text, now)
    assert trace.erased == erasure(captions)


@given(TEXTS)
def test_what_only_grows_erases_nothing(words: list[str]) -> None:
    trace = Trace()
    for count in range(len(words)):
        trace.shown(" ".join(words[:count]), count)
    assert trace.erased == 0


def test_erasure_and_lags_by_hand() -> None:
    trace = Trace()
    trace.sent("I was", 10.0)
    trace.sent("I was charged twice", 11.0)
    trace.shown("Eu fui", 10.5)
    trace.shown("Fui cobrado duas", 11.5)
    trace.shown("Fui cobrado duas vezes", 12.0)
    assert trace.erased == 2
    assert trace.lags("I was charged twice") == [1.5, 1.5, 0.5, 1.0]
    measures = Measures()
    measures.partials = 2
    measures.end(trace, "I was charged twice", failed=False)
    assert measures.report() == StreamReport(
        segments=1, partials=2, erasure=0.5, first_word_s=1.5, last_word_s=1.0, word_s=1.125
    )


def test_a_failed_segment_is_counted_and_not_measured() -> None:
    measures = Measures()
    measures.end(Trace(), "text", failed=True)
    assert measures.report() == StreamReport(segments=1, failed=1)


@given(
    st.lists(st.floats(0, 100), min_size=1, max_size=9).map(sorted),
    st.lists(st.floats(0, 100), min_size=1, max_size=9).map(sorted),
)
def test_the_first_and_the_last_word_belong_to_the_first_and_the_last_of_the_source(
    sent_at: list[float], settled_at: list[float]
) -> None:
    lags = word_lags(settled_at, sent_at)
    assert len(lags) == len(settled_at)
    assert lags[-1] == pytest.approx(settled_at[-1] - sent_at[-1])
    if len(settled_at) >= len(sent_at):
        assert lags[0] == pytest.approx(settled_at[0] - sent_at[0])
    assert word_lags([], sent_at) == []
    assert word_lags(settled_at, []) == []
