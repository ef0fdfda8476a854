"""HTML of a mail as plain text. Quoted blocks become lines with "> ", as in plain mail."""

import re
from typing import Any, Final

from lxml import etree


def _names(words: str) -> frozenset[str]:
    return frozenset(words.split())


MARKUP: Final = re.compile(
    r"<!doctype html|<br\s{0,10}/?>"
    r"|<(?:html|body|div|p|table|blockquote)(?:\s[^<>]{0,1000})?>"
    r"|</(?:html|body|div|p|span|table|td|font|blockquote|a|b|i|strong|em|ul|li|h[1-6])\s{0,10}>",
    re.IGNORECASE,
)
LONG_TAG: Final = re.compile(r"<([A-Za-z][A-Za-z0-9]{0,20})[^<>]{2000,}")
"""The parser compares each attribute with all others of its tag, so tags have a bound; images in data: URLs go too."""
BLOCKS: Final = _names(
    "address article aside blockquote body center dd div dl dt fieldset footer form h1 h2 h3 "
    "h4 h5 h6 header hr li main nav ol p pre section table tbody td tfoot th thead tr ul"
)
SILENT: Final = _names("head script style title template noscript object svg math select textarea")
VOID: Final = _names("area base br col embed hr img input link meta source track wbr")
SIGNATURES: Final = re.compile(
    r"gmail_signature|moz-signature|ms-outlook-mobile-signature|x_signature", re.IGNORECASE
)
HIDDEN: Final = re.compile(r"display\s{0,4}:\s{0,4}none", re.IGNORECASE)
SPACES: Final = re.compile(r"[ \t\r\n\f\v\u00a0]+")


def is_html(text: str) -> bool:
    """Whether the text has a tag that only HTML has."""
    return MARKUP.search(text) is not None


def text_of_html(html: str) -> str:
    """The text that a reader sees, a line for each block. Linear: a parser of events, no tree."""
    html = LONG_TAG.sub(r"<\1", html).replace("\0", "")
    parser = etree.HTMLParser(target=_Text(), huge_tree=True, remove_comments=True)
    parser.feed(html)
    return str(parser.close())


class _Text:
    """Collects the text from the events of the parser."""

    def __init__(self) -> None:
        self._lines: list[str] = []
        self._line: list[str] = []
        self._quotes = 0
        self._silent = 0  # open elements since the first one that shows nothing

    def start(self, tag: str, attributes: dict[str, str]) -> None:
        if tag == "br":
            self._end_line()
            return
        if tag in VOID:
            return
        if self._silent or tag in SILENT or _hides(attributes):
            self._silent += 1
            return
        if tag in BLOCKS:
            self._end_line()
        if tag == "blockquote":
            self._quotes += 1

    def end(self, tag: str) -> None:
        if tag in VOID:
            return
        if self._silent:
            self._silent -= 1
            return
        if tag in BLOCKS:
            self._end_line()
        if tag == "blockquote":
            self._quotes = max(0, self._quotes - 1)

    def data(self, text: str) -> None:
        if not self._silent:
            self._line.append(text)

    def comment(self, text: str) -> None: ...

    def pi(self, target: str, data: str | None = None) -> None: ...

    def doctype(self, *_: Any) -> None: ...

    def close(self) -> str:
        self._end_line()
        return "\n".join(self._lines)

    def _end_line(self) -> None:
        line = SPACES.sub(" ", "".join(self._line)).strip()
        self._line = []
        if line:
            self._lines.append("> " + line if self._quotes else line)


def _hides(attributes: dict[str, str]) -> bool:
    return bool(
        SIGNATURES.search(attributes.get("class") or "")
        or SIGNATURES.search(attributes.get("id") or "")
        or HIDDEN.search(attributes.get("style") or "")
    )
