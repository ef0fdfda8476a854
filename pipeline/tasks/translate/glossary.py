"""The glossary: terms that are never translated, or always in the same way."""

import re
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple

from msgspec.structs import replace

from ...errors import UsageError, WrongType
from ...rows.cells import NoText, text_of
from ...rows.csv_rows import Wanted
from ...rows.decoding import HEAD_BYTES, foreign_kind, read_text
from ...rows.dialect import COMMA, Dialect, dialect_of
from ...rows.row_file import read_rows
from .items import Item, ItemKind

SHORTEST_IN_CAPITALS: Final = 4
"""A shorter term is not looked for in capitals: "us" is not "US"."""

AS_UTF8: Final = 'save it as UTF-8 (in Excel: "CSV UTF-8")'

PART: Final = re.compile(r"\w+|[^\w\s]")
END: Final = ""
LONGEST_TERM: Final = 100
LONGEST_HEADER: Final = 10_000
COLUMNS: Final = ("term", "translation", "source", "target")
MOST_TERMS: Final = 1_000
"""Terms of one request. A file may have any number."""

Node = dict[str, Any]


class Glossary:
    """Finds terms in a text. A term is found as a whole word, and the longest of several."""

    def __init__(self, terms: Mapping[str, str]) -> None:
        """``terms``: each with its translation. One in small letters is also found with a capital, all in capitals."""
        self._root: Node = {}
        for term, translation in terms.items():
            self._add(term, translation)
            capital = term[:1].upper() + term[1:]
            if term.islower() and capital not in terms:
                self._add(capital, translation[:1].upper() + translation[1:])
            if len(term) >= SHORTEST_IN_CAPITALS and (capitals := term.upper()) not in terms:
                self._add(capitals, translation.upper())

    def __bool__(self) -> bool:
        return bool(self._root)

    def items(self, text: str) -> Iterator[Item]:
        """The terms in ``text``, with their translations. In time linear in its length: terms are short."""
        parts = [(found[0], *found.span()) for found in PART.finditer(text)]
        at = 0
        while at < len(parts):
            node = self._root
            found = None
            ahead = at
            while ahead < len(parts) and (node := node.get(parts[ahead][0], {})):
                ahead += 1
                if END in node:
                    found = ahead, node[END]
            if found:
                yield Item(parts[at][1], parts[found[0] - 1][2], ItemKind.WORD, found[1])
            at = found[0] if found else at + 1

    def _add(self, term: str, translation: str) -> None:
        node = self._root
        for part in PART.findall(term):
            node = node.setdefault(part, {})
        if node is not self._root:
            node[END] = translation


def check_terms(terms: Mapping[str, str]) -> None:
    """Raise WrongType for terms of a request that cannot be looked for."""
    if len(terms) > MOST_TERMS:
        raise WrongType(
            f"The option 'glossary' has {len(terms)} terms, and {MOST_TERMS} are allowed: put them into the file of "
            "the worker's setting `glossary`."
        )
    for term in terms:
        if not term.strip() or len(term) > LONGEST_TERM:
            raise WrongType(
                f"The option 'glossary' has the term {term[:20]!r}: a term has 1 to {LONGEST_TERM} characters."
            )


def read_glossary(path: Path, source: str, target: str) -> dict[str, str]:
    """The terms of a file for one pair of languages.

    CSV, TSV or JSON Lines: columns ``term`` and ``translation``, and perhaps ``source`` and ``target``. Without
    a translation the term stays as it is; without languages it is for all pairs, unless a line names the pair. TOML:
    terms and translations; those for one pair are in a table of its name, as [en-pt]. Raises UsageError that names
    line or term, also for a term with two translations.
    """
    _check_encoding(path)
    if path.suffix == ".toml":
        return _from_toml(path, f"{source}-{target}")
    dialect = _dialect_of(path)
    found: dict[str, _Line] = {}
    wanted = {"--term": "term"}
    for row in read_rows(path, Wanted(wanted, COLUMNS[1:]), dialect):
        cells = {}
        for column in COLUMNS:
            try:
                cells[column] = (text_of(row.values.get(column)) or "").strip()
            except NoText as error:
                raise UsageError(f"{path}, line {row.line}: {column!r} {error}: give a text.") from error
        if dialect.format == "csv" and not any(cells.values()):
            continue  # Excel writes rows that were emptied
        if cells["source"] in ("", source) and cells["target"] in ("", target):
            term = _checked(cells["term"], f"{path}, line {row.line}")
            named = bool(cells["source"]) + bool(cells["target"])
            line = _Line(named, row.line, cells["translation"] or term)
            found[term] = line if term not in found else _one_of(found[term], line, term, path)
    return {term: line.translation for term, line in found.items()}


