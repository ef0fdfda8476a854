"""`inferstream triage list` and `inferstream triage use`: the versions of fitted models."""

from typing import Any

import click

from ...output.fits import TIERS
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
@click.argument("version", required=False)
@click.option(
    "--serve",
    type=click.Choice(TIERS),
    help="What of it answers from now on. That is a version of its own; nothing is fitted anew.",
)
def use(name: str, version: str | None, serve: Any) -> None:
    """Select the fit and the tier of a model that is served.

    VERSION is that of a fit, as `triage list` prints it; without it, --serve is about the current one. Workers that
    start from now on serve it as NAME; running workers keep theirs. Workers that follow an alias go by
    `models promote` instead.

    \b
      inferstream triage use shop 0123456789ab
      inferstream triage use shop --serve cascade
    """
    from ....errors import UsageError
    from ....home import home_folder
    from ....models.judgements import measuring, read_judgement
    from ....tasks.triage.head import HeadStore
    from ....tasks.triage.serving_tiers import serve_by

    heads = HeadStore(home_folder())
    if version is None and serve is None:
        raise UsageError(
            f"Say which fit of {name} is to be served, or by which tier: inferstream triage use {name} VERSION, or "
            "--serve TIER."
        )
    chosen = version or heads.current(name)
    if serve:
        chosen = serve_by(heads, name, chosen, serve)
    else:
        heads.use(name, chosen)
    served = heads.load(name).served
    click.echo(
        f"{name} is now fit {chosen}, {served} answers: restart the workers that serve it by this name."
    )
    judgement = read_judgement(heads.root / name / chosen)
    if judgement is None:
        click.echo(
            f"It was not measured beside its original: `{measuring(name)}` does that, and `inferstream models promote` "
            "needs it. DATA may be the file of the fit: rows that it was fitted on are left out."
        )
    elif not judgement.gate.open:
        click.echo(f"Workers refuse it: it did not pass its gate. {' '.join(judgement.gate.failures)}")
