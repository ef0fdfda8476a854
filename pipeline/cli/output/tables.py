"""Tables on standard output: aligned columns, or whole rows as JSON."""

from collections.abc import Mapping, Sequence

import click
import msgspec
from rich import box
from rich.console import Console
from rich.table import Table

PIPE_COLUMNS = 1_000  # rich would fold lines at 80 columns


def print_table(
    rows: Sequence[Mapping[str, object]], columns: Mapping[str, str], *, as_json: bool, markdown: bool = False
) -> None:
    """Print ``rows`` to standard output.

    Args:
        rows: field to value. In JSON, values of other types are converted by ``str``.
        columns: field to heading, in the order of the table. The JSON has all fields.
        as_json: print a JSON array instead of the table.
        markdown: print a Markdown table.
    """
    if as_json:
        whole = msgspec.json.encode([dict(row) for row in rows], enc_hook=str)
        click.echo(msgspec.json.format(whole, indent=2))
        return
    console = Console(markup=False, highlight=False)
    if markdown or not console.is_terminal:
        console.width = PIPE_COLUMNS
    table = _table(rows, columns)
    if not markdown:
        console.print(table)
        return
    table.box = box.MARKDOWN
    table.pad_edge = True
    with console.capture() as captured:
        console.print(table)
    click.echo(captured.get().strip())


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
