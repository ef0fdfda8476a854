"""Tokens are drawn as Hugging Face transformers defines it: compared with plain formulas in double precision."""

import math
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from inferstream.pipeline.errors import DeviceError
from inferstream.pipeline.tasks.generate.draws import Draws
from inferstream.pipeline.tasks.generate.sampling import Sampling, best, drawn, least_kept, penalized

WORDS = 300


def probabilities(scores: np.ndarray, sampling: Sampling) -> dict[int, float]:
    """Of the tokens that may be drawn: the reference, one sort and one loop, as the documentation words it."""
    scaled = [float(score) / sampling.temperature for score in scores]
    order = sorted(range(len(scaled)), key=lambda token: -scaled[token])
    if sampling.top_k:
        order = order[: sampling.top_k]
    weights = {token: math.exp(scaled[token] - scaled[order[0]]) for token in order}
    total = sum(weights.values())
    kept: list[int] = []
    before = 0.0
    for token in order:
        if sampling.top_p < 1 and kept and before >= sampling.top_p:
            break
        kept.append(token)
        before += weights[token] / total
    kept = [token for token in kept if weights[token] >= sampling.min_p]
    total = sum(weights[token] for token in kept)
    return {token: weights[token] / total for token in kept}


@st.composite
def cases(draw: st.DrawFn) -> tuple[np.ndarray, Sampling]:
    seed = draw(st.integers(0, 2**32))
    scale = draw(st.sampled_from([0.01, 1.0, 4.0, 30.0]))
    words = draw(st.sampled_from([1, 2, 17, 256, WORDS, 1000]))
    # Different scores: which ones of equal tokens transformers keeps depends on its sort.
    scores = np.random.default_rng(seed).permutation(np.linspace(-scale, scale, words)).astype(np.float32)
    sampling = Sampling(
        draw(st.sampled_from([0.1, 0.7, 1.0, 2.0])),
        draw(st.sampled_from([0, 1, 2, 40, 299, 10**6])),
        draw(st.sampled_from([1e-9, 0.1, 0.5, 0.9, 0.999999, 1.0])),
        draw(st.sampled_from([0.0, 1e-6, 0.05, 0.5, 1.0])),
    )
    return scores, sampling


@given(cases())
def test_the_tokens_that_may_be_drawn_are_those_of_the_formulas(case: tuple[np.ndarray, Sampling]) -> None:
    scores, sampling = case
    logits = (scores - scores.max()) / np.float32(sampling.temperature)
    kept = set(np.flatnonzero(logits >= least_kept(logits, sampling)).tolist())
    expected = probabilities(scores, sampling)
    # At the edge a token may fall on either side by the last bits of a sum, and several that are less than those bits.
    edge = kept ^ expected.keys()
    weights = np.exp(logits.astype(np.float64))
    assert len(edge) <= 1 or weights[list(edge)].sum() < 1e-5 * weights.sum()
    assert not edge or logits[list(edge)].max() <= logits[list(kept & expected.keys())].min(initial=np.inf)


@given(cases(), st.lists(st.floats(0, 1, exclude_max=True), max_size=50))
def test_a_draw_hits_each_token_with_its_probability(
    case: tuple[np.ndarray, Sampling], draws: list[float]
) -> None:
    scores, sampling = case
    expected = probabilities(scores, sampling)
    edges = np.cumsum([expected.get(token, 0.0) for token in range(scores.size)])
    for draw in [*draws, 0.0, 1 - 2**-53]:
        token = drawn(scores, sampling, draw)
        end = edges[token]
        begin = edges[token - 1] if token else 0.0
        assert begin - 1e-4 <= draw <= end + 1e-4


def test_the_reference_is_that_of_transformers() -> None:
    """By hand: the probabilities are 8, 4, 2, 1 and 1 sixteenths."""
    scores = np.log(np.array([4, 1, 8, 2, 1]) / 16).astype(np.float32)
    assert probabilities(scores, Sampling(1.0, top_k=2)) == pytest.approx({2: 2 / 3, 0: 1 / 3})
    assert probabilities(scores, Sampling(1.0, top_p=0.7)) == pytest.approx({2: 2 / 3, 0: 1 / 3})
    assert probabilities(scores, Sampling(1.0, top_k=3, top_p=0.8)) == pytest.approx({2: 2 / 3, 0: 1 / 3})
    assert probabilities(scores, Sampling(1.0, min_p=0.2)) == pytest.approx({2: 4 / 7, 0: 2 / 7, 3: 1 / 7})
    assert probabilities(scores, Sampling(0.5, top_k=2)) == pytest.approx({2: 4 / 5, 0: 1 / 5})


@pytest.mark.parametrize("temperature", [5e-324, 1e-40, 1e-9, 1e-6])
def test_next_to_no_temperature_takes_the_best(temperature: float) -> None:
    scores = np.random.default_rng(0).standard_normal(49_152).astype(np.float32)
    assert {drawn(scores, Sampling(temperature), draw / 64) for draw in range(64)} == {int(scores.argmax())}


