"""Reads the files of an evaluation."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from ...errors import UsageError
from ...models.manifest import CLASSIFIER, ENCODER
from ...models.registry import ModelRegistry
from ...rows.csv_rows import Wanted
from ...rows.dialect import Dialect
from ...rows.row_file import TEXT, cell_of, read_rows
from ...tasks.triage.head import HeadStore
from ..triage.fitted_rows import without_fitted
from ..triage.labeled import Labeled, read_labeled
from .extra_sets import ExtraSets, extra_sets
from .figures.translations import TranslatedTexts
from .models import Asked, JudgedRows, split_rows
from .originals import HowServed, original_of


class DataFiles(NamedTuple):
    """The files that a user gives, and how they are read.

    ``references``: translations, line by line.
    """

    data: Path
    dialect: Callable[[Path], Dialect]
    text: str = TEXT  # columns
    label: str = "label"
    clean: str | None = None
    test: Path | None = None
    foreign: Path | None = None
    negation: Path | None = None
    references: Path | None = None


def classifies(registry: ModelRegistry, name: str) -> bool:
    """Whether it is an encoder, a model with labels of its own, or a fitted model. Raises UnknownModel, ModelError."""
    return HeadStore(registry.root.parent).has(name) or registry.load(name).kind in (ENCODER, CLASSIFIER)


def labeled_files(registry: ModelRegistry, asked: Asked, files: DataFiles) -> tuple[JudgedRows, ExtraSets]:
    """The rows for classifiers: all are judged if no head is fitted to measure, but those that a model was fitted on.

    Raises UsageError.
    """
    heads = HeadStore(registry.root.parent)

    def needs_no_head(name: str) -> bool:
        if heads.has(name):
            return bool(asked.original) or original_of(HowServed(registry), name).make is not None
        return registry.load(name).kind == CLASSIFIER

    names = [*asked.names, *filter(None, [asked.original])]
    rows = _labeled(files, files.data)
    test = _labeled(files, files.test) if files.test else None
    whole = asked.zero_shot or all(map(needs_no_head, names))
    judged = JudgedRows(rows.at([]), test or rows) if whole else split_rows(rows, test)
    unseen, left_out = without_fitted(heads, names, judged.unseen)
    judged = JudgedRows(judged.fitted, unseen, left_out)
    sets = extra_sets(
        judged.unseen.texts,
        read_column(files.foreign, files.text, files.dialect) if files.foreign else None,
        _labeled(files, files.negation) if files.negation else None,
    )
    return judged, sets


def text_files(files: DataFiles) -> TranslatedTexts:
    """The texts for translators and decoders. Raises UsageError for what belongs to classifiers alone."""
    given = {"--test": files.test, "--foreign": files.foreign, "--negation": files.negation}
    if wrong := [option for option, path in given.items() if path]:
        raise UsageError(f"{' and '.join(wrong)} are for encoders and fitted models.")
    references = read_column(files.references, files.text, files.dialect) if files.references else None
    return TranslatedTexts(read_column(files.data, files.text, files.dialect), references)


def read_column(path: Path, column: str, dialect: Callable[[Path], Dialect]) -> list[str]:
    """The texts in a column of CSV or JSON Lines, or one text a line; those that are blank are left out.

    Raises UsageError if there is none.
    """
    read_as = dialect(path)
    column = TEXT if read_as.format == "txt" else column
    found: Sequence[str | None] = [
        cell_of(path, row, column) for row in read_rows(path, Wanted({"--text": column}), read_as)
    ]
    texts = [text for text in found if text]
    if not texts:
        raise UsageError(f"{path} has no text in the column {column!r}.")
    return texts


def _labeled(files: DataFiles, path: Path) -> Labeled:
    return read_labeled(path, files.text, files.label, files.dialect(path)).cleaned(files.clean)
