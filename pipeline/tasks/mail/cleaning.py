"""A mail as it comes, as the text that its sender wrote."""

from typing import Final

from .encodings import unpacked
from .html import is_html, text_of_html
from .quotes import without_quotes
from .signatures import without_signature

MAIL: Final = "mail"


def cleaned(text: str, kind: str) -> str:
    """The text, cleaned as ``kind`` says. Linear in its length.

    A mail that consists of quoted text alone, as one that is forwarded without a word, keeps it.
    """
    if kind != MAIL:
        return text
    text = unpacked(text)
    if is_html(text):
        text = text_of_html(text)
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    return without_signature(without_quotes(text)).strip()
