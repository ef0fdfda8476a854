"""`inferstream models`: fetch, list and inspect the models that workers serve."""

import click

from ...groups import SuggestingGroup
from .choosing import choose
from .collecting import gc
from .comparing import diff
from .evaluating import evaluate
from .importing import import_group
from .listing import list_models, show
from .promoting import promote, rollback
from .pruning import prune
from .pulling import pull
from .reporting import report


@click.group("models", cls=SuggestingGroup)
def command() -> None:
    """Fetch, list, publish and inspect the models that workers serve.

    Models are stored in your cache folder, or in the folder that the variable INFERSTREAM_HOME names.

    \b
      inferstream models pull minilm
      inferstream models import marian ./my-translator
      inferstream models list
      inferstream models show minilm-int8
      inferstream models promote minilm-int8 embed@prod
      inferstream models rollback embed@prod
    """


command.add_command(pull)
command.add_command(import_group)
command.add_command(prune)
command.add_command(evaluate)
command.add_command(choose)
command.add_command(list_models)
command.add_command(show)
command.add_command(promote)
command.add_command(rollback)
command.add_command(report)
command.add_command(diff)
command.add_command(gc)
