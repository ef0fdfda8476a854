"""What answers the requests for a model's name."""

from collections.abc import Sequence
from typing import NamedTuple, Protocol, runtime_checkable

from ..tasks.base import Task
from .device import Device
from .job import Job


class ModelEntry(NamedTuple):
    """A task with one model, and the device it runs on. Several entries may share one device.

    ``release``: the version of the release that the model is; empty for a model that was not published.
    """

    task: Task
    device: Device
    release: str = ""


@runtime_checkable
class Chooser(Protocol):
    """Stands for several entries under one name: each job is answered by one of them."""

    @property
    def entries(self) -> Sequence[ModelEntry]:
        """Those that it may choose. They are chosen by the same options (`Task.chosen_by`)."""
        ...

    def choose(self, job: Job) -> ModelEntry:
        """One of the entries. Runs on the event loop for each job."""
        ...


Served = ModelEntry | Chooser
"""What a model's name stands for."""


def entries_of(served: Served) -> Sequence[ModelEntry]:
    """The entries that may answer."""
    return (served,) if isinstance(served, ModelEntry) else served.entries
