"""Weights of fitted models that may leave the memory: they are read from their files again."""

from typing import NamedTuple, TypeVar

from .cascade_task import CascadeTriage
from .classifier import Linear, Routing
from .ensemble_task import EnsembleTriage
from .head import CASCADE, HeadStore
from .shared import Shared
from .static_task import StaticTriage
from .static_tier import StaticTier
from .task import Triage

WithLinear = TypeVar("WithLinear", bound=Triage)
WithTier = TypeVar("WithTier", bound=CascadeTriage | EnsembleTriage | StaticTriage)


class StoredHead(NamedTuple):
    """One version of a fitted model on disk. It never changes."""

    heads: HeadStore
    name: str
    version: str

    def linear(self, routing: Routing) -> Linear:
        """The weights of its encoder tier. Raises UnknownModel or ModelError if the files are gone or damaged."""
        return Linear.of(self.heads.load(self.name, self.version).classifier(), routing.urgency)

    def tier(self, routing: Routing) -> StaticTier:
        """Its static tier. Raises UnknownModel or ModelError if the files are gone or damaged."""
        head = self.heads.load(self.name, self.version)
        tier = self.heads.static_tier(self.name, head)
        if head.served == CASCADE:
            return tier.with_encoder(Linear.of(head.classifier(), routing.urgency))
        return tier.along(routing.urgency)


def keep_linear(task: WithLinear, stored: StoredHead | None, routing: Routing, shared: Shared) -> WithLinear:
    """The task; the weights of a fitted model may leave the memory."""
    if stored is not None:
        linear = task.linear()
        task.linear = shared.memory.keep(task, linear, linear.nbytes, lambda: stored.linear(routing))
    return task


def keep_tier(task: WithTier, stored: StoredHead | None, routing: Routing, shared: Shared) -> WithTier:
    """The task; its static tier may leave the memory."""
    if stored is not None:
        tier = task.tier()
        task.tier = shared.memory.keep(task, tier, tier.nbytes, lambda: stored.tier(routing))
    return task
