"""Options of a generate request: each that is wrong has its sentence."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

from inferstream.pipeline.errors import BadRequest, UnknownOption, WrongType
from inferstream.pipeline.tasks.generate.options import WANTED, generate_options
from inferstream.schemas.generation import GenerateOptions

WRONG = [
    ({"max_tokens": 0}, "'max_tokens' must be a whole number from 1 to 131072, not 0"),
    ({"max_tokens": 10**9}, "'max_tokens' must be a whole number from 1 to 131072, not 1000000000"),
    ({"max_tokens": 10**400}, "'max_tokens' must be a whole number from 1 to 131072, not 1000"),
    ({"max_tokens": "many"}, "'max_tokens' must be a whole number from 1 to 131072."),
    ({"max_tokens": True}, "'max_tokens' must be a whole number from 1 to 131072, not True"),
    ({"max_tokens": None}, "'max_tokens' must be"),
    ({"n": 0}, "'n' must be a whole number from 1 to 128, not 0"),
    ({"n": 129}, "'n' must be a whole number from 1 to 128, not 129"),
    ({"stop": ""}, "'stop' must be a list of at most 16 strings of 1 to 256 characters"),
    ({"stop": [""]}, "'stop' must be a list of at most 16 strings of 1 to 256 characters"),
    ({"stop": ["a"] * 17}, "'stop' must be a list of at most 16 strings of 1 to 256 characters"),
    ({"stop": ["a" * 257]}, "'stop' must be a list of at most 16 strings of 1 to 256 characters"),
    ({"temperature": -1}, "'temperature' must be a number from 0 to 100"),
    ({"top_p": 0}, "'top_p' must be a number above 0, at most 1"),
    ({"top_k": -1}, "'top_k' must be a whole number from 0 to 1000000"),
    ({"min_p": 1.1}, "'min_p' must be a number from 0 to 1"),
    ({"repetition_penalty": 0}, "'repetition_penalty' must be a number above 0"),
    ({"seed": -1}, "'seed' must be a whole number from 0 to 9223372036854775807"),
    ({"logprobs": 21}, "'logprobs' must be a whole number from 0 to 20, or null, not 21"),
    ({"json_schema": "{}"}, "'json_schema' must be an object that is a JSON Schema"),
    ({"regex": ""}, "'regex' must be a regular expression with at least one character"),
    ({"too_long": "cut"}, '\'too_long\' must be "refuse" or "window"'),
    ({"max_tokens": 5, "n": 0}, "'n' must be"),
]


@pytest.mark.parametrize(("given_options", "sentence"), WRONG)
def test_a_wrong_option_has_its_sentence(given_options: dict[str, Any], sentence: str) -> None:
    with pytest.raises(WrongType) as caught:
        generate_options("generate", given_options)
    assert f"The option {sentence}" in str(caught.value)
    assert len(str(caught.value)) < 200


def test_all_options_have_a_sentence() -> None:
    assert WANTED.keys() == {field.name for field in structs.fields(GenerateOptions)}


def test_options_that_exclude_each_other_and_unknown_ones() -> None:
    with pytest.raises(BadRequest, match="leave one of the options out"):
        generate_options("generate", {"json_schema": {}, "regex": "a"})
    with pytest.raises(UnknownOption, match="no option 'max_token'; its options are: json_schema, logprobs"):
        generate_options("generate", {"max_token": 1})


NUMBERS = st.one_of(st.integers(), st.floats(), st.booleans(), st.none())
VALUES = st.recursive(st.one_of(NUMBERS, st.text(max_size=3)), lambda inner: st.lists(inner, max_size=3))


@given(options=st.dictionaries(st.sampled_from(sorted(WANTED)), VALUES, max_size=4))
def test_any_values_are_taken_or_told(options: dict[str, Any]) -> None:
    try:
        checked = generate_options("generate", options)
    except BadRequest:
        return
    assert checked.max_tokens >= 1
    assert json.dumps(checked.stop)
