"""`models diff`: what differs between two releases."""

from typing import Final

import click

from ....config import Config
from ...options.registry import REGISTRY
from ...options.settings import with_settings
from ...output.pull_progress import pull_progress
from ...output.tables import print_table
from .shared import as_json

COLUMNS: Final = {"what": "WHAT", "first": "FIRST", "second": "SECOND"}


@click.command()
@click.argument("first")
@click.argument("second")
@with_settings(REGISTRY, kafka=False)
@as_json
def diff(first: str, second: str, config: Config, as_json: bool) -> None:
    """Show what differs between FIRST and SECOND.

    Each is TASK@ALIAS, TASK@VERSION, or a model of this machine.

    \b
      inferstream models diff triage@prod triage@0123456789ab
      inferstream models diff triage@prod shop
    """
    from ....ops.releases.differences import differences
    from ....ops.releases.finding import ReleaseFinder
    from ....optimize.recipes.lineage import with_recorded_steps

    with pull_progress() as progress:
        finder = ReleaseFinder(config, progress, with_recorded_steps)
        task = next((one.partition("@")[0] for one in (first, second) if "@" in one), "")
        releases = [finder.find(name, task) for name in (first, second)]
    rows = [one._asdict() for one in differences(*releases)]
    if not rows and not as_json:
        click.echo(f"There is no difference: both are {releases[0].task}@{releases[0].version}.")
        return
    print_table(rows, COLUMNS, as_json=as_json)
