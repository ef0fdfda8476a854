"""What the steps of recipes made on this machine: one file for each, found by the digest of all that decides it."""

import hashlib
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import msgspec
from msgspec import Struct

from ...errors import UsageError
from ...home import make_folder
from ...locks import lock_when_free
from ...models.files import publish
from ...models.progress import Progress
from .making import MadeByStep

MAX_RECORDS: Final = 1_000


class StepRecord(Struct, frozen=True):
    """A step that was carried out."""

    key: str  # the digest of all that decides the result
    kind: str
    name: str
    settings: dict[str, Any]
    inputs: dict[str, str]  # the version of each model that it was made of
    rows_sha256: str  # empty where the rows decide nothing
    revision: int
    result: MadeByStep
    seconds: float
    reference_s: float | None  # that were expected on the reference machine, see `costs`
    machine: str
    made_at: str  # ISO 8601, UTC
    packages: dict[str, str] = {}  # their versions; not there in older records


def key_of(content: Mapping[str, Any]) -> str:
    """The digest of all that decides the result of a step."""
    return hashlib.sha256(msgspec.json.encode(content, order="deterministic")).hexdigest()


class StepStore:
    """The records below a folder; the oldest of more than MAX_RECORDS are removed."""

    def __init__(self, home: Path) -> None:
        self.root = home / "optimize" / "steps"

    def find(self, key: str) -> StepRecord | None:
        """The record of a step; None if it is not there, or not whole."""
        return _read(self._path(key))

    def all(self) -> list[StepRecord]:
        """All whole records, the newest first."""
        found = [record for path in self.root.glob("*.json") if (record := _read(path))]
        return sorted(found, key=lambda record: record.made_at, reverse=True)

    def save(self, record: StepRecord) -> None:
        """Keep a record, atomically. Its step is locked: what a run that was killed has left of it is removed."""
        for left in self.root.glob(f"{record.key}.*.part"):
            left.unlink(missing_ok=True)
        part = self.root / f"{record.key}.{os.getpid()}.part"
        part.write_bytes(msgspec.json.format(msgspec.json.encode(record), indent=2))
        publish(part, self._path(record.key))
        for old in self.all()[MAX_RECORDS:]:
            self._path(old.key).unlink(missing_ok=True)

    @contextmanager
    def lock(self, key: str, progress: Progress) -> Iterator[None]:
        """Hold the step; waits while another process carries it out. The lock ends with its process."""
        make_folder(self.root)
        try:
            file = (self.root / f"{key}.lock").open("ab")
        except OSError as error:
            raise UsageError(
                f"Cannot write below {self.root} ({error.strerror}): set INFERSTREAM_HOME to a folder that you can "
                "write to."
            ) from error
        with file:
            lock_when_free(file, lambda: progress("waiting for another run of this step", 0, None))
            yield

    def _path(self, key: str) -> Path:
        return self.root / f"{key}.json"


def _read(path: Path) -> StepRecord | None:
    try:
        return msgspec.json.decode(path.read_bytes(), type=StepRecord)
    except (OSError, msgspec.DecodeError):
        return None
