"""The dialect of a file: its format, delimiter, encoding and compression, by its name and by options."""

import codecs
import io
from pathlib import Path
from typing import Final, Literal

from msgspec import Struct

from ..errors import UsageError
from .decoding import UTF8

FileFormat = Literal["jsonl", "csv", "tsv", "txt"]
FILE_FORMATS: Final[tuple[FileFormat, ...]] = ("jsonl", "csv", "tsv", "txt")
SUFFIXES: Final[dict[str, FileFormat]] = {
    "jsonl": "jsonl",
    "ndjson": "jsonl",
    "csv": "csv",
    "tsv": "tsv",
    "tab": "tsv",
    "txt": "txt",
}
ADVICE: Final = {
    "xlsx": "save the sheet as CSV UTF-8",
    "xls": "save the sheet as CSV UTF-8",
    "ods": "save the sheet as CSV UTF-8",
    "json": "write one object a line (JSON Lines, .jsonl), or add --format jsonl if it has",
    "parquet": "export it as CSV or JSON Lines",
}
DELIMITERS: Final = {"tab": "\t", "\\t": "\t", "semicolon": ";", "comma": ",", "pipe": "|"}
COMMA: Final = ","
TAB: Final = "\t"


class Dialect(Struct, frozen=True):
    """How to read a file. ``delimiter`` counts for CSV only."""

    format: Literal["jsonl", "csv", "txt"]
    delimiter: str = COMMA
    encoding: str = UTF8
    compressed: bool = False


def dialect_of(
    path: Path,
    file_format: FileFormat | None = None,
    delimiter: str | None = None,
    encoding: str | None = None,
) -> Dialect:
    """The dialect by the suffix of the name and the options, which count first. Never by the content.

    Raises UsageError for a name that does not show its format, and for an option that is wrong.
    """
    name = path.name.lower()
    compressed = name.endswith(".gz")
    suffix = Path(name.removesuffix(".gz")).suffix.lstrip(".")
    found = file_format or SUFFIXES.get(suffix)
    if found is None:
        advice = ADVICE.get(suffix, f"add --format {', '.join(FILE_FORMATS[:-1])} or {FILE_FORMATS[-1]}")
        raise UsageError(f"The name of {path} does not show a format that is read here: {advice}.")
    table = found in {"csv", "tsv"}
    if delimiter is not None and not table:
        raise UsageError(f"--delimiter is for CSV, and {path} is read as {found}: leave it out.")
    usual = TAB if found == "tsv" else COMMA
    return Dialect(
        "csv" if found == "tsv" else found,
        usual if delimiter is None else _delimiter(delimiter),
        checked_encoding(encoding or UTF8),
        compressed,
    )


def option_of(delimiter: str) -> str:
    """The option that reads this delimiter, as in a shell."""
    return "--delimiter tab" if delimiter == TAB else f"--delimiter '{delimiter}'"


def _delimiter(given: str) -> str:
    delimiter = DELIMITERS.get(given.lower(), given)
    if len(delimiter) != 1 or delimiter in '"\r\n\0 ' or delimiter.isalnum():
        raise UsageError(f"--delimiter is one character such as ';', or the word tab, not {given!r}.")
    return delimiter


def checked_encoding(given: str, option: str = "--encoding") -> str:
    """The usual name of an encoding. Raises UsageError for what is none of text."""
    try:
        io.TextIOWrapper(io.BytesIO(), given)
        return codecs.lookup(given).name.removesuffix(
            "-sig"
        )  # a byte order mark of UTF-8 is read in any case
    except (LookupError, UnicodeError, ValueError) as error:
        raise UsageError(
            f"{option} {given!r} is not an encoding of text: use utf-8, utf-16, cp1252 or latin-1, for example."
        ) from error
