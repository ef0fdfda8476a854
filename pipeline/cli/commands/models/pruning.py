"""`models prune`: make a smaller encoder."""

import os
from pathlib import Path
from typing import Any

import click

from ...options.rows import dialect_given, labeled_file
from ...output.models import print_models
from ...output.pull_progress import pull_progress
from .shared import as_json


@click.command()
@click.argument("name")
@labeled_file
@click.option(
    "--share",
    type=click.FloatRange(0, 1, min_open=True, max_open=True),
    default=0.6,
    show_default=True,
    help="How much of the attention heads and of the feed-forward units to remove.",
)
@click.option(
    "--as", "known_as", metavar="NAME", help="What to call it.  [default: NAME-pruned60, by the share]"
)
@click.option(
    "--force", is_flag=True, help="Publish it also if it keeps too little accuracy; its manifest says so."
)
@as_json
def prune(
    name: str,
    data: Path,
    text: str,
    label: str,
    share: float,
    known_as: str | None,
    force: bool,
    clean: str | None,
    as_json: bool,
    **reading: Any,
) -> None:
    """Make a smaller and faster encoder of NAME, without training.

    The attention heads and feed-forward units that matter least for the texts of DATA are removed, and the rest is
    fitted anew. On a fifth of DATA, which is held out, both variants of the result must keep 97% of the accuracy of
    NAME-fp32. A fitted model is for one encoder: fit triage on the pruned one.

    \b
      inferstream models prune minilm tickets.csv --share 0.6
      inferstream triage fit tickets.csv --base minilm-pruned60-int8 --name shop
    """
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    from ....models.registry import ModelRegistry, split_name
    from ....optimize.derived.pruned import Pruning, prune_model
    from ....optimize.triage.labeled import read_labeled

    rows = read_labeled(data, text, label, dialect_given(data, reading)).cleaned(clean)
    called = known_as or f"{split_name(name)[0]}-pruned{round(share * 100)}"
    with pull_progress() as progress:
        manifests = prune_model(ModelRegistry(), Pruning(name, share, called, force), rows, progress)
    print_models(manifests, as_json)
