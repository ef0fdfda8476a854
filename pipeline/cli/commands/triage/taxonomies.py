"""`inferstream triage check` and `inferstream triage draft`."""

from pathlib import Path
from typing import Any

import click

from ...options.rows import dialect_given, labeled_file
from ...output.triage_lists import print_rules
from .shared import as_json


@click.command()
@click.argument("file", type=click.Path(path_type=Path), required=False)
@as_json
def check(file: Path | None, as_json: bool) -> None:
    """Check a taxonomy and list its categories and routes.

    Without FILE, lists the built-in example.

    \b
      inferstream triage check taxonomy.toml
    """
    from ....tasks.triage.taxonomy import load_taxonomy

    print_rules(load_taxonomy(file), as_json)


@click.command()
@labeled_file
@click.option(
    "--examples",
    default=3,
    show_default=True,
    type=click.IntRange(0, 100),
    help="Number of tickets to copy for each category.",
)
def draft(data: Path, text: str, label: str, examples: int, clean: str | None, **reading: Any) -> None:
    """Print a first taxonomy, made from labeled tickets. Drafts of replies are a chain, see docs/chains.md.

    Its categories are the labels in DATA, its examples some of the tickets. Redirect it to a file, then edit
    the descriptions and routes.

    \b
      inferstream triage draft tickets.csv > taxonomy.toml
    """
    from ....optimize.triage.draft import draft_taxonomy
    from ....optimize.triage.labeled import read_labeled

    tickets = read_labeled(data, text, label, dialect_given(data, reading)).cleaned(clean)
    click.echo(draft_taxonomy(tickets, examples), nl=False)
