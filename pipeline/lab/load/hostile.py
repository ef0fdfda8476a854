"""Requests of strangers that cost far more than others of their size, and that a topic takes all the same."""

from functools import cache
from typing import Final

from ....schemas.topics import Header
from ...broker.base import Headers

KINDS: Final = ("giant", "marks", "headers")
STRANGER: Final = (Header.TENANT, b"stranger")
"""They are of a tenant of their own, and so are their keys."""

BYTES: Final = 990_000
"""Of a text: with the rest of the body below `max_request_bytes`."""

ACCEPTED_BYTES: Final = 240_000
"""Of a text with fewer tokens than `max_request_tokens`."""

HEADERS: Final = 100_000
SENTENCE: Final = "my parcel never came and nobody answers, please refund it "


def hostile_text(kind: str, number: int) -> str:
    """A megabyte of words, of punctuation (a token for each character), or of combining marks.

    Every third giant is a quarter of that, and runs.
    """
    if kind == "headers":
        return SENTENCE
    if kind == "marks":
        return repeated("\u0301\u0316", BYTES)
    giants = (("!?", BYTES), (SENTENCE, BYTES), (SENTENCE, ACCEPTED_BYTES))
    return repeated(*giants[number % 3])


def hostile_headers(kind: str) -> Headers:
    return (STRANGER, *many_headers()) if kind == "headers" else (STRANGER,)


@cache
def repeated(text: str, size: int) -> str:
    """``text`` as often as ``size`` bytes of UTF-8 take it."""
    return text * (size // len(text.encode()))


@cache
def many_headers() -> Headers:
    return tuple((f"{number:x}", b"") for number in range(HEADERS))
