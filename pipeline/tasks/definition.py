"""What a task brings to be served by its name: types, settings, and a loader of its models."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from msgspec import Struct

from ...schemas.contract import Contract

if TYPE_CHECKING:
    from ..models.manifest import Manifest
    from ..models.registry import ModelRegistry
    from ..runtime.graph import Graph
    from ..runtime.model import Model
    from .base import Task


class Loaded(NamedTuple):
    """A model of a task, before it is on a device.

    Attributes:
        manifest: of the graph. Tasks on one graph share its session and its batches. None: there is no graph, since
            `Task.prepare` answers all requests itself; ``make`` then gets a graph that cannot run.
        make: makes the task from the graph on its device.
        model: makes what runs the rows. None: an `Encoder` with the padding of the manifest, which all
            tasks on the graph share.
    """

    manifest: "Manifest | None"
    make: "Callable[[Graph], Task]"
    model: "Callable[[Graph], Model] | None" = None


class TaskDefinition(Protocol):
    """A task as the catalogue knows it.

    Clients and commands read it, so its module must import neither numpy nor a runtime: `load` imports
    what it needs. It may also have a method ``show(output)``, which makes of an output what `rich` prints
    in a terminal, and ``line(output)``, which makes of it one line for a pipe; the output of other tasks is
    printed as JSON. And it may have ``models_for(options, settings)``: the names of the models that a
    process loads which answers only requests with these options, as a command does without workers. And
    ``matching(registry, pattern)``: the names of the models on this machine that a shell pattern stands for.

    ``trial``: a few requests, as JSON holds them, whose answers are tried before a release serves; by default texts.
    A model that ends none of them within some dozen steps is tried less.

    A release has the files of the variant that `load` returns. A task that needs more of them has
    ``release_parts(registry, model_name, settings)``, which returns `ReleaseParts` with all.
    """

    @property
    def name(self) -> str:
        """The name of the task: in topics, settings, variables and commands."""
        ...

    @property
    def contract(self) -> Contract:
        """The types of requests and answers."""
        ...

    @property
    def settings(self) -> type[Struct]:
        """Its table in the settings file. Every field has a default; ``model`` is a model's name.

        A task that is served with several models may have ``models``, the names of the others.
        """
        ...

    def load(self, registry: "ModelRegistry", model_name: str, settings: Any) -> Loaded:
        """Read what belongs to a model. Called by workers only.

        Raises UnknownModel, ModelError for a damaged one, UsageError for a wrong setting.
        """
        ...
