"""The file of replies to a file of requests: one line for each, in the same order.

A run is resumable and needs constant memory.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, Final, Self

import msgspec

from ...schemas.codec import encode
from ...schemas.messages import Failure, Request, Result
from ..errors import UsageError
from ..locks import lock_file

BUFFER_BYTES: Final = 1 << 20
REPLY: Final = b'{"type":"'
"""What a line begins with; anything else in the file is not ours, and is kept."""
FAILURE: Final = b'{"type":"failure"'


def open_alone(path: Path) -> BinaryIO:
    """The file, open to append and locked until it is closed. Raises UsageError if another process writes to it."""
    file = path.open("a+b", buffering=BUFFER_BYTES)
    try:
        lock_file(file)
    except BlockingIOError as error:
        file.close()
        raise UsageError(f"Another run is writing {path}: wait for it, or name another --out.") from error
    return file


class ReplyFile:
    """The file of replies, one JSON object a line.

    It keeps the complete lines of an interrupted run; `skip` cuts off an incomplete last line.

    Raises UsageError if another process is writing to the file.

    Attributes:
        lines: number of complete lines in the file.
        failures: how many of them are failures.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file = open_alone(path)
        self.lines = 0
        self.failures = 0
        self._last_line = b""
        self._end = 0
        self._torn = b""
        self._recover()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._file.close()

    def skip(self, items: Iterator[Request | Failure]) -> None:
        """Consume the items whose replies are in this file.

        Raises UsageError if the id of the last one differs: the file belongs to another input.
        """
        item = None
        for _ in range(self.lines):
            item = next(items, None)
        if not REPLY.startswith(self._torn):
            raise UsageError(f"{self.path} holds something else than replies: name another --out.")
        if self.lines and (item is None or item.id != _id_of(self._last_line)):
            raise UsageError(
                f"{self.path} does not belong to this input (line {self.lines} has another id): "
                "name another --out, or remove the file to start again."
            )
        self._file.truncate(self._end)

    def write(self, reply: Result | Failure) -> None:
        self._file.write(encode(reply) + b"\n")
        self.lines += 1
        self.failures += isinstance(reply, Failure)

    def _recover(self) -> None:
        """Count the complete lines, and remember where an incomplete last line begins."""
        self._file.seek(0)
        for line in self._file:
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
