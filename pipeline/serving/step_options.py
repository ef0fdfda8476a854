"""Tries the options that the settings give to steps of chains: what a task refuses is told before a worker starts."""

from collections.abc import Iterable, Mapping

from ..engine.model_entry import Served, entries_of
from ..errors import BadRequest, UsageError
from ..tasks.chains.chain import Chain


def check_step_options(chains: Iterable[Chain], served: Mapping[str, Mapping[str, Served]]) -> None:
    """Raise UsageError for options that the task of a step refuses; their types were checked with the settings.

    ``served``: the models of this worker by task and name. Steps that other workers serve are left out.
    """
    for chain in chains:
        for number, step in enumerate(chain.steps, start=1):
            models = served.get(step.task, {})
            found = models.get(step.model) if step.model else next(iter(models.values()), None)
            try:
                for entry in entries_of(found) if found else ():
                    entry.task.options(step.options)
            except BadRequest as error:
                raise UsageError(
                    f"Step {number} of the chain {chain.name!r} has wrong options: {error}"
                ) from error
