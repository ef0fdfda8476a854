"""What the run and a worker process exchange: settings at the start, then two small files."""

import os
from pathlib import Path

import msgspec
from msgspec import Struct

from ...config import Config


class WorkerSettings(Struct, frozen=True):
    """Settings of a worker process. It reads the file ``faults`` and writes ``status``."""

    task: str
    step_s: float
    config: Config
    faults: str
    status: str


class WorkerStatus(Struct):
    """What a worker reports about itself, a few times a second."""

    pid: int = 0
    ready: bool = False
    partitions: list[int] = []
    rebalances: int = 0
    rows: int = 0
    late_rows: int = 0
    latest_s: float = 0.0


def write(path: Path, content: Struct) -> None:
    """Replace the file in one step."""
    part = path.with_name(f"{path.name}.{os.getpid()}.part")
    part.write_bytes(msgspec.json.encode(content))
    part.replace(path)


def read_status(path: Path) -> WorkerStatus:
    """The last status, or an empty one."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=WorkerStatus)
    except (OSError, msgspec.DecodeError):
        return WorkerStatus()
