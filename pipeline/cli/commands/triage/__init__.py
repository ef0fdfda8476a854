"""`inferstream triage`: fit triage to labeled tickets, measure it, manage taxonomies and fitted models."""

import click

from ...groups import SuggestingGroup
from .evaluating import evaluate
from .fitting import fit
from .heads import list_heads, use
from .taxonomies import check, draft


@click.group("triage", cls=SuggestingGroup)
def command() -> None:
    """Adapt the triage of support tickets to your own categories, and measure it.

    Without labeled tickets, write a taxonomy: categories, each with a description and some examples.
    With a few dozen labeled tickets per category, `fit` a model: it is more accurate, and its confidence
    is calibrated. Files of tickets are CSV or JSON Lines (.jsonl).

    \b
      inferstream triage draft tickets.csv > taxonomy.toml
      inferstream triage check taxonomy.toml
      inferstream triage fit tickets.csv --name shop
      inferstream triage evaluate new-tickets.csv --model shop
    """


command.add_command(fit)
command.add_command(evaluate)
command.add_command(check)
command.add_command(draft)
command.add_command(list_heads)
command.add_command(use)
