"""A value of a row as a text: a text or a label."""

import math
import unicodedata
from typing import Any, Final

INVISIBLE: Final = frozenset({"Cc", "Cf", "Zs", "Zl", "Zp"})
"""Unicode categories of characters that show nothing: controls, zero-width characters, spaces."""


class NoText(ValueError):
    """The value is no text; the message says what it is."""


def text_of(value: Any) -> str | None:
    """The value as a text without spaces around it; None if there is nothing: null, missing, blank.

    A number or a boolean is its JSON: 0 is "0", true is "true". Raises NoText for a list, an object, NaN, infinity
    or half of a surrogate pair.
    """
    match value:
        case None:
            return None
        case bool():
            text = "true" if value else "false"
        case float() if not math.isfinite(value):
            raise NoText(f"is {value}")
        case int() | float():
            text = str(value)
        case str():
            text = value.strip()
        case list():
            raise NoText("is a list")
        case _:
            raise NoText("is an object")
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise NoText("holds half of a surrogate pair") from error
    return None if is_blank(text) else text


def is_blank(text: str) -> bool:
    """Whether every character is a space, a control character or has no width."""
    return all(unicodedata.category(char) in INVISIBLE for char in text)
