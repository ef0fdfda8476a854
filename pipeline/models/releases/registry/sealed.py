"""Small JSON files that prove themselves whole: the format, the digest of the content, the content."""

import hashlib
from typing import Final, TypeVar

import msgspec
from msgspec import Struct

from ..faults import BadRelease

Content = TypeVar("Content", bound=Struct)
FORMAT: Final = 1
LIMIT: Final = 4_000_000
"""Bytes of such a file."""


class _Sealed(Struct, frozen=True):
    format: int
    sha256: str  # of the content without spaces between its parts
    content: msgspec.Raw


def seal(content: Struct) -> bytes:
    """The file, for people too."""
    raw = msgspec.json.encode(content)
    sealed = _Sealed(FORMAT, hashlib.sha256(raw).hexdigest(), msgspec.Raw(raw))
    return msgspec.json.format(msgspec.json.encode(sealed), indent=2)


def unseal(file: bytes, kind: type[Content], what: str) -> Content:
    """The content. Raises BadRelease that says what is wrong with ``what``."""
    try:
        sealed = msgspec.json.decode(file, type=_Sealed)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise BadRelease(f"{what} is damaged ({error}).") from error
    if sealed.format != FORMAT:
        raise BadRelease(
            f"{what} has the format {sealed.format}, and this inferstream reads {FORMAT}: install a newer one."
        )
    try:
        raw = msgspec.json.format(bytes(sealed.content), indent=-1)
        if hashlib.sha256(raw).hexdigest() != sealed.sha256:
            raise BadRelease(f"{what} is damaged: its content has not the digest that it names.")
        return msgspec.json.decode(raw, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise BadRelease(f"{what} is damaged, or of a newer inferstream ({error}).") from error
