"""Calls the code of a task that loads a model. A fault of it is one sentence that names the task."""

import traceback
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import msgspec

from ..errors import InferstreamError
from ..models.manifest import Manifest
from ..models.registry import ModelRegistry
from ..runtime.encoder import Encoder
from ..runtime.graph import Graph
from ..runtime.model import Model
from .base import Task
from .catalogue import BrokenTask, tasks
from .definition import Loaded, TaskDefinition

ATTRIBUTES = {"model": str, "version": str, "digest": bytes, "chosen_by": Mapping}
METHODS = ("options", "repeats", "read", "further_steps", "prepare", "tell", "finish")


def loaded_model(definition: TaskDefinition, registry: ModelRegistry, name: str, settings: Any) -> Loaded:
    """What `TaskDefinition.load` returns. Raises BrokenTask, and what that method raises of our errors."""
    with told(definition.name, name):
        loaded: Any = definition.load(registry, name, settings)
    if not isinstance(loaded, Loaded) or not _is_whole(loaded):
        raise _broken(definition.name, "`load` must return Loaded(manifest, make)")
    return loaded


def made_task(name: str, loaded: Loaded, graph: Graph) -> Task:
    """The task on this graph, ready for requests. Raises BrokenTask."""
    with told(name, _model_of(loaded)):
        task: Any = loaded.make(graph)
    if missing := [method for method in METHODS if not callable(getattr(task, method, None))]:
        raise _broken(name, f"what `make` returns has no method {', '.join(missing)}")
    if (own := getattr(task, "name", None)) != name:
        raise _broken(name, f"what `make` returns has the name {own!r}")
    for attribute, kind in ATTRIBUTES.items():
        if not isinstance(getattr(task, attribute, None), kind):
            raise _broken(name, f"what `make` returns has no `{attribute}`, which must be {kind.__name__}")
    with told(name, _model_of(loaded)):  # a request without options must not be the first to fail
        options = task.options({})
        msgspec.json.encode(options)
        task.repeats(options)
    made: Task = task
    return made


def made_model(name: str, loaded: Loaded, graph: Graph) -> Model:
    """What runs the rows of the task: its own, or an encoder. Raises BrokenTask."""
    if loaded.model is None:
        return Encoder(graph, loaded.manifest.pad_id if loaded.manifest else 0)
    with told(name, _model_of(loaded)):
        model: Any = loaded.model(graph)
    methods = callable(getattr(model, "step", None)) and callable(getattr(model, "drop", None))
    if not methods or not getattr(model, "phases", None):
        raise _broken(name, "its model must have `phases`, `step` and `drop`")
    made: Model = model
    return made


def _model_of(loaded: Loaded) -> str:
    return loaded.manifest.name if loaded.manifest else "without a graph"


def _is_whole(loaded: Any) -> bool:
    return isinstance(loaded.manifest, Manifest | None) and callable(loaded.make)


@contextmanager
def told(name: str, model: str) -> Iterator[None]:
    """Turns what the task's code raises into BrokenTask with the line that raised it."""
    try:
        yield
    except (InferstreamError, KeyboardInterrupt):
        raise
    except BaseException as error:  # the code of a package may raise anything, also SystemExit
        last = _place(error)
        text = " ".join(str(error).split())[:200]
        reason = f"{type(error).__name__}: {text}, in line {last.lineno} of {last.filename}"
        raise _broken(name, f"it cannot load the model {model!r} ({reason})") from error


def _place(error: BaseException) -> traceback.FrameSummary:
    """The last line of the package's file that was called: its own code, and not that of a library below."""
    frames = traceback.extract_tb(error.__traceback__)
    called = [frame for frame in frames if frame.filename != __file__]
    own = [frame for frame in called if frame.filename == called[0].filename]
    return own[-1] if own else frames[-1]


def _broken(name: str, reason: str) -> BrokenTask:
    return BrokenTask(
        f"{tasks().subject(name)} cannot be served, since {reason}: repair or uninstall the package."
    )
