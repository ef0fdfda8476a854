"""Digests of files, and their atomic publication."""

import hashlib
import os
from pathlib import Path


def sha256_of(path: Path) -> str:
    """The hexadecimal digest of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def publish(part: Path, target: Path) -> None:
    """Rename a finished file to ``target``, atomically and durably: a reader never finds a part of it."""
    with part.open("rb") as file:
        os.fsync(file.fileno())
    part.replace(target)
