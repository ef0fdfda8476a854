"""A megabyte of the worst kind of each sort: prepared in time linear in its size, and answered or refused."""

import time

import pytest
from support.fake_translator import FakeTranslation

from inferstream.pipeline.errors import TooLarge
from inferstream.pipeline.runtime.translator import SourceRow
from inferstream.pipeline.tasks.base import Ask
from inferstream.schemas.messages import Request

SIZE = 1_000_000
LIMIT = 65_536
BOUND_S = 30.0
"""Each takes 3 s at most (measured); the library that splits took 49 s for a third of the sentences of han signs."""

UNITS = [
    "a",
    ".",
    "<",
    "<a",
    "{",
    "{{a",
    "`",
    "*",
    "*a",
    "_",
    "~",
    "&",
    "@",
    "/",
    "-",
    "\n",
    "a\n",
    "a b c\n",
    "a\r\n",
    "\u2028a",
    "\t a",
    "😀",
    "😀 ",
    "a\u0316",
    "\u0301\u0316",
    "汉",
    "汉。",
    "привет мир. ",
    "שלום. ",
    "\0",
    "\0 a",
    "a\u200d",
    "a. ",
    "“a. ",
    "1 ",
    "1,",
    "http://a.bc/d ",
    "www.",
    "<b>a</b> ",
    "<b>a</b>",
    "a{b}",
    "```py\n",
    "```\n",
    "`~`",
    " \t>",
    "1,234.5 ",
    "<!--",
    "&amp; ",
    "EZ-1 @a ",
    "ticket ",
]


def kinds() -> dict[str, str]:
    repeated = {repr(unit): unit * (SIZE // len(unit.encode())) for unit in UNITS}
    return {
        **repeated,
        "spaces before a word": f"{' ' * SIZE}a",
        "a fence of a megabyte": f"{'~' * SIZE}`",
        "a word of a megabyte": f"I am {'a' * SIZE}",
    }


KINDS = kinds()
WITH_PREFIX = {repr(unit) for unit in ("a. ", "<b>a</b> ", "汉。", "a b c\n", "😀 ")}


@pytest.mark.parametrize("kind", KINDS)
def test_the_worst_text_of_each_kind_is_prepared_in_linear_time(kind: str) -> None:
    task = FakeTranslation(terms={"ticket ticket ticket ticket nothing": "x", "ticket": "bilhete"}).task
    text = KINDS[kind]
    if text.isspace():
        text += "a"
    ask = Ask(task.read(Request(text=text)), task.options({"prefix": text if kind in WITH_PREFIX else ""}))
    began = time.thread_time()
    try:
        (made,) = task.prepare([ask], LIMIT)
    except TooLarge:
        made = []
    assert time.thread_time() - began < BOUND_S
    if not isinstance(made, bytes):
        assert sum(row.length for row in made) <= LIMIT
        assert all(
            len(row.tokens) <= 64 for row in made if isinstance(row, SourceRow)
        )  # the model takes no more
