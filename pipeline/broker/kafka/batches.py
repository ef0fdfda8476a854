"""Record batches as they came from the wire, read so that one of them cannot stop the reader.

aiokafka parses a batch; here it gets only batches that it can parse. What it would unpack without a
bound, or drop a whole fetch for, becomes one record that stands for the offsets it takes.
"""

import struct
from collections.abc import Iterator
from typing import Any, Final

from aiokafka.errors import KafkaError
from aiokafka.record.default_records import DefaultRecordBatch
from aiokafka.record.legacy_records import LegacyRecordBatch

from ..base import Unread
from .lenient import RECORDS_AT, LenientRecords, WireRecord
from .unpacking import TooManyBytes, unpack

LENGTH: Final = struct.Struct(">i")
LENGTH_AT: Final = 8
BODY_AT: Final = 12
MAGIC_AT: Final = 16
ATTRIBUTES: Final = struct.Struct(">h")
ATTRIBUTES_AT: Final = 21
CODEC: Final = 0b111
LEGACY_KEY_AT: Final = (18, 26)
"""The key of a message of version 0 and 1."""
LEGACY_BYTES: Final = 26
"""The shortest message of version 0."""
MAX_DAMAGED: Final = 1_000


class BatchLimits:
    """The limit of unpacked bytes, and which batches came damaged. One for each consumer."""

    def __init__(self, max_bytes: int) -> None:
        self.max_bytes = max_bytes
        self._damaged: dict[bytes, None] = {}

    def is_damaged_again(self, content: bytes) -> bool:
        """Whether this batch came with a wrong checksum before: then it is not the network's fault."""
        identity = content[:ATTRIBUTES_AT]  # with offset, length and checksum
        if identity in self._damaged:
            return True
        self._damaged[identity] = None
        if len(self._damaged) > MAX_DAMAGED:
            del self._damaged[next(iter(self._damaged))]
        return False


class Batches:
    """The batches of one partition in a response. In place of aiokafka's MemoryRecords."""

    def __init__(self, data: bytes, limits: BatchLimits) -> None:
        self._data = data
        self._limits = limits
        self._position = 0

    def size_in_bytes(self) -> int:
        return len(self._data)

    def has_next(self) -> bool:
        """Whether there is another whole batch: a response may end within one."""
        return self._end() <= len(self._data)

    def next_batch(self) -> Any:
        end = self._end()
        content = self._data[self._position : end]
        self._position = end
        if len(content) < LEGACY_BYTES or (content[MAGIC_AT] > 1 and len(content) < RECORDS_AT):
            raise KafkaError("A batch is shorter than its own fields")
        if content[MAGIC_AT] < 2:
            return LegacyBatch(content, self._limits)
        batch = DefaultRecordBatch(content)
        return batch if batch.is_control_batch else Batch(batch, content, self._limits)

    def _end(self) -> int:
        if len(self._data) - self._position < BODY_AT:
            return len(self._data) + 1
        length: int = LENGTH.unpack_from(self._data, self._position + LENGTH_AT)[0]
        return self._position + BODY_AT + max(0, length)


class Batch:
    """A batch of version 2."""

    is_control_batch = False

    def __init__(self, batch: Any, content: bytes, limits: BatchLimits) -> None:
        self.base_offset: int = batch.base_offset
        self.next_offset: int = batch.next_offset
        self.producer_id: int = batch.producer_id
        self.is_transactional: bool = batch.is_transactional
        self._batch = batch
        self._content = content
        self._limits = limits
        self._is_damaged = False

    def validate_crc(self) -> bool:
        """False the first time that the checksum is wrong: the batch is then fetched again."""
        if self._batch.validate_crc():
            return True
        self._is_damaged = self._limits.is_damaged_again(self._content)
        return self._is_damaged

    def __iter__(self) -> Iterator[Any]:
        if self._is_damaged:
            return iter([self._unread(self.base_offset, "its checksum is wrong")])
        try:
            return self._records(self._unpacked())
        except TooManyBytes:
            reason = f"it has more than {self._limits.max_bytes} bytes when it is unpacked"
        except ValueError as error:
            reason = f"it cannot be unpacked ({error})"
        return iter([self._unread(self.base_offset, reason)])

    def _unpacked(self) -> bytes:
        codec = self._batch.attributes & CODEC
        if not codec:
            return self._content
        head = bytearray(self._content[:RECORDS_AT])
        ATTRIBUTES.pack_into(head, ATTRIBUTES_AT, self._batch.attributes & ~CODEC)
        return unpack(codec, self._content[RECORDS_AT:], bytes(head), self._limits.max_bytes)

    def _records(self, content: bytes) -> Iterator[Any]:
        """The records as aiokafka parses them; from the first that it cannot parse on, our way."""
        count = 0
        following = self.base_offset
        try:
            for record in DefaultRecordBatch(content):
                yield record
                count += 1
                following = record.offset + 1
            return
        except Exception:
            rest = LenientRecords(content, self._batch)
        try:
            for record in rest.after(count):
                yield record
                following = record.offset + 1
        except (ValueError, IndexError, OverflowError) as error:
            yield self._unread(following, f"its records are damaged ({error})")

    def _unread(self, first_offset: int, reason: str) -> WireRecord:
        unread = Unread(first_offset, len(self._content), reason)
        return WireRecord(self.next_offset - 1, max(0, self._batch.max_timestamp), None, None, (), unread)


class LegacyBatch:
    """A message of version 0 or 1, perhaps with compressed messages in it. Brokers before 4.0 have them."""

    is_control_batch = False
    is_transactional = False
    producer_id = None

    def __init__(self, content: bytes, limits: BatchLimits) -> None:
        self._content = content
        self._magic = content[MAGIC_AT]
        self._limits = limits
        self._batch = LegacyRecordBatch(content, self._magic)
        self.next_offset: int = self._batch.next_offset
        self.base_offset = self.next_offset - 1
        self._is_damaged = False

    def validate_crc(self) -> bool:
        """As that of `Batch`."""
        if self._batch.validate_crc():
            return True
        self._is_damaged = self._limits.is_damaged_again(self._content)
        return self._is_damaged

    def __iter__(self) -> Iterator[Any]:
        try:
            if self._is_damaged:
                raise ValueError("its checksum is wrong")
            self._check_size()
            yield from self._batch
        except Exception as error:
            # The outer message has the last offset; the first is unknown until it is unpacked.
            unread = Unread(self.base_offset, len(self._content), f"it cannot be unpacked ({error})")
            yield WireRecord(self.base_offset, 0, None, None, (), unread)

    def _check_size(self) -> None:
        """Unpack the messages once within the limit, before aiokafka does so without one."""
        codec = self._content[MAGIC_AT + 1] & CODEC
        if codec:
            at = LEGACY_KEY_AT[self._magic]
            (key_bytes,) = LENGTH.unpack_from(self._content, at)
            packed = self._content[at + 8 + max(0, key_bytes) :]
            unpack(codec, packed, b"", self._limits.max_bytes)
