"""The chains that settings declare, checked: what is wrong with one is told before a worker starts."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ...config import ChainConfig, Config, StepConfig
from ...errors import BadRequest, UsageError
from ..catalogue import tasks
from ..checking import MAX_NAME, NAME, RESERVED
from ..definition import TaskDefinition
from ..options import checked_options
from .chain import Chain, Step
from .step_request import StepRequest, step_content
from .step_text import Before


def chains_of(config: Config) -> dict[str, Chain]:
    """The chains by name. Raises UsageError for one that cannot be."""
    return {name: _chain(name, declared, config) for name, declared in config.chains.items()}


def task_models(served: Mapping[str, Sequence[str]], config: Config) -> dict[str, list[str]]:
    """The tasks to serve, each with the names of its models: the name of a chain stands for the tasks of its steps.

    A task for which none are given gets, beside those of its settings, those that steps of chains name.
    Raises UsageError for an unknown task, and for models of a chain: which step they are for is not known.
    """
    chains = chains_of(config)
    found: dict[str, list[str]] = {}
    for name, models in served.items():
        if name not in chains:
            found.setdefault(name, []).extend(models)
            continue
        if models:
            known = ", ".join(step.task for step in chains[name].steps)
            raise UsageError(f"{name!r} is a chain: say which of its tasks a model is for ({known}).")
        for step in chains[name].steps:
            found.setdefault(step.task, [])
    for task, models in found.items():
        named = {step.model: None for chain in chains.values() for step in chain.steps if step.task == task}
        if not models and (more := [model for model in named if model]):
            settings: Any = config.of_task(task, tasks().find(task).settings)
            models.extend(dict.fromkeys([settings.model, *getattr(settings, "models", ()), *more]))
    return found


def _chain(name: str, declared: ChainConfig, config: Config) -> Chain:
    if not NAME.fullmatch(name) or len(name) > MAX_NAME or name in RESERVED:
        raise UsageError(
            f"There cannot be a chain {name!r}: its name is at most {MAX_NAME} small letters, digits and single "
            "hyphens, and neither the name of a command nor of a table of settings."
        )
    if name in tasks().names:
        raise UsageError(f"The chain {name!r} has the name of a task: give it another one.")
    steps = [StepConfig(one) if isinstance(one, str) else one for one in declared.steps]
    if len(steps) < 2:
        raise UsageError(f"The chain {name!r} has fewer than two steps: ask a single task by its own name.")
    made: list[Step] = []
    for number, one in enumerate(steps, start=1):
        subject = f"Step {number} of the chain {name!r}"
        before = made[-1] if made else None
        made.append(_step(subject, one, before, config))
        if made[-1].name in [step.name for step in made[:-1]]:
            raise UsageError(
                f"{subject} has the name of an earlier one, {made[-1].name!r}: give it a `name` of its own."
            )
    return Chain(name, tuple(made))


def _step(subject: str, declared: StepConfig, before: Step | None, config: Config) -> Step:
    if declared.task in config.chains:
        raise UsageError(f"{subject} is a chain, {declared.task!r}: write the steps of that one instead.")
    try:
        definition = tasks().find(declared.task)
    except UsageError as error:
        raise UsageError(f"{subject} cannot be: {error}") from error
    for fault in _faults(declared, definition, before):
        raise UsageError(f"{subject} {fault}.")
    try:
        request = None if before is None else _request(declared, definition, before)
    except UsageError as error:
        raise UsageError(f"{subject} {error}.") from error
    name = declared.name or declared.task
    return Step(name, declared.task, definition.contract, declared.model, declared.options, request)


def _request(declared: StepConfig, definition: TaskDefinition, before: Step) -> StepRequest:
    known = Before(before.contract.output, before.request is None or before.request.has_text)
    content = step_content(declared.text, declared.request)
    return StepRequest(content, known, declared.task, definition.contract.request)


def _faults(declared: StepConfig, definition: TaskDefinition, before: Step | None) -> Iterator[str]:
    """What is wrong with a step, as the rest of a sentence."""
    contract = definition.contract
    if not contract.is_text and (before is None or declared.request is None):
        more = "it can only be a later step" if before is None else "give it a `request`"
        yield f"is the task {declared.task!r}, whose requests are more than a text: {more}"
    if declared.name is not None and not NAME.fullmatch(declared.name):
        yield f"has the name {declared.name!r}: use small letters, digits and single hyphens"
    try:
        checked_options(declared.task, declared.options, contract.options)
    except BadRequest as error:
        yield f"has wrong options: {str(error).rstrip('.')}"
    given = declared.text if declared.text is not None else declared.request
    if before is None and given is not None:
        name = "text" if declared.text is not None else "request"
        yield f"has a `{name}`, but the first step is asked the text of the request: leave it out"
