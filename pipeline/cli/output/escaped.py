"""Text of others for a terminal."""

import unicodedata
from typing import Final

KEPT: Final = "\n\t"
"""Control characters that are shown as they are."""


def escaped(text: str) -> str:
    """``text`` with control characters escaped: a model, a file or a record must not send commands to the terminal."""
    if text.isprintable():
        return text
    return "".join(
        ascii(one)[1:-1] if unicodedata.category(one) == "Cc" and one not in KEPT else one for one in text
    )
