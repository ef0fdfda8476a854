"""The file of replies to a file of requests: one line for each, in the same order.

A run is resumable and needs constant memory.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, Final

import msgspec

from ...schemas.codec import encode
from ...schemas.messages import Failure, Request, Result
from ..errors import UsageError
from .resumable_file import ResumableFile

REPLY: Final = b'{"type":"'
"""What a line begins with; anything else in the file is not ours, and is kept."""
FAILURE: Final = b'{"type":"failure"'


class ReplyFile(ResumableFile):
    """The file of replies, one JSON object a line."""

    def __init__(self, path: Path) -> None:
        self._last_line = b""
        self._torn = b""
        super().__init__(path)

    def _check(self, items: Iterator[Request | Failure]) -> None:
        item = None
        for _ in range(self.lines):
            item = next(items, None)
        if not REPLY.startswith(self._torn):
            raise UsageError(f"{self.path} holds something else than replies: name another --out.")
        if self.lines and (item is None or item.id != _id_of(self._last_line)):
            raise self._of_another_input("line", "has another id")

    def _encoded(self, reply: Result | Failure) -> bytes:
        return encode(reply) + b"\n"

    def _recover(self, lines: BinaryIO) -> None:
        for line in lines:
            if line.endswith(b"\n"):
                self.lines += 1
                self.failures += line.startswith(FAILURE)
                self._last_line = line
                self._end += len(line)
            else:
                self._torn = line[: len(REPLY)]


class _ReplyId(msgspec.Struct):
    id: str | None = None


def _id_of(line: bytes) -> str | None:
    try:
        return msgspec.json.decode(line, type=_ReplyId).id
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None
