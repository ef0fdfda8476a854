"""Checks the options of a generate request. Each that is wrong has its sentence."""

from collections.abc import Mapping
from typing import Any, Final

import msgspec

from ....schemas.generation import (
    MAX_CHOICES,
    MAX_GENERATED,
    MAX_STOP_CHARACTERS,
    MAX_STOPS,
    GenerateOptions,
)
from ...errors import BadRequest, WrongType
from ..options import checked_options

WANTED: Final = {
    "max_tokens": f"a whole number from 1 to {MAX_GENERATED}",
    "stop": f"a list of at most {MAX_STOPS} strings of 1 to {MAX_STOP_CHARACTERS} characters",
    "temperature": "a number from 0 to 100; 0 takes the most likely token",
    "top_p": "a number above 0, at most 1; 1 is all tokens",
    "top_k": "a whole number from 0 to 1000000; 0 is all tokens",
    "min_p": "a number from 0 to 1",
    "repetition_penalty": "a number above 0, at most 100; 1 changes nothing",
    "seed": "a whole number from 0 to 9223372036854775807, or null",
    "logprobs": "a whole number from 0 to 20, or null",
    "json_schema": "an object that is a JSON Schema, or null",
    "regex": "a regular expression with at least one character, or null",
    "n": f"a whole number from 1 to {MAX_CHOICES}",
    "too_long": '"refuse" or "window"',
}


def generate_options(task: str, given: Mapping[str, Any]) -> GenerateOptions:
    """The checked options. Raises UnknownOption, WrongType, or BadRequest for two that exclude each other."""
    try:
        options = checked_options(task, given, GenerateOptions)
    except WrongType:
        raise WrongType(_sentence(given)) from None
    if options.json_schema is not None and options.regex is not None:
        raise BadRequest("A text follows a `json_schema` or a `regex`: leave one of the options out.")
    return options


def _sentence(given: Mapping[str, Any]) -> str:
    """Of the first option that is wrong. What was given may be long, and private."""
    for name, value in given.items():
        try:
            msgspec.convert({name: value}, GenerateOptions)
        except msgspec.ValidationError:
            shown = f", not {value!r}" if isinstance(value, bool | int | float) else ""
            return f"The option {name!r} must be {WANTED[name]}{shown[:40]}."
    raise AssertionError("The options are right one by one, and wrong together.")
