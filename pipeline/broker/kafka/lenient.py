"""Parses a batch whose headers have names that are not UTF-8: aiokafka drops a whole fetch for one."""

import struct
from collections.abc import Iterator
from typing import Any, Final, NamedTuple

from aiokafka.record.util import decode_varint

from ..base import Unread

COUNT: Final = struct.Struct(">i")
RECORDS_AT: Final = 61
"""The first record of a batch of version 2, behind the fields of the batch."""
LOG_APPEND_TIME: Final = 0b1000


class WireRecord(NamedTuple):
    """A record with the attributes of aiokafka's. ``checksum`` carries `Unread` to the consumer."""

    offset: int
    timestamp: int
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes | None], ...]
    checksum: Unread | None = None
    timestamp_type: int = 0


class LenientRecords:
    """Parses a batch that is not compressed; names of headers need not be UTF-8."""

    def __init__(self, content: bytes, batch: Any) -> None:
        self._content = content
        self._batch = batch
        self._position = RECORDS_AT

    def after(self, count: int) -> Iterator[WireRecord]:
        """The records behind the first ``count``. Raises ValueError, IndexError or OverflowError."""
        (records,) = COUNT.unpack_from(self._content, RECORDS_AT - 4)
        for number in range(records):
            length = self._number()
            end = self._position + length
            if not 0 < length <= len(self._content) - self._position:
                raise ValueError("a record has a wrong length")
            if number >= count:
                yield self._record()
            self._position = end

    def _record(self) -> WireRecord:
        self._number()  # attributes, which are not used
        since_first = self._number()
        offset = self._batch.base_offset + self._number()
        key = self._bytes()
        value = self._bytes()
        headers = [self._header() for _ in range(self._number())]
        has_one_time = self._batch.attributes & LOG_APPEND_TIME
        timestamp = self._batch.max_timestamp if has_one_time else self._batch.first_timestamp + since_first
        return WireRecord(offset, timestamp, key, value, tuple(headers))

    def _header(self) -> tuple[str, bytes | None]:
        name = self._bytes() or b""
        # Not "replace": two names that differ must not become one.
        return name.decode(errors="backslashreplace"), self._bytes()

    def _bytes(self) -> bytes | None:
        length = self._number()
        if length < 0:
            return None
        start = self._position
        self._position = start + length
        if self._position > len(self._content):
            raise ValueError("a field is longer than its batch")
        return self._content[start : self._position]

    def _number(self) -> int:
        number: int
        number, self._position = decode_varint(self._content, self._position)
        return number
