"""What a package needs to bring a task of its own, see docs/tasks.md.

A name is imported at its first use. Those that need the packages of a worker (numpy, tokenizers) are to be imported
in ``load`` and below, not where the module begins: clients import the module too.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .pipeline.models.manifest import Manifest
    from .pipeline.models.registry import ModelRegistry
    from .pipeline.runtime.encoder import Encoder
    from .pipeline.runtime.graph import Graph
    from .pipeline.runtime.model import Model, More, Row
    from .pipeline.runtime.tokenizer import Tokenizer
    from .pipeline.tasks.base import Ask, Finished, Task
    from .pipeline.tasks.definition import Loaded, TaskDefinition
    from .pipeline.tasks.text import TextTask
    from .pipeline.tasks.vectors import TextEncoder, VectorTask
    from .schemas.contract import Contract
    from .schemas.messages import Request

__all__ = [
    "Ask",
    "Contract",
    "Encoder",
    "Finished",
    "Graph",
    "Loaded",
    "Manifest",
    "Model",
    "ModelRegistry",
    "More",
    "Request",
    "Row",
    "Task",
    "TaskDefinition",
    "TextEncoder",
    "TextTask",
    "Tokenizer",
    "VectorTask",
]

_MODULES = {
    "schemas.contract": ("Contract",),
    "schemas.messages": ("Request",),
    "pipeline.tasks.definition": ("Loaded", "TaskDefinition"),
    "pipeline.tasks.base": ("Ask", "Finished", "Task"),
    "pipeline.tasks.text": ("TextTask",),
    "pipeline.tasks.vectors": ("TextEncoder", "VectorTask"),
    "pipeline.runtime.model": ("Model", "More", "Row"),
    "pipeline.runtime.graph": ("Graph",),
    "pipeline.runtime.encoder": ("Encoder",),
    "pipeline.runtime.tokenizer": ("Tokenizer",),
    "pipeline.models.manifest": ("Manifest",),
    "pipeline.models.registry": ("ModelRegistry",),
}


def __getattr__(name: str) -> object:
    for module, names in _MODULES.items():
        if name in names:
            found: object = getattr(import_module(f".{module}", __package__), name)
            globals()[name] = found
            return found
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return [*globals(), *__all__]
