"""What the run and a worker process tell each other: settings on the command line, two small files meanwhile."""

import os
from pathlib import Path

import msgspec
from msgspec import Struct

from ...config import Config


class Settings(Struct, frozen=True):
    """What a worker process is started with. It reads ``mood``, and writes ``status`` a few times a second."""

    config: Config
    model: str
    mood: str
    status: str


class Status(Struct):
    """What a worker says of itself."""

    pid: int = 0
    ready: bool = False
    partitions: list[int] = []
    rebalances: int = 0
    rows: int = 0
    late_rows: int = 0
    latest_s: float = 0.0


def write(path: Path, content: Struct) -> None:
    """Replace the file as a whole."""
    part = path.with_name(f"{path.name}.{os.getpid()}.part")
    part.write_bytes(msgspec.json.encode(content))
    part.replace(path)


def read_status(path: Path) -> Status:
    """What was last written, an empty status where nothing was."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=Status)
    except (OSError, msgspec.DecodeError):
        return Status()
