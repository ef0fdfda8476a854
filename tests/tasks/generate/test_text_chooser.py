"""The choice of a token is a function of scores, options and the tokens before, as often as it is asked for."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.byte_tokens import END, write_byte_tokens

from inferstream.pipeline.tasks.generate.draws import Draws
from inferstream.pipeline.tasks.generate.grammar import Grammars, GrammarState
from inferstream.pipeline.tasks.generate.text_chooser import TextChooser, needs_scores
from inferstream.schemas.generation import GenerateOptions

WORDS = 272


def scores_at(place: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng((seed, place)).standard_normal(WORDS).astype(np.float32)


def text_of(chooser: TextChooser, count: int, begin: Sequence[int] = (), seed: int = 0) -> list[int]:
    generated = list(begin)
    while len(generated) < count:
        generated.append(chooser.choose(scores_at(len(generated), seed), generated))
    return generated


OPTIONS = st.fixed_dictionaries(
    {
        "temperature": st.sampled_from([0.0, 0.5, 1.5]),
        "top_k": st.sampled_from([0, 3, 50]),
        "top_p": st.sampled_from([0.3, 0.9, 1.0]),
        "min_p": st.sampled_from([0.0, 0.1]),
        "repetition_penalty": st.sampled_from([1.0, 1.3, 2.0]),
        "logprobs": st.sampled_from([None, 0, 3]),
    }
)


@settings(max_examples=60)
@given(OPTIONS, st.integers(0, 10), st.integers(0, 20))
def test_a_resumed_text_goes_on_as_it_would_have(given_: dict[str, Any], seed: int, cut: int) -> None:
    options = GenerateOptions(**given_)
    prompt = [5, 6, 7]
    whole = TextChooser(options, prompt, Draws(seed, 0))
    text = text_of(whole, 20)
    resumed = TextChooser(options, prompt, Draws(seed, 0))
    assert text_of(resumed, 20, text[:cut]) == text
    assert all(whole.logprobs[place] == found for place, found in resumed.logprobs.items())
    if options.logprobs is not None:
        assert sorted(resumed.logprobs) == list(range(cut, 20))


@given(OPTIONS, st.integers(0, 10))
def test_a_step_that_failed_is_chosen_again(given_: dict[str, Any], seed: int) -> None:
    once = TextChooser(GenerateOptions(**given_), [1], Draws(seed, 0))
    twice = TextChooser(GenerateOptions(**given_), [1], Draws(seed, 0))
    generated: list[int] = []
    for place in range(10):
        scores = scores_at(place)
        before = scores.tobytes()
        token = once.choose(scores, generated)
        assert [twice.choose(scores, generated) for _ in range(2)] == [token, token]
        assert scores.tobytes() == before
        generated.append(token)


def test_other_seeds_and_choices_are_other_texts() -> None:
    options = GenerateOptions(temperature=1.0)
    texts = {
        tuple(text_of(TextChooser(options, [1], Draws(seed, choice)), 20))
        for seed in range(5)
        for choice in range(5)
    }
    assert len(texts) == 25


def test_a_penalty_counts_prompt_and_text() -> None:
    options = GenerateOptions(repetition_penalty=2.0)
    scores = np.zeros(WORDS, np.float32)
    scores[:4] = [10, 9, 6, 1]
    assert TextChooser(options, []).choose(scores, []) == 0
    assert TextChooser(options, [0]).choose(scores, []) == 1
    assert TextChooser(options, [0]).choose(scores, [1]) == 2
    assert TextChooser(options, [0, 0]).choose(scores, [1, 2]) == 0  # once, however often it was there


def test_logprobs_are_those_of_the_model_alone() -> None:
    scores = np.log(np.array([0.5, 0.25, 0.125, 0.125], np.float32))
    chooser = TextChooser(
        GenerateOptions(logprobs=2, repetition_penalty=100.0, temperature=1e-9), [0, 1], Draws(1, 0)
    )
    token = chooser.choose(scores, [])
    (found,) = chooser.logprobs.values()
    assert token in (2, 3)  # negative scores are multiplied: 0 and 1 have become the least likely ones
    assert found.logprob == pytest.approx(math.log(0.125), abs=1e-5)
    assert [(one.token, one.logprob) for one in found.top] == [
        (0, pytest.approx(math.log(0.5), abs=1e-5)),
        (1, pytest.approx(math.log(0.25), abs=1e-5)),
    ]


@given(st.integers(0, 1000), st.integers(0, 20), st.sampled_from([1, 5, 272]))
def test_the_most_likely_tokens_come_in_their_order(seed: int, count: int, words: int) -> None:
    scores = np.random.default_rng(seed).integers(-3, 3, words).astype(np.float32)
    chooser = TextChooser(GenerateOptions(logprobs=count), [])
    token = chooser.choose(scores, [])
    found = chooser.logprobs[0]
    plain = scores.astype(np.float64) - math.log(np.exp(scores.astype(np.float64)).sum())
    expected = sorted(range(words), key=lambda one: (-scores[one], one))[:count]
    assert [one.token for one in found.top] == expected
    assert [one.logprob for one in found.top] == pytest.approx([plain[one] for one in expected], abs=2e-5)
    assert found.logprob == pytest.approx(plain[token], abs=2e-5)


def test_a_grammar_comes_before_the_limits(tmp_path: Path) -> None:
    """Top-k is of the tokens that may come."""
    grammars = Grammars(write_byte_tokens(tmp_path / "tokenizer.json"), [END])
    options = GenerateOptions(regex="[ab]{3}", temperature=1.0, top_k=1, repetition_penalty=1.1, logprobs=1)
    grammar = grammars.of(options)
    grammars.close()
    assert grammar is not None
    for seed in range(5):
        chooser = TextChooser(options, [1], Draws(seed, 0), GrammarState(grammar))
        text: list[int] = []
        while END not in text:
            text.append(chooser.choose(scores_at(len(text), seed), text))
        allowed = GrammarState(grammar)
        for place, token in enumerate(text[:-1]):
            assert token in allowed.allowed(text[:place])
        assert text[-1] == END


def test_the_best_token_alone_needs_no_scores() -> None:
    assert not needs_scores(GenerateOptions(top_k=5, top_p=0.5, min_p=0.1, seed=3, n=2, stop=["a"]))
    for given_ in (
        {"temperature": 0.1},
        {"repetition_penalty": 1.1},
        {"logprobs": 0},
        {"regex": "a"},
        {"json_schema": {}},
    ):
        assert needs_scores(GenerateOptions(**given_))  # type: ignore[arg-type]


def test_each_place_has_its_own_draw() -> None:
    chooser = TextChooser(GenerateOptions(temperature=1.0), [1], Draws(3, 0))
    flat = np.zeros(WORDS, np.float32)
    drawn = [chooser.choose(flat, [0] * place) for place in range(50)]
    assert len(set(drawn)) > 35
    assert drawn == [int(Draws(3, 0).at(place) * WORDS) for place in range(50)]
