"""A file of answers that grows with a run, and with the next one after an interruption."""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, Final, Self

from ...schemas.messages import Failure, Request, Result
from ..errors import UsageError
from ..locks import lock_file

BUFFER_BYTES: Final = 1 << 20


class ResumableFile(ABC):
    """Keeps the complete answers of an interrupted run; `skip` cuts off an incomplete last one.

    Raises UsageError if another process is writing to the file.

    Attributes:
        lines: number of complete answers in the file.
        failures: how many of them are failures.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.lines = 0
        self.failures = 0
        self._end = 0  # of the last complete answer
        self._file = _open_alone(path)
        self._file.seek(0)
        self._recover(self._file)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._file.close()

    def skip(self, items: Iterator[Request | Failure]) -> None:
        """Consume the items whose answers are in this file.

        Raises UsageError if the file belongs to another input, or holds something else.
        """
        self._check(items)
        self._file.truncate(self._end)

    def write(self, reply: Result | Failure) -> None:
        self._file.write(self._encoded(reply))
        self.lines += 1
        self.failures += isinstance(reply, Failure)

    @abstractmethod
    def _recover(self, lines: BinaryIO) -> None:
        """Count the complete answers, and note where they end."""

    @abstractmethod
    def _check(self, items: Iterator[Request | Failure]) -> None:
        """See `skip`; nothing is cut off yet."""

    @abstractmethod
    def _encoded(self, reply: Result | Failure) -> bytes:
        """The reply as it stands in the file."""

    def _of_another_input(self, unit: str, difference: str) -> UsageError:
        return UsageError(
            f"{self.path} does not belong to this input ({unit} {self.lines} {difference}): "
            "name another --out, or remove the file to start again."
        )


def _open_alone(path: Path) -> BinaryIO:
    """The file, open to append and locked until it is closed."""
    file = path.open("a+b", buffering=BUFFER_BYTES)
    try:
        lock_file(file)
    except BlockingIOError as error:
        file.close()
        raise UsageError(f"Another run is writing {path}: wait for it, or name another --out.") from error
    return file
