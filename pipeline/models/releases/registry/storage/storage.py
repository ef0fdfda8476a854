"""Where a registry keeps its files: what a folder and a bucket can do alike."""

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple, Protocol


class FileThere(NamedTuple):
    """A file of the registry, by its path below the root."""

    path: str
    size_bytes: int
    modified: float  # seconds since 1970


class Storage(Protocol):
    """Files below one root, by paths with `/`. All methods block, and raise OSError or what the store raises.

    A file is there whole or not at all, whenever the process is killed.
    """

    @property
    def shown(self) -> str:
        """The root for sentences, without a password."""
        ...

    def read(self, path: str, limit: int) -> bytes:
        """The content. Raises FileNotFoundError, ValueError if it has more than ``limit`` bytes."""
        ...

    def create(self, path: str, content: bytes) -> None:
        """Write a new file. Raises FileExistsError: of two that create it at once, one wins."""
        ...

    def put(self, path: str, source: Path, sha256: str) -> None:
        """Copy a local file. Raises ValueError if that does not have the digest (any more)."""
        ...

    def fetch(self, path: str, target: Path, limit: int) -> None:
        """Copy to a new local file, no more than ``limit`` bytes and one. Raises FileNotFoundError."""
        ...

    def digest(self, path: str) -> str | None:
        """The sha256 of a file; None where that would cost a transfer. Raises FileNotFoundError."""
        ...

    def stat(self, path: str) -> FileThere | None:
        """Size and age; None if there is no such file."""
        ...

    def names(self, folder: str) -> list[str]:
        """The names of what is in a folder, sorted; none if there is no such folder."""
        ...

    def files(self, folder: str) -> Iterator[FileThere]:
        """All files below a folder."""
        ...

    def move(self, path: str, to: str) -> None:
        """Replaces ``to``. Raises FileNotFoundError."""
        ...

    def remove(self, path: str) -> None:
        """Remove a file; it may be gone already."""
        ...
