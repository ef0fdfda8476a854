"""The characters of WebVTT that are written as names: a model reads the character, the file keeps the name."""

import re
from typing import Final

NAMES: Final = {"&amp;": "&", "&nbsp;": "\u00a0"}
NAME: Final = re.compile("|".join(NAMES))
AMPERSAND: Final = re.compile(r"&(?!(?:lt|gt|lrm|rlm);)")


def unescaped(text: str) -> str:
    """``text`` with its characters; &lt; and &gt; stay, since tags are written with these characters."""
    return NAME.sub(lambda found: NAMES[found[0]], text)


def escaped(text: str) -> str:
    return AMPERSAND.sub("&amp;", text)
