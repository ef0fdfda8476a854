"""The options of commands that read a file of texts or of labeled rows."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import click

from ...rows.dialect import FILE_FORMATS, Dialect, dialect_of

DATA = click.argument("data", type=click.Path(path_type=Path))
text_column = click.option(
    "--text", default="text", show_default=True, metavar="COLUMN", help="Column or field with the text."
)
label_column = click.option(
    "--label",
    default="label",
    show_default=True,
    metavar="COLUMN",
    help="Column or field with the correct category.",
)
id_column = click.option(
    "--id",
    default="id",
    show_default=True,
    metavar="COLUMN",
    help="Column or field with your id of a request.",
)
clean = click.option(
    "--clean",
    type=click.Choice(["mail", "none"]),
    help="mail: strip HTML, quoted mails, signatures and transfer encodings from each text before it is read.  "
    "[default: as the model was fitted, else none]",
)


def dialect_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add --format, --delimiter and --encoding: the arguments of `dialect_given`."""
    for option in (
        click.option("--encoding", help="Encoding of the file, e.g. cp1252 or utf-16.  [default: utf-8]"),
        click.option(
            "--delimiter",
            metavar="CHARACTER",
            help="Character between the cells of CSV: ';' or the word tab, for example.  [default: ,]",
        ),
        click.option(
            "--format",
            type=click.Choice(FILE_FORMATS),
            help="Format of the file.  [default: by its name]",
        ),
    ):
        command = option(command)
    return command


def labeled_file(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the argument DATA, a file of labeled tickets, and the options that say how it is read."""
    for part in (clean, dialect_options, label_column, text_column, DATA):
        command = part(command)
    return command


def dialect_given(path: Path, options: Mapping[str, Any]) -> Dialect:
    """The dialect of ``path`` by its name and these options. Raises UsageError."""
    return dialect_of(path, options["format"], options["delimiter"], options["encoding"])
