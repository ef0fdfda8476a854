"""Options that several commands of `inferstream triage` have."""

from pathlib import Path

import click

taxonomy_file = click.option(
    "--taxonomy",
    type=click.Path(path_type=Path),
    help="TOML file with the taxonomy.  [default: the built-in example]",
)
as_json = click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
