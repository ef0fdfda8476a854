"""The labeled rows of a recipe: those that variants are made with, and those that judge, which no step sees."""

import hashlib
from functools import cached_property
from pathlib import Path

import msgspec

from ...errors import UsageError
from ...rows.dialect import dialect_of
from ..triage.fit import hold_out
from ..triage.labeled import Labeled, read_labeled
from .recipe import DataPart


class RecipeRows:
    """The rows of the files that a recipe names, read when a step asks for them. Raises UsageError."""

    def __init__(self, data: DataPart) -> None:
        self._data = data
        self._skipped = 0

    def read(self) -> int:
        """Read the files now; the number of rows."""
        return len(self.known.texts) + len(self.unseen.texts)

    @cached_property
    def known(self) -> Labeled:
        """The rows to make variants with."""
        return self._split[0]

    @cached_property
    def unseen(self) -> Labeled:
        """The rows that judge: no text of them is among the known ones."""
        return self._split[1]

    @cached_property
    def digest(self) -> str:
        """Of both."""
        found = [[part.texts, part.labels, part.routes, part.priorities, part.clean] for part in self._split]
        return hashlib.sha256(msgspec.json.encode(found, order="deterministic")).hexdigest()

    @property
    def skipped(self) -> int:
        """The rows without a text or a label."""
        return self._skipped

    @cached_property
    def _split(self) -> tuple[Labeled, Labeled]:
        if self._data.file is None:
            raise UsageError(
                "The recipe needs labeled rows: name their file by --data FILE, or by `file` below [data]."
            )
        rows = self._read(self._data.file)
        if self._data.test is None:
            return hold_out(rows)
        unseen = self._read(self._data.test).without(rows.texts)
        if not unseen.texts:
            raise UsageError(
                f"All texts of {self._data.test} are in {self._data.file} too: give others as `test`."
            )
        return rows, unseen

    def _read(self, file: str) -> Labeled:
        data = self._data
        dialect = dialect_of(Path(file), data.format, data.delimiter, data.encoding)
        found = read_labeled(Path(file), data.text, data.label, dialect).cleaned(data.clean)
        self._skipped += found.skipped
        return found
