"""What workers counted of a rollout, in the registry: ``figures/TASK/ALIAS/NUMBER/WORKER.json``."""

import re
from collections.abc import Sequence
from typing import Final

import msgspec
from msgspec import Struct

from ....rollouts.figures import RolloutFigures
from ..names import is_alias, is_task_name
from .store import ReleaseStore

FIGURES: Final = "figures"
LIMIT: Final = 200_000
"""Bytes of one file; some 40 000 if each bucket of all histograms has values."""
MAX_WORKERS: Final = 1_000


class WorkerFigures(Struct, frozen=True, omit_defaults=True):
    """The figures of one worker. ``at``: when they were written, ISO 8601, UTC."""

    worker: str
    at: str
    figures: RolloutFigures


class RolloutFiles:
    """The figures of the rollout that began with one state of an alias. All methods block: call them in a thread."""

    def __init__(self, store: ReleaseStore, task: str, alias: str, number: int) -> None:
        if not (is_task_name(task) and is_alias(alias)):
            raise ValueError(f"{task}@{alias}")
        self._store = store
        self._folder = f"{FIGURES}/{task}/{alias}/{number:08}"

    def put(self, figures: WorkerFigures) -> None:
        """Replace the figures of this worker. Raises RegistryError."""
        path = f"{self._folder}/{re.sub(r'[^A-Za-z0-9-]', '_', figures.worker)[:100]}"
        with self._store.reached():
            storage = self._store.storage
            storage.remove(f"{path}.new")  # of a worker that was killed here
            storage.create(f"{path}.new", msgspec.json.encode(figures))
            storage.move(f"{path}.new", f"{path}.json")

    def read(self) -> Sequence[WorkerFigures]:
        """The figures of all workers; those that cannot be read are passed over. Raises RegistryError."""
        found = []
        with self._store.reached():
            names = [name for name in self._store.storage.names(self._folder) if name.endswith(".json")]
            for name in names[:MAX_WORKERS]:
                try:
                    content = self._store.storage.read(f"{self._folder}/{name}", LIMIT)
                    found.append(msgspec.json.decode(content, type=WorkerFigures))
                except (FileNotFoundError, ValueError, msgspec.MsgspecError):
                    continue
        return found
