"""`models list` and `models show`: the models on this machine."""

import click
import msgspec

from ...output.models import print_models, row_of
from .shared import as_json

IN_WORDS = frozenset(
    (
        "agreement",
        "score_agreement",
        "independence",
        "fidelity",
        "steadiness",
        "kept_accuracy",
        "lineage",
        "judgements",
        "gate",
    )
)
"""Fields of a manifest that are told in words by others."""


@click.command("list")
@as_json
def list_models(as_json: bool) -> None:
    """List the models on this machine."""
    from ....models.registry import ModelRegistry

    manifests = ModelRegistry().list()
    if not manifests and not as_json:
        click.echo("There are no models yet: run `inferstream models pull minilm`.")
        return
    print_models(manifests, as_json)


@click.command()
@click.argument("name")
@as_json
def show(name: str, as_json: bool) -> None:
    """Show one model: source, limits, digests, agreement with float32.

    Also how much the company of a batch changes an answer.
    """
    from ....models.registry import ModelRegistry

    row = row_of(ModelRegistry(judged=False).load(name))
    if as_json:
        click.echo(msgspec.json.format(msgspec.json.encode(row), indent=2))
        return
    width = max(map(len, row))
    for field, value in row.items():
        if field not in IN_WORDS:
            shown = between(field).join(map(str, value)) if isinstance(value, list | tuple) else value
            click.echo(f"{field.replace('_', ' '):<{width}}  {'' if shown is None else shown}")


def between(field: str) -> str:
    """What separates the parts of a field: words, or parts of several words."""
    return "; " if field == "gates" else " "
