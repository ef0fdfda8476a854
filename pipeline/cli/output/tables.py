"""Tables on standard output: aligned for a reader, or the whole rows as JSON for a script."""

from collections.abc import Mapping, Sequence

import click
import msgspec
from rich.console import Console
from rich.table import Table

PIPE_COLUMNS = 1_000  # a pipe has no width: lines are not to be folded there


def print_table(rows: Sequence[Mapping[str, object]], columns: Mapping[str, str], *, as_json: bool) -> None:
    """Print ``rows`` to standard output.

    Args:
        rows: what there is to say; values other than JSON's own are written by ``str``.
        columns: field to heading: which fields the table shows, in this order. The JSON holds all fields.
        as_json: a JSON array instead of the table.
    """
    if as_json:
        whole = msgspec.json.encode([dict(row) for row in rows], enc_hook=str)
        click.echo(msgspec.json.format(whole, indent=2))
        return
    console = Console(markup=False, highlight=False)
    if not console.is_terminal:
        console.width = PIPE_COLUMNS
    console.print(_table(rows, columns))


def _table(rows: Sequence[Mapping[str, object]], columns: Mapping[str, str]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for field, heading in columns.items():
        number = bool(rows) and all(_is_number(row.get(field)) for row in rows)
        table.add_column(heading, justify="right" if number else "left", overflow="fold")
    for row in rows:
        table.add_row(*(_cell(row.get(field)) for field in columns))
    return table


def _is_number(value: object) -> bool:
    return value is None or (isinstance(value, int | float) and not isinstance(value, bool))


def _cell(value: object) -> str:
    match value:
        case None:
            return ""
        case bool():
            return "yes" if value else "no"
        case float():
            return f"{value:,.0f}" if abs(value) >= 1_000 else f"{value:.3g}"
        case list() | tuple() | set() | frozenset():
            return ", ".join(map(str, value))
        case _:
            return str(value)
