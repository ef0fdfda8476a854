"""The taxonomy of a recipe: what the steps of triage are fitted to, measured by, and published with."""

import hashlib
from pathlib import Path

from ...errors import UsageError
from ...tasks.triage.taxonomy import load_taxonomy


class RecipeTaxonomy:
    """The taxonomy in a file, or the built-in one. Raises UsageError for a file that is none."""

    def __init__(self, file: str | None = None) -> None:
        self.file = file
        self.loaded = load_taxonomy(Path(file) if file else None)

    @property
    def settings(self) -> dict[str, str]:
        """All of it that decides the result of a step; empty for the built-in one."""
        return {"taxonomy_sha256": _digest(Path(self.file))} if self.file else {}


def _digest(file: Path) -> str:
    try:
        return hashlib.sha256(file.read_bytes()).hexdigest()
    except OSError as error:
        raise UsageError(f"Cannot read the taxonomy {file}: {error.strerror}.") from error
