"""Reads labeled tickets from a CSV or JSON Lines file."""

import hashlib
from collections import Counter, defaultdict
from pathlib import Path
from typing import NamedTuple

import msgspec

from ...errors import UsageError
from ...rows.csv_rows import Wanted
from ...rows.dialect import Dialect, dialect_of
from ...rows.row_file import cell_of, read_rows
from ...tasks.triage.ticket_task import NONE

ROUTE = "route"
PRIORITY = "priority"


class Labeled(NamedTuple):
    """Texts and their labels, row by row; for each label the most frequent route and priority of its rows."""

    texts: list[str]
    labels: list[str]
    routes: dict[str, str]
    priorities: dict[str, str]
    skipped: int = 0  # rows without a text or a label
    clean: str = NONE  # how the texts were cleaned

    @property
    def digest(self) -> str:
        """Of texts and labels."""
        return hashlib.sha256(msgspec.json.encode([self.texts, self.labels])).hexdigest()

    def at(self, indices: list[int]) -> "Labeled":
        """The rows with these indices."""
        return self._replace(
            texts=[self.texts[i] for i in indices], labels=[self.labels[i] for i in indices], skipped=0
        )

    def without(self, texts: list[str]) -> "Labeled":
        """The rows with other texts than these."""
        seen = set(texts)
        return self.at([i for i, text in enumerate(self.texts) if text not in seen])

    def cleaned(self, kind: str | None) -> "Labeled":
        """With cleaned texts, see `tasks/mail/cleaning`; a row of which nothing is left counts as skipped."""
        if kind is None or kind == NONE:
            return self
        from ...tasks.mail.cleaning import cleaned

        rows = [(cleaned(text, kind), label) for text, label in zip(self.texts, self.labels, strict=True)]
        kept = [(text, label) for text, label in rows if text]
        return self._replace(
            texts=[text for text, _ in kept],
            labels=[label for _, label in kept],
            skipped=self.skipped + len(rows) - len(kept),
            clean=kind,
        )


def read_labeled(
    path: Path, text: str = "text", label: str = "label", dialect: Dialect | None = None
) -> Labeled:
    """Read a file with the columns (CSV) or fields (JSON Lines) ``text`` and ``label``.

    The columns route and priority are optional. Rows without a text or a label are counted and left out; what counts
    as nothing is in `rows/cells`. Raises UsageError with the line of an invalid row.
    """
    dialect = dialect or dialect_of(path)
    if dialect.format == "txt":
        raise UsageError(f"{path} has one text a line and no labels: use CSV or JSON Lines.")
    if text == label:
        raise UsageError(f"--text and --label are both {text!r}: name two columns.")
    texts: list[str] = []
    labels: list[str] = []
    found: dict[str, dict[str, Counter[str]]] = {ROUTE: defaultdict(Counter), PRIORITY: defaultdict(Counter)}
    skipped = 0
    for row in read_rows(path, Wanted({"--text": text, "--label": label}, [ROUTE, PRIORITY]), dialect):
        row_text = cell_of(path, row, text)
        row_label = cell_of(path, row, label)
        if row_text is None or row_label is None:
            skipped += 1
            continue
        texts.append(row_text)
        labels.append(row_label)
        for column, by_label in found.items():
            if (value := cell_of(path, row, column)) is not None:
                by_label[row_label][value] += 1
    if not texts:
        left_out = f" ({skipped} rows lack one of them)" if skipped else ""
        raise UsageError(
            f"{path} has no row with both a {text} and a {label}{left_out}: name the columns by --text and --label."
        )
    routes, priorities = ({name: c.most_common(1)[0][0] for name, c in by.items()} for by in found.values())
    return Labeled(texts, labels, routes, priorities, skipped)
