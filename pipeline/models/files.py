"""Files that are whole, and what they should be."""

import hashlib
import os
from pathlib import Path


def sha256_of(path: Path) -> str:
    """The hexadecimal digest of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def publish(part: Path, target: Path) -> None:
    """Give a finished file its final name, so that a reader finds all of it or nothing."""
    with part.open("rb") as file:
        os.fsync(file.fileno())
    part.replace(target)
