"""Makes releases of what tasks serve from this machine."""

import os
import shutil
import tempfile
from pathlib import Path
from typing import Any

from ..config import Config
from ..errors import InferstreamError, ModelError, UnknownModel, UsageError
from ..models.registry import ModelRegistry
from ..models.releases.parts import ReleaseParts, parts_of_variant
from .catalogue import tasks
from .definition import TaskDefinition
from .loading import loaded_model, told


def parts_of(definition: TaskDefinition, registry: ModelRegistry, name: str, config: Config) -> ReleaseParts:
    """What a release of a model of the task is made of: files from which its loader has loaded it, in a folder of
    their own. Raises UnknownModel, UsageError, ModelError; ClosedGate unless the registry is one that does not judge.
    """
    settings: Any = config.of_task(definition.name, definition.settings)
    loaded = loaded_model(definition, registry, name, settings)
    made: Any = getattr(definition, "release_parts", None)
    if callable(made):
        with told(definition.name, name):
            parts: ReleaseParts = made(registry, name, settings)
    elif loaded.manifest is None:
        raise ModelError(f"{name} has no graph: its task must say what a release of it is made of.")
    else:
        parts = parts_of_variant(registry, loaded.manifest)
    _check_whole(definition, registry, parts, settings)
    return parts


def tasks_of(registry: ModelRegistry, name: str, config: Config) -> dict[str, ReleaseParts]:
    """The tasks that can serve a model of this machine, with the parts of its release. Raises what they all raise."""
    found = {}
    refused: list[InferstreamError] = []
    for task in tasks().names:
        try:
            found[task] = parts_of(tasks().find(task), registry, name, config)
        except (UnknownModel, UsageError) as error:  # it is of another kind
            refused.append(error)
    if not found:
        raise next((error for error in refused if isinstance(error, UnknownModel)), refused[0])
    return found


def _check_whole(
    definition: TaskDefinition, registry: ModelRegistry, parts: ReleaseParts, settings: Any
) -> None:
    """Raise ModelError unless the model loads from these files alone."""
    with tempfile.TemporaryDirectory(dir=registry.root.parent, prefix=".release-") as folder:
        for path, place in parts.files.items():
            target = Path(folder) / path
            target.parent.mkdir(parents=True, exist_ok=True)
            try:
                os.link(place, target)
            except OSError:
                shutil.copyfile(place, target)
        whole = ModelRegistry(Path(folder), judged=registry.judged)
        try:
            loaded_model(definition, whole, parts.name, settings)
        except InferstreamError as error:
            raise ModelError(
                f"A release of {parts.name} would not be whole: {str(error).replace(folder, 'the release')}"
            ) from error
