"""`inferstream triage list` and `inferstream triage use`: the versions of fitted models."""

import click

from ...output.triage_lists import print_heads
from .shared import as_json


@click.command("list")
@as_json
def list_heads(as_json: bool) -> None:
    """List all versions of the fitted models on this machine."""
    from ....home import home_folder
    from ....tasks.triage.head import HeadStore

    heads = HeadStore(home_folder())
    if not heads.names() and not as_json:
        click.echo("There are no fitted models yet: run `inferstream triage fit DATA.csv --name NAME`.")
        return
    print_heads(heads, as_json)


@click.command()
@click.argument("name")
@click.argument("version")
def use(name: str, version: str) -> None:
    """Select the version of a fitted model that workers serve.

    Workers that start from now on serve VERSION as NAME; running workers keep their version.

    \b
      inferstream triage use shop 0123456789ab
    """
    from ....home import home_folder
    from ....tasks.triage.head import HeadStore

    HeadStore(home_folder()).use(name, version)
    click.echo(f"{name} is now {version}: restart the workers that serve it.")
