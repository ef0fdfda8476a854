"""The form of a text that decides its content key: texts that differ only in it share an answer."""

import re
import unicodedata
from typing import Final

MAX_MARKS: Final = 30
"""Combining marks in a row that are normalized: the limit of Unicode's stream-safe text (UAX #15)."""

MAX_CHARACTERS: Final = 65_536
"""Longer texts are not normalized: that takes up to 0.12 ms for 1 000 characters, on the event loop."""

ALWAYS_FAST: Final = 100
"""Characters that take less than 0.1 ms, even if all of them are marks."""

# No character below U+0300 is a combining mark: most texts need no second look.
MAYBE_MARKS: Final = re.compile(f"[^\x00-\u02ff]{{{MAX_MARKS + 1}}}")


def normal_form(text: str) -> str:
    """The text without spaces at its ends, in NFC; as it is if NFC could take long.

    Sorting a run of n combining marks takes n² steps and holds the interpreter: 33 s for 64 000
    marks. A text that stays as it is only shares no answer with its other forms.
    """
    text = text.strip()
    if text.isascii():
        return text
    if len(text) > ALWAYS_FAST and (len(text) > MAX_CHARACTERS or has_long_run_of_marks(text)):
        return text
    return unicodedata.normalize("NFC", text)


def has_long_run_of_marks(text: str) -> bool:
    """Whether more than `MAX_MARKS` combining marks follow each other. One pass over the text."""
    if MAYBE_MARKS.search(text) is None:
        return False
    run = 0
    for combining_class in map(unicodedata.combining, text):
        run = run + 1 if combining_class else 0
        if run > MAX_MARKS:
            return True
    return False
