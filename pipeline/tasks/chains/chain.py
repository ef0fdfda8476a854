"""A chain of tasks as workers and commands know it: its steps, each with the contract of its task."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from ....schemas.contract import Contract
from ....schemas.topics import Topics
from ...errors import UnknownOption, WrongType
from ..options import checked_options
from .step_request import StepRequest


class Step(NamedTuple):
    """One step, as `StepConfig` declares it.

    Attributes:
        request: makes what it is asked of the answer of the step before; None for the first one, which gets the
            text of the request.
    """

    name: str
    task: str
    contract: Contract
    model: str | None
    options: Mapping[str, Any]
    request: StepRequest | None


class Chain(NamedTuple):
    """Steps that follow each other. The options of a request to it are given by step."""

    name: str
    steps: tuple[Step, ...]

    def check(self, given: Mapping[str, Any]) -> None:
        """Check the options of a request, for all steps. Raises UnknownOption or WrongType."""
        known = {step.name: step for step in self.steps}
        example = f'{{"{self.steps[-1].name}": {{…}}}}'
        for name, options in given.items():
            if name not in known:
                raise UnknownOption(
                    f"The chain {self.name!r} has no step {name[:50]!r}; its steps are: {', '.join(known)}. Give "
                    f"options by step, as in {example}."
                )
            if not isinstance(options, dict):
                raise WrongType(f"The options of the step {name!r} must be an object, as in {example}.")
            step = known[name]
            checked_options(step.task, {**step.options, **options}, step.contract.options)


class ChainStep(NamedTuple):
    """A step in its chain, on its topics."""

    chain: Chain
    topics: Topics

    @property
    def declared(self) -> Step:
        """The step as the settings declare it."""
        return self.chain.steps[self.topics.step - 1]

    @property
    def follower(self) -> "ChainStep | None":
        """The next step; None for the last one."""
        number = self.topics.step
        return (
            None if number == len(self.chain.steps) else self._replace(topics=self.topics.of_step(number + 1))
        )

    @property
    def keeps_request(self) -> bool:
        """Whether a later step is asked of the text that the chain was asked: then it goes along."""
        later = self.chain.steps[self.topics.step :]
        return any(step.request is not None and step.request.asks_request for step in later)

    def options(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """The options of this step, of a request to the chain whose options were checked."""
        return {**self.declared.options, **given.get(self.declared.name, {})}


def steps_of(chain: Chain, prefix: str) -> list[ChainStep]:
    """All steps of a chain. ``prefix``: that of its topics."""
    topics = Topics(chain.name, prefix)
    return [ChainStep(chain, topics.of_step(number)) for number in range(1, len(chain.steps) + 1)]
