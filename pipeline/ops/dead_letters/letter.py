"""A dead letter as it is shown to an operator."""

from collections.abc import Collection
from typing import Any, NamedTuple

import msgspec
from msgspec import Struct

from ....schemas.topics import Header
from ...broker.base import Headers, Record
from ...errors import UsageError
from ..audit.facts import identity_of


class LetterPosition(NamedTuple):
    """Partition and offset of a letter. Commands identify a letter by them, as in 0/17."""

    partition: int
    offset: int

    def __str__(self) -> str:
        return f"{self.partition}/{self.offset}"


def parse_position(text: str) -> LetterPosition:
    """The position that `str` has written. Raises UsageError."""
    partition, _, offset = text.partition("/")
    if not (partition.isdecimal() and offset.isdecimal() and len(text) < 30):
        raise UsageError(
            f"{text!r} is not a dead letter: write partition/offset as `list` shows it, for example 0/17."
        )
    return LetterPosition(int(partition), int(offset))


class Letter(Struct, frozen=True):
    """One dead letter, without its body.

    ``attempts`` counts deliveries to a worker; ``history`` has those before the last. ``left_out``
    is the size of a body that was too large for the letter: retention allowing, it is at
    ``origin``. ``handled`` is "replayed", "purged" or None.
    """

    letter: str
    failed_at_ms: int
    code: str
    message: str
    id: str
    key: str | None
    tenant: str | None
    attempts: int
    worker: str | None
    version: str | None
    origin: str | None
    bytes: int
    left_out: int | None = None
    history: list[Any] = []
    handled: str | None = None


def letter_of(record: Record, handled: str | None = None) -> Letter:
    """The letter in a record. Accepts any headers."""
    headers = dict(record.headers)
    ours = _worker_headers(record.headers)

    def text(name: str) -> str | None:
        return headers[name].decode(errors="replace") if name in headers else None

    return Letter(
        letter=str(LetterPosition(record.partition, record.offset)),
        failed_at_ms=_number(headers.get(Header.FAILED_AT_MS)) or record.timestamp_ms,
        code=text(Header.ERROR_CODE) or "",
        message=text(Header.ERROR_MESSAGE) or "",
        id=identity_of(record),
        key=None if record.key is None else record.key.decode(errors="replace"),
        tenant=text(Header.TENANT),
        attempts=_number(headers.get(Header.ATTEMPT)) or 1,
        worker=text(Header.WORKER) if Header.WORKER in ours else None,
        version=text(Header.VERSION) if Header.VERSION in ours else None,
        origin=text(Header.ORIGIN),
        bytes=len(record.value or b""),
        left_out=_number(headers[Header.LEFT_OUT]) if Header.LEFT_OUT in ours else None,
        history=_history(headers.get(Header.HISTORY)),
        handled=handled,
    )


class Selection(NamedTuple):
    """Conditions that must all hold. A field that is None or empty is no condition."""

    codes: Collection[str] = ()
    since_ms: int | None = None
    until_ms: int | None = None
    key: str | None = None
    tenant: str | None = None
    id: str | None = None
    positions: Collection[LetterPosition] = ()

    def takes(self, record: Record, letter: Letter) -> bool:
        return (
            (not self.codes or letter.code in self.codes)
            and (self.since_ms is None or letter.failed_at_ms >= self.since_ms)
            and (self.until_ms is None or letter.failed_at_ms < self.until_ms)
            and (self.key is None or record.key == self.key.encode())
            and (self.tenant is None or letter.tenant == self.tenant)
            and (self.id is None or letter.id == self.id)
            and (not self.positions or (record.partition, record.offset) in self.positions)
        )


def _worker_headers(headers: Headers) -> frozenset[str]:
    """The names from the last error code on: earlier ones may come from the request itself."""
    names = [name for name, _ in headers]
    if Header.ERROR_CODE not in names:
        return frozenset()
    return frozenset(names[-names[::-1].index(Header.ERROR_CODE) - 1 :])


def _number(value: bytes | None) -> int:
    return int(value) if value and value.isdigit() and len(value) < 16 else 0


def _history(value: bytes | None) -> list[Any]:
    try:
        return msgspec.json.decode(value or b"[]", type=list[Any])
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError):
        return []