class _Line(NamedTuple):
    """Where a file has a term; ``named``: how many languages of its pair the line names."""

    named: int
    number: int
    translation: str


def _one_of(first: _Line, other: _Line, term: str, path: Path) -> _Line:
    """The line that names more languages. Raises UsageError if neither does and the translations differ."""
    if first.named == other.named and first.translation != other.translation:
        raise UsageError(
            f"{path}, lines {first.number} and {other.number}: {term!r} has two translations, {first.translation!r} "
            f"and {other.translation!r}: keep one of them."
        )
    return other if other.named > first.named else first


def _check_encoding(path: Path) -> None:
    """Raise UsageError for another encoding than UTF-8: no option names that of a glossary."""
    try:
        with path.open("rb") as file:
            kind = foreign_kind(file.read(HEAD_BYTES))
            if kind and "UTF-16" in kind:
                raise UsageError(f"The glossary {path} looks like UTF-16: {AS_UTF8}.")
            file.seek(0)
            for number, line in enumerate(file if path.suffix != ".gz" else (), 1):
                if not _is_utf8(line):
                    raise UsageError(f"The glossary {path}, line {number} is not UTF-8: {AS_UTF8}.")
    except OSError:
        return  # the reader tells why


def _is_utf8(line: bytes) -> bool:
    try:
        line.decode()
    except UnicodeDecodeError:
        return False
    return True


def _dialect_of(path: Path) -> Dialect:
    """The dialect; that of a CSV file also by its header line, since Excel writes semicolons in half of the world.

    Raises UsageError for a header line with other columns: no option names them.
    """
    dialect = dialect_of(path)
    if dialect.format == "txt":
        raise UsageError(f"The glossary {path} must be .csv, .tsv, .jsonl or .toml.")
    if dialect.format != "csv" or dialect.compressed:
        return dialect
    try:
        with path.open("rb") as file:
            head = file.readline(LONGEST_HEADER).decode("utf-8-sig", "replace").strip()
    except OSError as error:
        raise UsageError(f"Cannot read the glossary {path}: {error.strerror}.") from error
    if "\0" in head or "\ufffd" in head:
        return dialect  # the reader tells what is wrong with it
    if dialect.delimiter == COMMA and COMMA not in head and ";" in head:
        dialect = replace(dialect, delimiter=";")
    columns = [column.strip('"') for column in head.split(dialect.delimiter)]
    others = [column for column in columns if column not in COLUMNS]
    if "term" not in columns or (others and "translation" not in columns):
        raise UsageError(
            f"The glossary {path} needs the columns term and translation, in small letters (and perhaps source and "
            f"target); its header line has: {', '.join(columns)[:200]}."
        )
    return dialect


def _from_toml(path: Path, pair: str) -> dict[str, str]:
    try:
        content = tomllib.loads(read_text(path, f"the glossary {path}"))
    except tomllib.TOMLDecodeError as error:
        raise UsageError(f"The glossary {path} is not TOML: {error}.") from error
    terms = {term: value for term, value in content.items() if not isinstance(value, dict)}
    terms |= content.get(pair, {})
    for term, value in terms.items():
        if not isinstance(value, str):
            raise UsageError(f"{path}: the translation of {term!r} must be a text.")
    return {_checked(term, str(path)): value or term for term, value in terms.items()}


def _checked(term: str, where: str) -> str:
    if not term.strip() or len(term) > LONGEST_TERM:
        raise UsageError(
            f"{where}: a term has 1 to {LONGEST_TERM} characters, and this one has {len(term.strip())}."
        )
    return term
