"""`inferstream models`: fetch, list and inspect the models that workers serve."""

import click

from ...groups import SuggestingGroup
from .choosing import choose
from .evaluating import evaluate
from .importing import import_group
from .listing import list_models, show
from .pruning import prune
from .pulling import pull


@click.group("models", cls=SuggestingGroup)
def command() -> None:
    """Fetch, list and inspect the models that workers serve.

    Models are stored in your cache folder, or in the folder that the variable INFERSTREAM_HOME names.

    \b
      inferstream models pull minilm
      inferstream models import marian ./my-translator
      inferstream models list
      inferstream models show minilm-int8
    """


command.add_command(pull)
command.add_command(import_group)
command.add_command(prune)
command.add_command(evaluate)
command.add_command(choose)
command.add_command(list_models)
command.add_command(show)
