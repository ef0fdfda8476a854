"""Where a registry has what, below its root."""

from typing import Final

OBJECTS: Final = "objects/sha256"
RELEASES: Final = "releases"
ALIASES: Final = "aliases"


def object_path(sha256: str) -> str:
    """Of an object."""
    return f"{OBJECTS}/{sha256[:2]}/{sha256}"


def release_path(task: str, version: str) -> str:
    """Of a manifest."""
    return f"{RELEASES}/{task}/{version}.json"


def alias_path(task: str, alias: str, number: int) -> str:
    """Of a state of an alias."""
    return f"{ALIASES}/{task}/{alias}/{number:08}.json"
