"""Reads labeled tickets from a CSV or JSON Lines file."""

import csv
import json
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from ...errors import UsageError

MAX_FIELD_CHARS = 10_000_000


class Labeled(NamedTuple):
    """Texts and their labels, row by row; for each label the most frequent route and priority of its rows."""

    texts: list[str]
    labels: list[str]
    routes: dict[str, str]
    priorities: dict[str, str]
    skipped: int = 0  # rows without a text or a label

    def at(self, indices: list[int]) -> "Labeled":
        """The rows with these indices."""
        return self._replace(
            texts=[self.texts[i] for i in indices], labels=[self.labels[i] for i in indices], skipped=0
        )


def read_labeled(path: Path, text: str = "text", label: str = "label") -> Labeled:
    """Read a file with the columns (CSV) or fields (.jsonl) ``text`` and ``label``.

    The columns route and priority are optional. Rows without a text or a label are counted and left
    out. Raises UsageError with the line of an invalid row.
    """
    texts: list[str] = []
    labels: list[str] = []
    found: dict[str, dict[str, Counter[str]]] = {
        "route": defaultdict(Counter),
        "priority": defaultdict(Counter),
    }
    skipped = 0
    for row in _rows(path, text, label):
        row_text = str(row.get(text) or "").strip()
        row_label = str(row.get(label) or "").strip()
        if not row_text or not row_label:
            skipped += 1
            continue
        texts.append(row_text)
        labels.append(row_label)
        for column, by_label in found.items():
            if row.get(column):
                by_label[row_label][str(row[column])] += 1
    if not texts:
        raise UsageError(f"{path} has no row with both a {text} and a {label}.")
    routes, priorities = ({name: c.most_common(1)[0][0] for name, c in by.items()} for by in found.values())
    return Labeled(texts, labels, routes, priorities, skipped)


def _rows(path: Path, text: str, label: str) -> Iterator[Mapping[str, Any]]:
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            yield from (
                _json_lines(file, path)
                if path.suffix in {".jsonl", ".ndjson"}
                else _csv(file, path, text, label)
            )
    except OSError as error:
        raise UsageError(f"Cannot read {path}: {error.strerror}.") from error
    except UnicodeDecodeError as error:
        raise UsageError(f"{path} is not UTF-8; save it as UTF-8.") from error


def _csv(file: Any, path: Path, text: str, label: str) -> Iterator[Mapping[str, Any]]:
    csv.field_size_limit(MAX_FIELD_CHARS)
    reader = csv.DictReader(file)
    try:
        columns = list(reader.fieldnames or [])
        for option, column in (("--text", text), ("--label", label)):
            if column not in columns:
                raise UsageError(
                    f"{path} has no column {column!r}; name the right one with {option}: {', '.join(columns)}."
                )
        yield from reader
    except csv.Error as error:
        raise UsageError(f"{path} is not valid CSV at line {reader.line_num}: {error}.") from error


def _json_lines(file: Any, path: Path) -> Iterator[Mapping[str, Any]]:
    for number, line in enumerate(file, 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except ValueError as error:
            raise UsageError(f"{path}, line {number} is not JSON: {error}.") from error
        if not isinstance(row, dict):
            raise UsageError(f"{path}, line {number} is not a JSON object.")
        yield row
