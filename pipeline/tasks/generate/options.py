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
from ...errors import BadRequest, TooLarge, WrongType
from ..options import checked_options

MAX_SCHEMA: Final = 32_768
MAX_REGEX: Final = 4_096
"""Bytes and characters: each token of a text costs more with a longer one (decision 27)."""

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
    _check_grammar(options)
    return options


def _check_grammar(options: GenerateOptions) -> None:
    """Raises TooLarge or BadRequest. Here, on the event loop: before anything else is made of it."""
    if options.regex is not None and len(options.regex) > MAX_REGEX:
        raise TooLarge(
            f"The `regex` has {len(options.regex)} characters, and {MAX_REGEX} are allowed: send a simpler one."
        )
    if options.json_schema is not None:
        try:
            size = len(msgspec.json.encode(options.json_schema))
        except (RecursionError, UnicodeEncodeError):
            raise BadRequest(
                "The `json_schema` is too deep, or has no Unicode text: send another one."
            ) from None
        if size > MAX_SCHEMA:
            raise TooLarge(
                f"The `json_schema` has {size} bytes, and {MAX_SCHEMA} are allowed: send a simpler one."
            )


def _sentence(given: Mapping[str, Any]) -> str:
    """Of the first option that is wrong. What was given may be long, and private."""
    for name, value in given.items():
        try:
            msgspec.convert({name: value}, GenerateOptions)
        except msgspec.ValidationError:
            shown = f", not {value!r}" if isinstance(value, bool | int | float) else ""
            return f"The option {name!r} must be {WANTED[name]}{shown[:40]}."
    raise AssertionError("The options are right one by one, and wrong together.")
