"""The task `steps` for clients. The catalogue of an installation does not have it."""

from typing import Any

import msgspec

from ..errors import UsageError
from ..tasks.catalogue import tasks
from ..tasks.definition import Loaded
from .steps import CONTRACT


class StepsDefinition:
    """See `TaskDefinition`."""

    name = "steps"
    contract = CONTRACT
    settings = msgspec.defstruct("StepsSettings", [("model", str, "steps")])

    def load(self, registry: object, model_name: str, settings: Any) -> Loaded:
        """Raises UsageError: there is nothing on disk to load."""
        raise UsageError("The task steps has no model on disk: only chaos runs and tests serve it.")


def know_steps() -> None:
    """From now on the clients of this process read answers and pieces of `steps`."""
    tasks().include(StepsDefinition())
