"""The rows of a recipe: those that variants are made with, and those that judge, which no step sees."""

import hashlib
from functools import cached_property
from pathlib import Path
from typing import Final, NamedTuple

import msgspec

from ...errors import UsageError
from ...models.manifest import CLASSIFIER
from ...rows.dialect import Dialect, dialect_of
from ..evaluation.figures.translations import TranslatedTexts
from ..evaluation.files import read_column
from ..triage.fit import hold_out
from ..triage.labeled import Labeled, read_labeled
from .model_facts import BUILT_ENCODER, ModelFacts
from .recipe import DataPart


class RowCounts(NamedTuple):
    """How many rows there are."""

    known: int
    unseen: int
    labels: int


ASSUMED: Final = RowCounts(800, 200, 10)
"""For a plan of which the rows are not known."""


class RecipeRows:
    """The rows of the files that a recipe names, read when a step asks for them. Raises UsageError.

    Of an encoder they are split; classifiers with labels of their own are judged on all of them, and so are
    translators and language models, for which they are texts without labels.
    """

    def __init__(self, data: DataPart, facts: ModelFacts = BUILT_ENCODER) -> None:
        self._data = data
        self._facts = facts
        self._skipped = 0

    def read(self) -> int:
        """Read the files now; the number of rows."""
        return self.counts.known + self.counts.unseen

    @property
    def named(self) -> bool:
        """Whether there is a file."""
        return self._data.file is not None

    @cached_property
    def counts(self) -> RowCounts:
        """Of the rows; those of `ASSUMED` if no file is named."""
        if not self.named:
            return ASSUMED
        if self._facts.is_of_texts:
            return RowCounts(0, len(self.texts.texts), 0)
        if self._facts.kind == CLASSIFIER:
            return RowCounts(0, len(self.judged.texts), len(set(self.judged.labels)))
        return RowCounts(len(self.known.texts), len(self.unseen.texts), len(set(self.known.labels)))

    @cached_property
    def known(self) -> Labeled:
        """The rows to make variants with."""
        return self._split[0]

    @cached_property
    def unseen(self) -> Labeled:
        """The rows that judge: no text of them is among the known ones."""
        return self._split[1]

    @cached_property
    def judged(self) -> Labeled:
        """All rows, for a model that was made without any."""
        return self._labeled(self._data.test or self._file)

    @cached_property
    def texts(self) -> TranslatedTexts:
        """The texts, and translations of them where the recipe names some."""
        data = self._data
        references = data.references and read_column(Path(data.references), data.text, self._dialect)
        return TranslatedTexts(
            read_column(Path(data.test or self._file), data.text, self._dialect), references or None
        )

    @cached_property
    def digest(self) -> str:
        """Of all of them."""
        if self._facts.is_of_texts:
            return _digest_of(list(self.texts))
        parts = [self.judged] if self._facts.kind == CLASSIFIER else self._split
        found = [[part.texts, part.labels, part.routes, part.priorities, part.clean] for part in parts]
        return _digest_of(found)

    @property
    def skipped(self) -> int:
        """The rows without a text or a label."""
        return self._skipped

    @property
    def _file(self) -> str:
        if self._data.file is None:
            raise UsageError(
                "The recipe needs rows, with labels for all but translators and language models: name their file by "
                "--data FILE, or by `file` below [data]."
            )
        return self._data.file

    @cached_property
    def _split(self) -> tuple[Labeled, Labeled]:
        rows = self._labeled(self._file)
        if self._data.test is None:
            return hold_out(rows)
        unseen = self._labeled(self._data.test).without(rows.texts)
        if not unseen.texts:
            raise UsageError(
                f"All texts of {self._data.test} are in {self._data.file} too: give others as `test`."
            )
        return rows, unseen

    def _dialect(self, path: Path) -> Dialect:
        data = self._data
        return dialect_of(path, data.format, data.delimiter, data.encoding)

    def _labeled(self, file: str) -> Labeled:
        data, path = self._data, Path(file)
        found = read_labeled(path, data.text, data.label, self._dialect(path)).cleaned(data.clean)
        self._skipped += found.skipped
        return found


def _digest_of(content: object) -> str:
    return hashlib.sha256(msgspec.json.encode(content, order="deterministic")).hexdigest()
