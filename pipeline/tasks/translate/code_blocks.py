"""Finds blocks of code in a text, as ``` of Markdown marks them."""

import re
from collections.abc import Iterator
from typing import Final

FENCE: Final = re.compile(r"^[ \t>]*+(`{3,}+|~{3,}+)([^`\n]*+)$", re.MULTILINE)
"""Possessive, and only at the beginning of a line: the search takes linear time."""


def blocks(text: str) -> Iterator[tuple[str, bool]]:
    """The parts of ``text``, and whether each is a block of code with its fences. A block without an end is none."""
    at = 0
    opened: re.Match[str] | None = None
    for fence in FENCE.finditer(text):
        if opened is None:
            opened = fence
        elif fence[1].startswith(opened[1]) and not fence[2].strip():
            if opened.start() > at:
                yield text[at : opened.start()], False
            yield text[opened.start() : fence.end()], True
            at = fence.end()
            opened = None
    if at < len(text):
        yield text[at:], False