def test_a_high_temperature_gives_all_tokens_an_equal_chance() -> None:
    scores = np.array([0, 50, 3, -80], np.float32)
    counts = Counter(drawn(scores, Sampling(1e9), draw / 4000) for draw in range(4000))
    assert [counts[token] for token in range(4)] == pytest.approx([1000] * 4, abs=1)


@pytest.mark.parametrize("wrong", [math.nan, math.inf, -math.inf])
def test_scores_that_are_no_numbers_are_an_error(wrong: float) -> None:
    scores = np.full(10, wrong, np.float32)
    with pytest.raises(DeviceError, match="no numbers"):
        best(scores)
    with pytest.raises(DeviceError, match="no numbers"):
        drawn(scores, Sampling(1.0), 0.5)


def test_a_token_that_may_not_come_is_never_drawn() -> None:
    scores = np.full(1000, -np.inf, np.float32)
    scores[[3, 700]] = 1.0
    assert {drawn(scores, Sampling(1.0), draw) for draw in (0.0, 0.49, 0.51, 1 - 2**-53)} == {3, 700}


def test_of_equal_tokens_all_are_kept_or_none() -> None:
    scores = np.array([1, 2, 2, 2, 0], np.float32)
    for sampling in (Sampling(1.0, top_k=1), Sampling(1.0, top_p=0.1), Sampling(1.0, min_p=1.0)):
        assert {drawn(scores, sampling, draw) for draw in (0.0, 0.4, 0.99)} == {1, 2, 3}


@given(st.integers(0, 2**32), st.sampled_from([0.5, 1.0, 1.3, 2.0]))
def test_a_penalty_divides_positive_and_multiplies_negative_scores(seed: int, penalty: float) -> None:
    random = np.random.default_rng(seed)
    scores = random.standard_normal(50).astype(np.float32)
    before = scores.copy()
    seen = np.unique(random.integers(0, 50, 20))
    result = penalized(scores, seen, penalty)
    assert np.array_equal(scores, before)
    for token in range(50):
        expected = scores[token]
        if token in seen:
            expected = expected * np.float32(penalty) if expected < 0 else expected / np.float32(penalty)
        assert result[token] == expected


def test_draws_are_equally_spread() -> None:
    draws = Draws(1, 0)
    numbers = np.array([draws.at(position) for position in range(20_000)])
    assert numbers.min() >= 0
    assert numbers.max() < 1
    counts, _ = np.histogram(numbers, 20, (0, 1))
    assert ((counts - 1000) ** 2 / 1000).sum() < 50  # chi squared, 19 degrees of freedom: p is 1.3e-4
    assert abs(np.corrcoef(numbers[:-1], numbers[1:])[0, 1]) < 0.03


SEEDS = st.one_of(st.integers(), st.text(st.characters(codec=None)))


@settings(max_examples=50)
@given(SEEDS, SEEDS, st.integers(0, 200), st.integers(0, 200), st.integers(0, 10**6))
def test_a_number_depends_on_seed_choice_and_position_alone(
    seed: int | str, other: int | str, choice: int, neighbor: int, position: int
) -> None:
    draws = Draws(seed, choice)
    later = [draws.at(position + step) for step in (3, 1, 0)]
    assert later == [Draws(seed, choice).at(position + step) for step in (3, 1, 0)]
    assert len(set(later)) == 3
    if (seed, choice) != (other, neighbor):
        assert Draws(other, neighbor).at(position) != draws.at(position)


def test_the_numbers_are_the_same_for_ever() -> None:
    """A text with a seed is the same in the next version."""
    assert [Draws(7, 0).at(0), Draws(7, 1).at(0), Draws("7", 0).at(5)] == [
        0.3039417429361958,
        0.8721397697371985,
        0.6797476787806004,
    ]


@pytest.mark.parametrize("penalty", [5e-324, 1e-30, 1e-10, 100.0])
@pytest.mark.filterwarnings("error")
def test_no_penalty_makes_scores_that_are_no_numbers(penalty: float) -> None:
    """An infinity would be taken for a fault of the model, which a worker tries again alone and reports."""
    scores = np.array([5.0, 0.0, -5.0, 3e38, -3e38, 1.0], np.float32)
    changed = penalized(scores, np.arange(5), penalty)
    assert np.isfinite(changed).all()
    assert changed[5] == 1.0
    assert best(changed) in (0, 3)
    assert drawn(changed, Sampling(0.7, 3, 0.9, 0.1), 0.5) in (0, 3)


def test_scores_that_are_no_numbers_stay_so_under_a_penalty() -> None:
    with pytest.raises(DeviceError):
        best(penalized(np.array([np.inf, 1.0], np.float32), np.array([0]), 2.0))
