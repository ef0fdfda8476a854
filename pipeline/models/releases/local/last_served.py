"""Which version of an alias this machine has served last: a worker starts on it without the registry."""

import os
from pathlib import Path

import msgspec
from msgspec import Struct

from ...files import publish
from ..alias import Version
from ..names import ReleaseName


class LastServed(Struct, frozen=True):
    """In a file beside the folders of the releases."""

    version: Version


def last_served(folder: Path, name: ReleaseName) -> str | None:
    """The version, if this machine has served any."""
    try:
        return msgspec.json.decode(_path(folder, name).read_bytes(), type=LastServed).version
    except (OSError, msgspec.MsgspecError, UnicodeDecodeError):
        return None


def note_served(folder: Path, name: ReleaseName, version: str) -> None:
    """Remember the version. Raises OSError."""
    path = _path(folder, name)
    part = path.with_name(f"{path.name}.{os.getpid()}.part")
    part.write_bytes(msgspec.json.encode(LastServed(version)))
    publish(part, path)


def _path(folder: Path, name: ReleaseName) -> Path:
    return folder / f"{name}.json"
